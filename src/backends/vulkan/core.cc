#include "backends/vulkan/core.h"

namespace darkroom::vulkan {

Core::Core(const CoreOptions& options)
    : instance(options.instance),
      device(instance, choose_device(instance.devices(), options.device)),
      pool(device, options.memory),
      pipelines(device, options.cache_folder),
      transfers(device, pool),
      recorder(device, pool, pipelines, options.recorder) {}

}  // namespace darkroom::vulkan
