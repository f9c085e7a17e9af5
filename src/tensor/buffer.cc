#include "tensor/buffer.h"

#include <sys/mman.h>

#include <algorithm>
#include <utility>

#include "base/error.h"

namespace darkroom {

Buffer::Buffer(std::size_t bytes) : size_(bytes) {
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

Buffer::Buffer(Buffer&& other) noexcept
    : data_(std::exchange(other.data_, nullptr)), size_(std::exchange(other.size_, 0)) {}

Buffer& Buffer::operator=(Buffer&& other) noexcept {
  std::swap(data_, other.data_);
  std::swap(size_, other.size_);
  return *this;
}

Tensor Arena::allocate(DType dtype, const Shape& shape) {
  Tensor out(nullptr, dtype, shape, counting_ ? Device::kNone : Device::kHost);
  const std::size_t bytes = (out.bytes() + kBufferAlignment - 1) / kBufferAlignment * kBufferAlignment;
  if (!counting_) {
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
