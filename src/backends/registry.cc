#include "backends/registry.h"

#include <algorithm>

#include "backends/checked.h"
#include "backends/cpu/cpu.h"
#include "backends/reference/reference.h"
#include "backends/vulkan/vulkan.h"
#include "base/error.h"

namespace darkroom {

std::unique_ptr<Backend> make_backend(const BackendOptions& options) {
  if (options.name == "reference") return make_reference_backend();
  if (options.name != "cpu") {
    const auto make = [&](const std::string& highest_class) {
      return make_vulkan_backend(
          {.device = options.name, .highest_class = highest_class, .cache_folder = options.shader_cache});
    };
    return options.check_kernels ? make_checked_backend(make, options.shader_cache) : make("");
  }
  return make_cpu_backend({.threads = options.threads, .isa = parse_isa(options.isa)});
}

std::string automatic_backend() {
  const VulkanDevices found = vulkan_devices();
  const bool has_card = std::ranges::any_of(found.devices, [](const VulkanDevice& device) {
    return device.kind == "discrete" && device.device_class != "unusable";
  });
  return has_card ? "gpu" : "cpu";
}

std::vector<std::string> supported_isa_names() {
  std::vector<std::string> names;
  for (const CpuIsa isa : supported_isas()) names.emplace_back(isa_name(isa));
  return names;
}

std::string processor_name() { return cpu_model_name(); }

}  // namespace darkroom
