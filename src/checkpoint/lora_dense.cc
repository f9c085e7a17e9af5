#include "checkpoint/lora_dense.h"

#include <algorithm>
#include <utility>

#include "base/error.h"
#include "base/printable.h"
#include "weights/quantize.h"

namespace darkroom {
namespace {

// Extents as [rows, cols]; 1x1 convolutions are matrices, vectors have one column.
std::pair<int64_t, int64_t> matrix_shape(const StoredTensor& stored) {
  const int64_t rows = stored.extents.empty() ? 1 : stored.extents[0];
  return {rows, rows == 0 ? 0 : stored.elements / rows};
}

LoraMatrix product(const LoraMatrix& a, const LoraMatrix& b) {
  LoraMatrix out{a.rows, b.cols, std::vector<float>(static_cast<std::size_t>(a.rows * b.cols))};
  for (int64_t r = 0; r < a.rows; ++r) {
    float* to = out.values.data() + r * b.cols;
    for (int64_t k = 0; k < a.cols; ++k) {
      const float x = a.row(r)[static_cast<std::size_t>(k)];
      const float* from = b.values.data() + k * b.cols;
      for (int64_t c = 0; c < b.cols; ++c) to[c] += x * from[c];
    }
  }
  return out;
}

std::size_t product_bytes(int64_t rows, int64_t cols) {
  return static_cast<std::size_t>(rows * cols) * sizeof(float);
}

}  // namespace

LoraMatrix load_lora_matrix(const TensorFile& file, const StoredTensor& stored, int64_t first,
                            int64_t count) {
  const auto [rows, cols] = matrix_shape(stored);
  const DType dtype = *stored.dtype;
  const std::size_t row = row_bytes(dtype, cols);
  std::vector<std::byte> bytes(static_cast<std::size_t>(count) * row);
  file.read(stored, static_cast<std::size_t>(first) * row, bytes);
  LoraMatrix out{count, cols, std::vector<float>(static_cast<std::size_t>(count * cols))};
  const Tensor from(bytes.data(), dtype, {count, cols}), to(out.values.data(), DType::kF32, {count, cols});
  try {
    absmax(from);
  } catch (const Error& e) {
    fail(e.code(), "{}: tensor '{}': {}", file.where(), printable(stored.name), e.what());
  }
  dequantize_rows(from, {}, to);
  return out;
}

LoraMatrix load_lora_matrix(const TensorFile& file, const StoredTensor& stored) {
  return load_lora_matrix(file, stored, 0, matrix_shape(stored).first);
}

std::size_t lora_matrix_bytes(const StoredTensor& stored, int64_t rows) {
  const std::size_t cols = static_cast<std::size_t>(matrix_shape(stored).second);
  return static_cast<std::size_t>(rows) * cols * (sizeof(float) + dtype_bytes(*stored.dtype));
}

DenseRows::DenseRows(const TensorFile& file, const Lora::Dense& change, double strength, int64_t cols)
    : file_(file), change_(change), factor_(static_cast<float>(strength * change.factor)), cols_(cols) {
  using Kind = Lora::Dense::Kind;
  if (change.kind == Kind::kDiff || change.kind == Kind::kSet) return;
  LoraMatrix* const parts[] = {&a_, &b_, &c_, &d_};
  if (change.kind == Kind::kLoha) {
    for (std::size_t i = 0; i < 4; ++i) *parts[i] = load_lora_matrix(file, *change.tensors[i]);
    return;
  }
  for (std::size_t i = 0; i < 2; ++i) {
    *parts[i] = load_lora_matrix(file, *change.tensors[2 * i]);
    if (const StoredTensor* right = change.tensors[2 * i + 1]) {
      *parts[i] = product(*parts[i], load_lora_matrix(file, *right));
    }
  }
}

std::size_t DenseRows::bytes(const Lora::Dense& change, int64_t rows, int64_t cols) {
  using Kind = Lora::Dense::Kind;
  if (change.kind == Kind::kDiff || change.kind == Kind::kSet)
    return lora_matrix_bytes(*change.tensors[0], rows);
  std::size_t bytes = 2 * product_bytes(1, cols);
  for (std::size_t i = 0; i < 4; ++i) {
    if (const StoredTensor* stored = change.tensors[i])
      bytes += lora_matrix_bytes(*stored, matrix_shape(*stored).first);
  }
  if (change.kind == Kind::kLoha) return bytes;
  for (std::size_t i = 0; i < 4; i += 2) {
    if (!change.tensors[i + 1]) continue;
    bytes +=
        product_bytes(matrix_shape(*change.tensors[i]).first, matrix_shape(*change.tensors[i + 1]).second);
  }
  return bytes;
}

int64_t DenseRows::module_row(int64_t row) const {
  for (const RowRange& range : change_.rows) {
    if (row < range.count) return range.first + row;
    row -= range.count;
  }
  return row;
}

void DenseRows::add_row(int64_t row, std::span<float> w) const {
  if (change_.kind == Lora::Dense::Kind::kLokr) {
    const std::span<const float> left = a_.row(row / b_.rows), right = b_.row(row % b_.rows);
    for (std::size_t i = 0; i < left.size(); ++i) {
      const float x = factor_ * left[i];
      float* to = w.data() + i * right.size();
      for (std::size_t j = 0; j < right.size(); ++j) to[j] += x * right[j];
    }
    return;
  }
  const auto row_of = [&](const LoraMatrix& left, const LoraMatrix& right) {
    return product({1, left.cols, {left.row(row).begin(), left.row(row).end()}}, right).values;
  };
  const std::vector<float> first = row_of(a_, b_), second = row_of(c_, d_);
  for (std::size_t i = 0; i < w.size(); ++i) w[i] += factor_ * first[i] * second[i];
}

void DenseRows::apply(int64_t first, std::span<float> w) const {
  const int64_t count = static_cast<int64_t>(w.size()) / cols_;
  using Kind = Lora::Dense::Kind;
  const bool whole = change_.kind == Kind::kDiff || change_.kind == Kind::kSet;
  for (int64_t r = 0; r < count;) {
    const int64_t row = module_row(first + r);
    int64_t run = 1;  // rows that lie side by side in the module
    while (r + run < count && module_row(first + r + run) == row + run) ++run;
    const auto part = w.subspan(static_cast<std::size_t>(r * cols_), static_cast<std::size_t>(run * cols_));
    r += run;
    if (!whole) {
      for (int64_t i = 0; i < run; ++i) {
        add_row(row + i, part.subspan(static_cast<std::size_t>(i * cols_), static_cast<std::size_t>(cols_)));
      }
      continue;
    }
    const LoraMatrix rows = load_lora_matrix(file_, *change_.tensors[0], row, run);
    for (std::size_t i = 0; i < part.size(); ++i) {
      part[i] = change_.kind == Kind::kSet ? rows.values[i] : part[i] + factor_ * rows.values[i];
    }
  }
}

}  // namespace darkroom
