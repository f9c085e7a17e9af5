// Graphics cards, and whatever else has a Vulkan 1.2 driver. Libvulkan is looked for at run time; where there is none,
// or the build was without Vulkan, there are simply no devices, and a reason.
#pragma once

#include <cstddef>
#include <filesystem>
#include <memory>
#include <string>
#include <vector>

#include "ops/backend.h"

namespace darkroom {

struct VulkanOptions {
  // "gpu": the best one that is no CPU; "gpu:N": the N-th of vulkan_devices(); else part of a name, of any kind.
  std::string device = "gpu";
  std::string highest_class = "";      // "S", "D", "M" or "M+bf16": no kernels of higher ones; empty: any
  std::size_t memory_limit = 0;        // bytes of the device's memory; 0: what the driver allows
  std::filesystem::path cache_folder;  // for compiled shaders; empty: they are compiled again in each run
  bool force_staging = false;          // tests: as if the host could not see the device's memory
  bool validation = false;             // tests: with Khronos' layer
};

// Memory and tickets are those of Backend. Errors: kUsage for a device that there is not or that cannot be used,
// naming those that there are; kFailure without Vulkan; kOutOfMemory.
std::unique_ptr<Backend> make_vulkan_backend(const VulkanOptions& options);

struct VulkanDevice {
  std::string name, driver;
  std::string kind;          // "discrete", "integrated", "virtual", "cpu" or "other"
  std::string device_class;  // "S", "D", "M", "M+bf16", or "unusable"
  std::string reason;        // why not a higher class; empty for the highest
  std::size_t memory = 0;    // bytes of its main heap
  std::size_t budget = 0;    // of them this process may have now
};
struct VulkanDevices {
  std::vector<VulkanDevice> devices;
  std::string reason;  // why there are none; empty if there are
};
// Never fails: what goes wrong is the reason.
VulkanDevices vulkan_devices();

}  // namespace darkroom
