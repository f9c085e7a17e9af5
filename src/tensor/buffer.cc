#include "tensor/buffer.h"

#include <sys/mman.h>

#include <algorithm>

#include "base/error.h"

namespace darkroom {

Buffer::Buffer(std::size_t bytes) : Memory(Device::kHost, nullptr, bytes) {
  if (bytes == 0) return;
  void* address = ::mmap(nullptr, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  if (address == MAP_FAILED) fail(ErrorCode::kOutOfMemory, "the system refused {} bytes of memory", bytes);
  // Fewer address translations in matmul; a hint, so the result is ignored.
  ::madvise(address, bytes, MADV_HUGEPAGE);
  data_ = static_cast<std::byte*>(address);
}

Buffer::~Buffer() {
  if (data_) ::munmap(data_, size_);
}

Buffer::Buffer(Buffer&& other) noexcept : Buffer() { swap(other); }

Buffer& Buffer::operator=(Buffer&& other) noexcept {
  swap(other);
  return *this;
}

Tensor Arena::allocate(DType dtype, const Shape& shape) {
  Tensor out(nullptr, dtype, shape, device_);
  const std::size_t bytes = (out.bytes() + kBufferAlignment - 1) / kBufferAlignment * kBufferAlignment;
  if (device_ != Device::kNone) {
    require(bytes <= capacity_ - used_, ErrorCode::kFailure,
            "activation memory: {} bytes planned, {} needed for {}; please report this", capacity_,
            used_ + bytes, out);
    out.data = base_ + used_;
  }
  used_ += bytes;
  peak_ = std::max(peak_, used_);
  return out;
}

}  // namespace darkroom
