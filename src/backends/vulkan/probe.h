// What a device does at best, beside a backend over the same device: the yardstick for the bench.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>

#include "backends/vulkan/vulkan.h"
#include "ops/backend.h"

namespace darkroom {

// What a backend has asked of its device so far.
struct VulkanCounts {
  uint64_t dispatches = 0;
  uint64_t barriers = 0;  // between dispatches of one submit
  uint64_t submits = 0;
};

// One call at a time, and none beside an op. Rates are in units of 1e9 a second, the best of what was tried in about
// `seconds`, by the host's clock around work that takes milliseconds.
class VulkanProbe {
 public:
  // Errors: as make_vulkan_backend().
  explicit VulkanProbe(const VulkanOptions& options);
  ~VulkanProbe();
  VulkanProbe(const VulkanProbe&) = delete;
  VulkanProbe& operator=(const VulkanProbe&) = delete;

  Backend& backend() const;
  VulkanDevice device() const;
  VulkanCounts counts() const;

  // Multiply-adds in registers, in independent chains; two each.
  double f32_gflops(double seconds);
  // The same of four 8-bit products and a sum, eight each; absent where the device has no fast instruction for it.
  std::optional<double> dot_gops(double seconds);
  // Reads and writes of a copy from device memory to device memory, together.
  double copy_gbps(double seconds);
  // The host's memory to the device's and back, the host's part included.
  double upload_gbps(double seconds);
  double download_gbps(double seconds);
  // Gives back what copies have taken, until the next one.
  void release_memory();

 private:
  struct State;
  std::unique_ptr<State> state_;
};

}  // namespace darkroom
