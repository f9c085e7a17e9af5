// The devices that drivers offer, what each can do, and one of them opened.
#pragma once

#include <array>
#include <atomic>
#include <cstdint>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "backends/vulkan/check.h"
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
};

// Sets device_class and reason from the rest.
void classify(DeviceInfo& info);

struct InstanceOptions {
  PFN_vkGetInstanceProcAddr entry = nullptr;  // in place of the system's library, for tests
  bool validation = false;                    // Khronos' layer; what it says is in messages()
};

// Vulkan, loaded and asked for devices. Not copyable, not movable.
class Instance {
 public:
  // Errors: kFailure with the reason why there is no Vulkan here.
  explicit Instance(const InstanceOptions& options);
  ~Instance();
  Instance(const Instance&) = delete;
  Instance& operator=(const Instance&) = delete;

  const Functions& functions() const { return functions_; }
  // In the drivers' order; a card that two drivers serve is there once, with the higher class.
  std::vector<DeviceInfo> devices() const;
  bool validation() const { return messenger_ != VK_NULL_HANDLE; }
  // Warnings and errors of the validation layer so far.
  std::vector<std::string> messages() const;
  // What this process may take of the device's main heap now, as the driver says, or its size.
  VkDeviceSize main_heap_budget(const DeviceInfo& info) const;

 private:
  DeviceInfo describe(VkPhysicalDevice handle) const;
  void describe_features(DeviceInfo& info) const;
  void describe_matrices(DeviceInfo& info) const;
  void make_messenger();

  struct Messages;
  Library library_;
  Functions functions_;
  VkInstance instance_ = VK_NULL_HANDLE;
  VkDebugUtilsMessengerEXT messenger_ = VK_NULL_HANDLE;
  std::unique_ptr<Messages> messages_;
};

// "gpu": the best that is usable and no CPU; "gpu:N": the N-th of the list; else part of a name, whatever
// kind. Errors: kUsage, with the devices that there are and why not.
const DeviceInfo& choose_device(const std::vector<DeviceInfo>& devices, std::string_view text);

// One device, open. Not copyable, not movable; the instance must outlive it.
class Device {
 public:
  // Errors: kFailure, kOutOfMemory.
  Device(const Instance& instance, const DeviceInfo& info);
  ~Device();
  Device(const Device&) = delete;
  Device& operator=(const Device&) = delete;

  const Instance& instance() const { return instance_; }
  const DeviceInfo& info() const { return info_; }
  const Functions& functions() const { return functions_; }
  VkDevice handle() const { return device_; }
  bool has_transfer_queue() const { return info_.transfer_family.has_value(); }
  uint32_t transfer_family() const { return info_.transfer_family.value_or(*info_.compute_family); }

  // Timelines: of dispatches, of copies by fill(), and of copies by the ops' thread.
  enum Line { kCompute, kFill, kCopy, kLines };

  // From any thread. Runs on the compute queue, kFill's on the one for transfer. Waits for what the other lines
  // have reached, so that memory written there is seen, and then signals `value`. Errors: as check().
  void submit(VkCommandBuffer commands, Line line, uint64_t value);
  // From any thread. Errors: kFailure when the device is lost.
  void wait(Line line, uint64_t value) const;
  uint64_t reached(Line line) const;
  // Waits for all that was submitted; never throws.
  void finish() const noexcept;

 private:
  void create();
  void make_timelines();

  const Instance& instance_;
  DeviceInfo info_;
  Functions functions_;
  VkDevice device_ = VK_NULL_HANDLE;
  VkQueue compute_queue_ = VK_NULL_HANDLE, transfer_queue_ = VK_NULL_HANDLE;
  mutable std::mutex queue_mutex_;
  std::array<OwnedSemaphore, kLines> timelines_;
};

}  // namespace darkroom::vulkan
