// One piece of memory that tensors lie in, on whichever device: what a backend gives (Backend::allocate).
#pragma once

#include <cstddef>
#include <utility>

#include "tensor/tensor.h"

namespace darkroom {

inline constexpr std::size_t kBufferAlignment = 64;  // a cache line, and the widest vector

// Owned through the class that made it. Its end waits until no op that was asked for uses it any more.
class Memory {
 public:
  virtual ~Memory() = default;
  Memory(const Memory&) = delete;
  Memory& operator=(const Memory&) = delete;

  // Where the first tensor begins, aligned to kBufferAlignment. The program may read and write there only if
  // device() is kHost: elsewhere it is a name that the backend understands, of addresses that nothing else has
  // and that nobody may touch.
  std::byte* data() const { return data_; }
  std::size_t size() const { return size_; }
  Device device() const { return device_; }

 protected:
  explicit Memory(Device device, std::byte* data = nullptr, std::size_t size = 0)
      : data_(data), size_(size), device_(device) {}
  void swap(Memory& other) {
    std::swap(data_, other.data_);
    std::swap(size_, other.size_);
    std::swap(device_, other.device_);
  }

  std::byte* data_;
  std::size_t size_;

 private:
  Device device_;
};

}  // namespace darkroom
