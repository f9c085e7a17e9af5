// Buffer (one piece of the host's memory), and Arena (a bump allocator over any memory, or over nothing for
// planning).
#pragma once

#include <cstddef>

#include "tensor/memory.h"
#include "tensor/tensor.h"

namespace darkroom {

// Owns anonymous zeroed pages of host memory; they enter the resident set when touched. Movable, not
// copyable.
class Buffer final : public Memory {
 public:
  Buffer() : Memory(Device::kHost) {}
  // Errors: kOutOfMemory with the size asked for.
  explicit Buffer(std::size_t bytes);
  ~Buffer() override;
  Buffer(Buffer&& other) noexcept;
  Buffer& operator=(Buffer&& other) noexcept;
};

// Hands out tensors one behind the other and takes them back in scopes. Not thread-safe: one arena per run.
//
// With memory behind it the arena obeys its capacity. A counting arena has none: its tensors carry no data
// and it only records how high it would have filled, which is how a run is planned with the very code that
// will run.
class Arena {
 public:
  static Arena counting() { return Arena(nullptr, 0, Device::kNone); }
  // Uses `memory`, which must outlive the arena.
  explicit Arena(const Memory& memory) : Arena(memory.data(), memory.size(), memory.device()) {}

  // Uninitialised, dense, aligned to kBufferAlignment. Errors: kFailure when the capacity is exceeded, which
  // means that the plan did not cover the run.
  Tensor allocate(DType dtype, const Shape& shape);

  std::size_t used() const { return used_; }
  std::size_t peak() const { return peak_; }

  // Everything allocated while a Scope lives is given back at its end.
  class Scope {
   public:
    explicit Scope(Arena& arena) : arena_(arena), mark_(arena.used_) {}
    ~Scope() { arena_.used_ = mark_; }
    Scope(const Scope&) = delete;
    Scope& operator=(const Scope&) = delete;

   private:
    Arena& arena_;
    std::size_t mark_;
  };

 private:
  Arena(std::byte* base, std::size_t capacity, Device device)
      : base_(base), capacity_(capacity), device_(device) {}
  std::byte* base_;
  std::size_t capacity_;
  Device device_;  // kNone: it counts
  std::size_t used_ = 0;
  std::size_t peak_ = 0;
};

}  // namespace darkroom
