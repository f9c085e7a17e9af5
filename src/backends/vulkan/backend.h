// The backend over an open device.
#pragma once

#include <memory>

#include "backends/vulkan/core.h"
#include "ops/backend.h"

namespace darkroom::vulkan {

// Tests make it over a core of their own and look at that.
std::unique_ptr<Backend> make_backend(std::shared_ptr<Core> core);

}  // namespace darkroom::vulkan
