#include "backends/vulkan/core.h"

#include <algorithm>

namespace darkroom::vulkan {
namespace {

DeviceInfo chosen(const Instance& instance, const CoreOptions& options) {
  DeviceInfo info = choose_device(instance.devices(), options.device);
  info.device_class = std::min(info.device_class, options.highest_class);
  if (info.device_class < DeviceClass::kDot) info.fast_dot_product = false;
  return info;
}

}  // namespace

Core::Core(const CoreOptions& options)
    : instance(options.instance),
      device(instance, chosen(instance, options)),
      pool(device, options.memory),
      pipelines(device, options.cache_folder),
      transfers(device, pool),
      recorder(device, pool, pipelines, options.recorder) {}

}  // namespace darkroom::vulkan
