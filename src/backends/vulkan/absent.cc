// In place of the backend where the build had no Vulkan headers or no glslc.
#include "backends/vulkan/probe.h"
#include "base/error.h"

namespace darkroom {
namespace {

constexpr char kReason[] =
    "this darkroom was built without Vulkan; install libvulkan-dev and glslc and build again";

}  // namespace

std::unique_ptr<Backend> make_vulkan_backend(const VulkanOptions&) { fail(ErrorCode::kUsage, "{}", kReason); }

VulkanDevices vulkan_devices() { return {{}, kReason}; }

struct VulkanProbe::State {};
VulkanProbe::VulkanProbe(const VulkanOptions&) { fail(ErrorCode::kUsage, "{}", kReason); }
VulkanProbe::~VulkanProbe() = default;
// Never called: there is no probe.
Backend& VulkanProbe::backend() const { fail(ErrorCode::kUsage, "{}", kReason); }
VulkanDevice VulkanProbe::device() const { return {}; }
VulkanCounts VulkanProbe::counts() const { return {}; }
double VulkanProbe::f32_gflops(double) { return 0; }
std::optional<double> VulkanProbe::dot_gops(double) { return std::nullopt; }
double VulkanProbe::copy_gbps(double) { return 0; }
double VulkanProbe::upload_gbps(double) { return 0; }
double VulkanProbe::download_gbps(double) { return 0; }
void VulkanProbe::release_memory() {}

}  // namespace darkroom
