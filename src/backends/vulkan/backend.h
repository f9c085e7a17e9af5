// The backend over an open device.
#pragma once

#include <memory>

#include "backends/vulkan/core.h"
#include "backends/vulkan/vulkan.h"
#include "ops/backend.h"

namespace darkroom::vulkan {

// Tests make it over a core of their own and look at that.
std::unique_ptr<Backend> make_backend(std::shared_ptr<Core> core);
// What make_vulkan_backend() makes it over, with its errors.
std::shared_ptr<Core> open_core(const VulkanOptions& options);
VulkanDevice describe(const Instance& instance, const DeviceInfo& info);

}  // namespace darkroom::vulkan
