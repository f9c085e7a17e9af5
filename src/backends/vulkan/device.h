// A device, opened: its queues and timelines.
#pragma once

#include <array>
#include <cstdint>
#include <mutex>
#include <optional>

#include "backends/vulkan/check.h"
#include "backends/vulkan/instance.h"

namespace darkroom::vulkan {

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
  // From any thread. Errors: kDevice when the device is lost.
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

// A command buffer, with a pool of its own, that is recorded anew for each submit.
class Commands {
 public:
  Commands() = default;
  // For queues of a family. Errors: as check().
  Commands(const Device& device, uint32_t family);
  // What was recorded before has run. Errors: as check().
  void begin(const Device& device) const;
  VkCommandBuffer get() const { return buffer_; }

 private:
  OwnedCommandPool pool_;
  VkCommandBuffer buffer_ = VK_NULL_HANDLE;
};

}  // namespace darkroom::vulkan
