// What a device is and can do, its class, and the choice of one.
#pragma once

#include <array>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "backends/vulkan/extra.h"
#include "backends/vulkan/loader.h"

namespace darkroom::vulkan {

// What kernels a device runs, each class all of the classes before it.
enum class DeviceClass : uint8_t {
  kUnusable,
  kScalar,      // S: 8- and 16-bit storage
  kDot,         // D: fast products of four 8-bit integers
  kMatrix,      // M: cooperative matrices, f16 with sums in f32
  kMatrixBF16,  // M+bf16: also of bf16
};
std::string_view class_name(DeviceClass device_class);
// The class of that name; empty: the highest. Errors: kUsage.
DeviceClass class_of(std::string_view name);

struct MatrixShape {
  uint32_t m = 0, n = 0, k = 0;
  Component a{}, b{}, c{}, result{};
};

struct DeviceInfo {
  VkPhysicalDevice handle = VK_NULL_HANDLE;
  std::string name;    // as the driver calls the device
  std::string driver;  // name and version
  VkDriverId driver_id{};
  VkPhysicalDeviceType type{};
  std::array<uint8_t, VK_UUID_SIZE> uuid{}, cache_uuid{};
  uint32_t api_version = 0;

  VkPhysicalDeviceMemoryProperties memory{};
  uint32_t main_heap = 0;  // the largest of the device's own
  bool has_budget = false;
  VkPhysicalDeviceLimits limits{};
  VkDeviceSize max_allocation = 0, max_buffer = 0;

  uint32_t subgroup = 0, min_subgroup = 0, max_subgroup = 0;
  bool subgroup_control = false;  // a pipeline may ask for a size, in full subgroups
  bool storage8 = false, storage16 = false, int8 = false, float16 = false, memory_model = false;
  bool robust_access = false, maintenance4 = false;
  bool dot_product = false, fast_dot_product = false, mixed_dot_product = false;
  bool matrix = false, bf16 = false;
  std::vector<MatrixShape> matrix_shapes;  // of subgroups

  std::optional<uint32_t> compute_family, transfer_family;  // transfer: one that does nothing else
  std::vector<std::string> extensions;

  DeviceClass device_class = DeviceClass::kUnusable;
  std::string reason;  // why not more; empty for the highest

  VkDeviceSize main_heap_bytes() const { return memory.memoryHeaps[main_heap].size; }
  bool is_cpu() const { return type == VK_PHYSICAL_DEVICE_TYPE_CPU; }
  bool has_extension(std::string_view extension) const;
  // Of an extension that Vulkan 1.3 has taken in.
  bool has_since_1_3(std::string_view extension) const {
    return api_version >= VK_API_VERSION_1_3 || has_extension(extension);
  }
};

// Sets device_class and reason from the rest.
void classify(DeviceInfo& info);

// "gpu": the best that is usable and no CPU; "gpu:N": the N-th of the list; else part of a name, whatever
// kind. Errors: kUsage, with the devices that there are and why not.
const DeviceInfo& choose_device(const std::vector<DeviceInfo>& devices, std::string_view text);

}  // namespace darkroom::vulkan
