// Bytes between the host and device memory: straight where the host sees it, else through memory that both see.
#pragma once

#include <cstddef>
#include <functional>
#include <memory>
#include <mutex>
#include <span>

#include "backends/vulkan/memory.h"

namespace darkroom::vulkan {

using Write = std::function<void(std::span<std::byte>)>;
using Look = std::function<void(std::span<const std::byte>)>;

// Rows in device memory: how many, how long each is, and how far from one to the next, in bytes.
struct Rows {
  std::size_t count = 0, bytes = 0, stride = 0;
  bool dense() const { return count <= 1 || stride == bytes; }
};

// Thread-safe. The device and the pool must outlive it.
class Transfers {
 public:
  Transfers(Device& device, MemoryPool& pool);
  ~Transfers() { device_.finish(); }
  Transfers(const Transfers&) = delete;
  Transfers& operator=(const Transfers&) = delete;

  // `write` is called once with bytes of the host, which are at the place in device memory when this returns.
  // Whoever still reads or writes that memory must have been waited for. Errors: as check(), and `write`'s.
  void fill(const MemoryPool::Place& place, std::size_t bytes, const Write& write);
  // For the ops' thread, which then does not wait for a fill() of another thread: rows that lie side by side on
  // the host.
  void put(const MemoryPool::Place& place, const Rows& rows, std::span<const std::byte> host);
  // `look` is called once.
  void look_at(const MemoryPool::Place& place, const Rows& rows, const Look& look);

 private:
  // A buffer that both see, and a command buffer for the copy.
  struct Lane {
    Device::Line line{};
    MemoryKind kind{};
    std::mutex mutex;
    std::unique_ptr<Block> staging;
    Commands commands;
    uint64_t value = 0;
  };
  void reserve(Lane& lane, std::size_t bytes);
  void copy(Lane& lane, VkBuffer from, VkBuffer to, std::span<const VkBufferCopy> regions);

  Device& device_;
  MemoryPool& pool_;
  Lane fill_, ops_;
};

}  // namespace darkroom::vulkan
