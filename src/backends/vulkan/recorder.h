// Records dispatches into command buffers and submits them, with barriers where the ranges that they read and
// write demand it.
//
// dispatch(), write() and scratch() are for one thread at a time, the one of the ops; mark() and wait() are for
// any, beside it. Errors of the device are Error: kOutOfMemory, or kFailure when it is lost; after a failed
// submit what was recorded is gone, and every later call throws the same again.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <mutex>
#include <optional>
#include <span>
#include <vector>

#include "backends/vulkan/device.h"
#include "backends/vulkan/hazards.h"
#include "backends/vulkan/memory.h"
#include "backends/vulkan/pipelines.h"
#include "base/error.h"

namespace darkroom::vulkan {

struct Dispatch {
  Shader shader{};
  std::vector<uint32_t> constants = {};        // specialization constants 0, 1, …
  std::vector<Binding> bindings = {};          // of set 0, in order, at most kMostBindings with the alarm
  std::span<const std::byte> push = {};        // at most kPushBytes, a multiple of 4
  std::array<uint32_t, 3> groups = {1, 1, 1};  // a 0 among them: nothing is done
  uint32_t subgroup = 0;                       // the size demanded, in full subgroups; 0: any
  double work = 0;                             // operations, about: long jobs are submitted sooner
  // If set, the shader has one more binding, the last: a uint that is ~0 before, for atomicMin. What else it is
  // when the dispatch has run is given to `alarm`, which throws: out of the wait() or dispatch() that finds out.
  std::function<void(uint32_t)> alarm = {};
};

struct RecorderOptions {
  uint32_t most_dispatches = 32;        // in one submit
  double most_work = 200e9;             // operations in one submit: a card's watchdog bites after 2 s
  std::size_t most_binding = SIZE_MAX;  // bytes; tests: as if the device could bind no more at once
};

// What has been recorded since the recorder was made.
struct RecorderCounts {
  uint64_t dispatches = 0;
  uint64_t barriers = 0;  // between dispatches; the one at the end of each submit is not counted
  uint64_t submits = 0;
};

class Recorder {
 public:
  // The others must outlive it.
  Recorder(Device& device, MemoryPool& pool, Pipelines& pipelines, const RecorderOptions& options = {});
  ~Recorder();
  Recorder(const Recorder&) = delete;
  Recorder& operator=(const Recorder&) = delete;

  const DeviceInfo& device() const { return device_.info(); }

  void dispatch(const Dispatch& dispatch);

  // A range of memory is bound from a multiple of the device's alignment on: how far before `address` in bytes
  // that is. Goes into the push constants, in elements. Null: 0.
  uint32_t before(const void* address) const;
  // The longest range that can be bound, wherever it begins. Who makes a dispatch cuts by rows.
  std::size_t max_binding() const;

  // Writes bytes, in order with the dispatches: at most 64 KiB; address and size are multiples of 4.
  void write(const void* address, std::span<const std::byte> bytes);

  // Memory for what lives no longer than one op. The next call may give the same.
  const void* scratch(std::size_t bytes);

  using Ticket = uint64_t;
  // Stands for all that was recorded so far.
  Ticket mark();
  // Until that has run; submits it if need be.
  void wait(Ticket ticket);
  RecorderCounts counts() const;
  // Until everything has run; never throws, and calls no alarm.
  void drain() noexcept;

 private:
  // One command buffer and what it uses while it is in flight.
  struct Slot {
    Commands commands;
    std::vector<OwnedDescriptorPool> sets;
    std::size_t sets_used = 0;  // of the last pool in use
    std::size_t pools_used = 0;
    Ticket ticket = 0;  // 0: never submitted
    std::unique_ptr<Block> alarm_words;
    std::vector<std::function<void(uint32_t)>> alarms;
  };
  struct Raised {
    std::function<void(uint32_t)> alarm;
    uint32_t word = 0;
  };
  using Lock = std::unique_lock<std::mutex>;
  std::size_t alignment() const;
  Slot& current() { return slots_[last_ % slots_.size()]; }
  void throw_if_failed() const;
  void begin(Lock& lock);
  void start(Slot& slot);
  void submit();
  void barrier(bool to_host);
  VkDescriptorSet new_set(Slot& slot, VkDescriptorSetLayout layout);
  VkDescriptorBufferInfo range_of(const Binding& binding) const;
  Binding add_alarm(const Dispatch& dispatch);
  std::vector<VkDescriptorBufferInfo> ranges_of(std::span<const Binding> bindings) const;
  void record(const Dispatch& dispatch, const Pipelines::Pipeline& pipeline,
              std::vector<VkDescriptorBufferInfo>& ranges);
  std::vector<Raised> take_alarms(Ticket until);
  static void raise(const std::vector<Raised>& raised);
  void submit_up_to(Ticket ticket);

  Device& device_;
  MemoryPool& pool_;
  Pipelines& pipelines_;
  RecorderOptions options_;
  std::unique_ptr<Block> nothing_, scratch_;

  mutable std::mutex mutex_;
  std::array<Slot, 3> slots_;
  Hazards hazards_;
  Ticket last_ = 0;  // submitted
  bool recording_ = false;
  uint32_t dispatches_ = 0;
  double work_ = 0;
  RecorderCounts counts_;
  std::optional<Error> failed_;
};

}  // namespace darkroom::vulkan
