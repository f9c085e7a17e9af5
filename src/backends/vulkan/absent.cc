// In place of the backend where the build had no Vulkan headers or no glslc.
#include "backends/vulkan/vulkan.h"
#include "base/error.h"

namespace darkroom {
namespace {

constexpr char kReason[] =
    "this darkroom was built without Vulkan; install libvulkan-dev and glslc and build again";

}  // namespace

std::unique_ptr<Backend> make_vulkan_backend(const VulkanOptions&) { fail(ErrorCode::kUsage, "{}", kReason); }

VulkanDevices vulkan_devices() { return {{}, kReason}; }

}  // namespace darkroom
