// Device memory: one VkBuffer each, seen by the rest of darkroom as a range of addresses that no one can read.
#pragma once

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <limits>
#include <map>
#include <memory>
#include <mutex>
#include <optional>

#include "backends/vulkan/device.h"

namespace darkroom::vulkan {

class MemoryPool;

enum class MemoryKind : uint8_t {
  kTensors,  // in the main heap; mapped where all of it can be
  kDevice,   // the same, for what ops need beside tensors
  kUpload,   // of the host, mapped; to write
  kDownload  // of the host, mapped, cached if possible; to read
};

// Addresses that belong to nobody else and fault when they are touched.
class AddressRange {
 public:
  // Errors: kOutOfMemory.
  explicit AddressRange(std::size_t bytes);
  ~AddressRange();
  AddressRange(const AddressRange&) = delete;
  AddressRange& operator=(const AddressRange&) = delete;
  std::byte* data() const { return data_; }

 private:
  std::byte* data_ = nullptr;
  std::size_t bytes_ = 0;
};

// One allocation. `mapped` is where the host may write it, or null, `readable` where it may read it fast: much of what
// is mapped is not cached.
class Block {
 public:
  ~Block();
  Block(const Block&) = delete;
  Block& operator=(const Block&) = delete;

  std::byte* data() const { return addresses_.data(); }
  std::size_t size() const { return size_; }
  VkBuffer buffer() const { return buffer_.get(); }
  std::byte* mapped() const { return mapped_; }
  const std::byte* readable() const { return cached_ ? mapped_ : nullptr; }

 private:
  friend class MemoryPool;
  Block(MemoryPool& pool, std::size_t bytes);
  void make_buffer();
  void bind(uint32_t type, std::size_t bytes);

  MemoryPool& pool_;
  std::size_t size_;
  AddressRange addresses_;
  OwnedMemory memory_;  // freed after the buffer
  OwnedBuffer buffer_;
  std::byte* mapped_ = nullptr;
  bool cached_ = false;
  MemoryKind kind_{};
  std::size_t counted_ = 0;
};

struct MemoryOptions {
  std::size_t limit = 0;       // of bytes in the device's main heap; 0: what the driver says may be taken
  bool force_staging = false;  // as if the host could not see the device's memory
};

// Where memory comes from. Thread-safe. The device must outlive it, and it its blocks.
class MemoryPool {
 public:
  MemoryPool(Device& device, const MemoryOptions& options) : device_(device), options_(options) {}
  MemoryPool(const MemoryPool&) = delete;
  MemoryPool& operator=(const MemoryPool&) = delete;

  using Kind = MemoryKind;
  // Errors: kOutOfMemory with what was asked, held and allowed; another heap is never taken instead.
  std::unique_ptr<Block> allocate(std::size_t bytes, Kind kind);

  struct Usage {
    std::size_t bytes = 0, peak = 0;  // held now, and at most since begin_peak()
  };
  Usage tensors() const;
  Usage all() const;  // of the main heap
  void begin_peak();
  // For all in the main heap: what the options say, and the driver now.
  std::size_t limit() const;
  void limit_tensors(std::size_t bytes) { tensor_limit_ = bytes; }
  // Whether the host sees memory of the main heap.
  bool is_mapped() const;

  struct Place {
    VkBuffer buffer = VK_NULL_HANDLE;
    std::size_t offset = 0;
    const Block* block = nullptr;
  };
  // Where [address, address + bytes) lies. Errors: kFailure when not inside one block.
  Place find(const void* address, std::size_t bytes) const;

 private:
  friend class Block;
  std::optional<uint32_t> find_type(VkMemoryPropertyFlags flags, bool in_main_heap, uint32_t allowed) const;
  uint32_t memory_type(Kind kind, uint32_t allowed) const;
  void take(std::size_t asked, std::size_t bytes, Kind kind);
  void give_back(std::size_t asked, std::size_t bytes, Kind kind);

  Device& device_;
  MemoryOptions options_;
  mutable std::mutex mutex_;
  std::map<uintptr_t, const Block*> blocks_;  // by their first address
  Usage tensors_, all_;
  std::atomic<std::size_t> tensor_limit_ = std::numeric_limits<std::size_t>::max();
};

}  // namespace darkroom::vulkan
