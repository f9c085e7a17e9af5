// A Vulkan driver that is a test: graphics cards of any kind whose memory is the host's, calls that fail when told
// to, and complaints where a real driver would have undefined behaviour.
#pragma once

#include <array>
#include <condition_variable>
#include <cstddef>
#include <cstdint>
#include <deque>
#include <functional>
#include <initializer_list>
#include <memory>
#include <mutex>
#include <set>
#include <span>
#include <string>
#include <vector>

#include "backends/vulkan/extra.h"
#include "backends/vulkan/loader.h"

namespace darkroom::fake {

inline constexpr VkDeviceSize kMiB = VkDeviceSize{1} << 20, kGiB = VkDeviceSize{1} << 30;

// A discrete card with 8 GiB of which the host sees 246 MiB.
struct Gpu {
  std::string name = "Fake GPU";
  VkDriverId driver_id = VK_DRIVER_ID_NVIDIA_PROPRIETARY;
  VkPhysicalDeviceType type = VK_PHYSICAL_DEVICE_TYPE_DISCRETE_GPU;
  uint32_t api_version = VK_API_VERSION_1_3;
  uint8_t uuid = 1;
  std::vector<VkMemoryHeap> heaps = {{16 * kGiB, 0},
                                     {8 * kGiB, VK_MEMORY_HEAP_DEVICE_LOCAL_BIT},
                                     {246 * kMiB, VK_MEMORY_HEAP_DEVICE_LOCAL_BIT}};
  std::vector<VkMemoryType> types = {
      {kHost, 0}, {kHost | VK_MEMORY_PROPERTY_HOST_CACHED_BIT, 0}, {kOwn, 1}, {kOwn | kHost, 2}};
  VkDeviceSize budget = 0;  // 0: the driver does not tell
  VkDeviceSize max_allocation = 4 * kGiB, max_buffer = 4 * kGiB, max_range = 128 * kMiB, alignment = 64;
  bool storage8 = true, storage16 = true, float16 = true, memory_model = true, subgroup_control = true;
  bool dot = true, fast_dot = false, mixed_dot = false, matrix = false, bf16 = false, compute = true;
  uint32_t subgroup = 32, min_subgroup = 32;
  bool transfer_queue = true;
  std::vector<vulkan::CooperativeMatrixProperties> matrices;
  std::vector<std::string> extensions;

  static constexpr VkMemoryPropertyFlags kOwn = VK_MEMORY_PROPERTY_DEVICE_LOCAL_BIT;
  static constexpr VkMemoryPropertyFlags kHost =
      VK_MEMORY_PROPERTY_HOST_VISIBLE_BIT | VK_MEMORY_PROPERTY_HOST_COHERENT_BIT;
  void give_matrices(std::initializer_list<vulkan::Component> kinds);
};

// What a dispatch sees: the ranges that are bound, and the constants.
struct Dispatched {
  std::vector<std::span<std::byte>> bindings;
  std::array<std::byte, 128> push;
  std::array<uint32_t, 3> groups;
  std::vector<uint32_t> constants;
};

// Serves entry() while it lives; of several the last that was made.
class Driver {
 public:
  Driver();
  ~Driver();
  Driver(const Driver&) = delete;
  Driver& operator=(const Driver&) = delete;
  static PFN_vkGetInstanceProcAddr entry();

  std::vector<Gpu> gpus = {Gpu()};
  std::function<void(const Dispatched&)> on_dispatch;

  // The n-th of the calls that can fail, counted from the first on, fails with `result`; a lost device stays
  // lost. 0: none.
  void fail_call(int n, VkResult result);
  int calls() const;
  bool failed() const;  // whether that call came
  std::string failed_name() const;
  void lose_device();

  // What is submitted waits for run_one().
  void hold(bool held);
  void run_one();                    // waits until there is one
  std::size_t most_pending() const;  // submits that were not run, at most so far
  std::size_t submits() const;
  std::size_t transfer_submits() const;
  std::size_t barriers() const;
  void wait_for_pending(std::size_t count);

  std::size_t live() const;  // objects not destroyed
  std::vector<std::string> faults() const;
  std::vector<uint32_t> memory_types() const;  // of all allocations so far
  std::string cache_data_given() const;        // to the last pipeline cache made
  std::string cache_data = "compiled";         // what follows the header in vkGetPipelineCacheData

  struct State;
  State& state() { return *state_; }

 private:
  Driver* before_;
  std::unique_ptr<State> state_;
};

}  // namespace darkroom::fake
