// What every op needs besides its tensors: where to run, where to put results, how precise, and whether to
// stop.
#pragma once

#include <atomic>
#include <cstdint>
#include <optional>

#include "ops/backend.h"
#include "tensor/buffer.h"

namespace darkroom {

struct Linear;

// How linear layers multiply in 8 bits (ops::quantize_rows).
struct Int8Products {
  int64_t group = 0;             // so many columns of a row share a scale; 0: all
  int32_t levels = kInt8Levels;  // of activations, and of the weights that they are multiplied by
  bool operator==(const Int8Products&) const = default;
};

// Sees what the linear layers of a model multiply, on the backend's device: for calibration.
class InputWatcher {
 public:
  virtual ~InputWatcher() = default;
  // `first` of the layers that multiply x [M,K].
  virtual void on_input(const Linear& first, const Tensor& x) = 0;
};

// Borrowed parts of one run; everything referred to must outlive it. One thread uses a context at a time.
struct Context {
  Backend& backend;
  Arena& arena;                               // results and scratch; see Arena::Scope
  DType activation = DType::kF32;             // f32 or bf16: the dtype of hidden states in this run
  const std::atomic<bool>* cancel = nullptr;  // set from any thread to stop
  // Where a model has it so, its linear layers multiply in 8 bits. Absent: in `activation`.
  std::optional<Int8Products> int8 = {};
  InputWatcher* watcher = nullptr;  // or null
  bool int8_attention = false;      // and its attention does (AttentionOptions::int8)

  // Errors: kCancelled once *cancel is true. Models call it between blocks, so a stop takes at most one
  // block.
  void throw_if_cancelled() const {
    if (cancel && cancel->load(std::memory_order_relaxed))
      throw Error(ErrorCode::kCancelled, "stopped on request");
  }

  // A dry run: tensors have no data, so no values need to be made for them.
  bool counts_only() const { return backend.counts_only(); }

  Tensor allocate(const Shape& shape) const { return arena.allocate(activation, shape); }
};

// While it lives, what runs on a backend that only counts stands for `times` runs of the same work.
class Repeated {
 public:
  Repeated(Backend& backend, int64_t times) : backend_(backend), before_(backend.count_times(1)) {
    backend_.count_times(before_ * static_cast<double>(times));
  }
  ~Repeated() { backend_.count_times(before_); }
  Repeated(const Repeated&) = delete;
  Repeated& operator=(const Repeated&) = delete;

 private:
  Backend& backend_;
  double before_;
};

}  // namespace darkroom
