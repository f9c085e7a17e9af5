// The rows of a difference that has no low rank. Inside this room.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "checkpoint/lora.h"

namespace darkroom {

// A tensor of a LoRA in f32.
struct LoraMatrix {
  int64_t rows = 0, cols = 0;
  std::vector<float> values;
  std::span<const float> row(int64_t r) const {
    return std::span(values).subspan(static_cast<std::size_t>(r * cols), static_cast<std::size_t>(cols));
  }
};
// Rows [first, first + count) of a tensor of a floating type, or all of them; a vector's are of one element.
// Errors: kModel, also for a number that is not finite, with the file and the tensor.
LoraMatrix load_lora_matrix(const TensorFile& file, const StoredTensor& stored, int64_t first, int64_t count);
LoraMatrix load_lora_matrix(const TensorFile& file, const StoredTensor& stored);

// Bytes that a LoraMatrix of these rows takes while it is loaded: in f32 and as stored.
std::size_t lora_matrix_bytes(const StoredTensor& stored, int64_t rows);

// One difference on the rows of a parameter. Loads its factors; whole differences stay in the file.
class DenseRows {
 public:
  DenseRows(const TensorFile& file, const Lora::Dense& change, double strength, int64_t cols);
  // Adds rows [first, first + w.size()/cols) of the parameter's difference to w, or puts them there.
  void apply(int64_t first, std::span<float> w) const;
  // What making one takes, and apply() for `rows` rows.
  static std::size_t bytes(const Lora::Dense& change, int64_t rows, int64_t cols);

 private:
  int64_t module_row(int64_t row) const;
  void add_row(int64_t row, std::span<float> w) const;

  const TensorFile& file_;
  const Lora::Dense& change_;
  float factor_;
  int64_t cols_;
  LoraMatrix a_, b_, c_, d_;  // kLokr: w1 and w2 in a_ and b_; kLoha: w1a, w1b, w2a, w2b
};

}  // namespace darkroom
