// Shape and Tensor: a view of numbers that somebody else owns.
//
// A Tensor is copied freely and owns nothing; Buffer, Arena and mapped files own. Rows may be strided,
// columns are contiguous: a column slice of a fused projection is a Tensor too. Only backends and file code
// touch the numbers; model code works on shapes and views, so that the dry-run backend can run it without any
// data.
#pragma once

#include <fmt/format.h>

#include <array>
#include <cstddef>
#include <cstdint>
#include <initializer_list>
#include <span>
#include <string>
#include <string_view>

#include "tensor/dtype.h"

namespace darkroom {

// Up to four extents, outermost first, as PyTorch prints them. Rank 0 means "no shape": an absent tensor.
class Shape {
 public:
  static constexpr int kMaxRank = 4;
  static constexpr int64_t kMaxElements = int64_t{1} << 55;  // byte counts stay far inside 64 bits
  Shape() = default;
  // Errors: kFailure for more than kMaxRank extents, a negative one, or a product above kMaxElements (zero
  // extents count as 1 there, so that no partial product overflows either).
  Shape(std::initializer_list<int64_t> extents) : Shape(std::span(extents.begin(), extents.size())) {}
  explicit Shape(std::span<const int64_t> extents);

  int rank() const { return rank_; }
  int64_t operator[](int i) const { return extents_[static_cast<std::size_t>(i)]; }
  int64_t numel() const;  // 0 for rank 0
  int64_t cols() const;   // the last extent
  int64_t rows() const;   // the product of all others
  bool operator==(const Shape& other) const = default;
  std::string str() const;  // "[4608, 3072]"

 private:
  std::array<int64_t, kMaxRank> extents_{};
  int rank_ = 0;
};

enum class Device : uint8_t {
  kHost,  // data points into this process's memory
  kGpu,   // data is an address that the GPU's backend understands (tensor/memory.h)
  kNone,  // no data: the dry-run backend's tensors
};

// Numbers on either side of 0 that quantised values may take in i8: all of 8 bits but -128, or all of 7 but -64.
inline constexpr int32_t kInt8Levels = 127, kInt7Levels = 63;

struct Tensor {
  void* data = nullptr;
  DType dtype = DType::kF32;
  Device device = Device::kHost;
  Shape shape;
  int64_t row_stride = 0;  // elements from one row to the next, all extents but the last taken as rows
  // A quantised matrix: its elements are what is stored times a scale. None (0), one, or one for each row.
  // Only ops::linear takes such tensors.
  int64_t scale_count = 0;
  const float* scales = nullptr;  // null without data
  // Of quantised activations (ops::quantize_rows): so many columns of a row share a scale, the last of them
  // fewer; the scales lie row by row. 0: a scale is for whole rows.
  int64_t scale_cols = 0;
  // Of i8: whoever made it has left no number beyond ±levels. 0: not known, there may be any.
  int32_t levels = 0;

  Tensor() = default;
  // A dense view of elements at `memory`.
  Tensor(void* memory, DType element, const Shape& extents, Device where = Device::kHost)
      : data(memory), dtype(element), device(where), shape(extents), row_stride(extents.cols()) {}

  bool present() const { return shape.rank() > 0; }
  // Scales of a row, where each row has its own.
  int64_t scales_per_row() const { return scale_cols == 0 ? 1 : (cols() + scale_cols - 1) / scale_cols; }
  int64_t rows() const { return shape.rows(); }
  int64_t cols() const { return shape.cols(); }
  bool dense() const { return row_stride == cols() || rows() <= 1; }
  // Of the elements of a dense tensor. Rows of a block type hold whole blocks: cols() is a multiple.
  std::size_t bytes() const { return row_bytes(dtype, shape.numel()); }
  // One piece of memory for the elements and, after them, the scales: its size, where the scales begin in
  // it, and how the tensor is laid into one that is aligned as a Buffer is (null: without data).
  std::size_t bytes_with_scales() const;
  std::size_t scales_offset() const { return (bytes() + sizeof(float) - 1) / sizeof(float) * sizeof(float); }
  void lay_into(std::byte* memory);

  // Rows [first, first + count) of a rank-2 tensor, with their scales; or columns, of a block type in whole
  // blocks. Errors: kFailure when out of range, and for columns that have scales of their own.
  Tensor slice_rows(int64_t first, int64_t count) const;
  Tensor slice_cols(int64_t first, int64_t count) const;
  // The same numbers under another shape. Errors: kFailure when not dense, the counts differ, or each row has
  // its scale and the rows differ.
  Tensor reshape(const Shape& new_shape) const;

  // Row r as bytes, of any dtype.
  std::byte* row_data(int64_t r) const {
    return static_cast<std::byte*>(data) + row_bytes(dtype, r * row_stride);
  }
  // Row r as elements of T; T must be the C++ type of dtype (not checked here: backends checked it once).
  template <typename T>
  T* row(int64_t r) const {
    return static_cast<T*>(data) + r * row_stride;
  }
};

// "bf16 [512, 3072]", for messages.
std::string describe(const Tensor& tensor);

}  // namespace darkroom

// Both as fail() and require() take them: the text is made when the error is.
template <>
struct fmt::formatter<darkroom::Shape> : formatter<std::string_view> {
  template <typename Context>
  auto format(const darkroom::Shape& shape, Context& context) const {
    return formatter<std::string_view>::format(shape.str(), context);
  }
};
template <>
struct fmt::formatter<darkroom::Tensor> : formatter<std::string_view> {
  template <typename Context>
  auto format(const darkroom::Tensor& tensor, Context& context) const {
    return formatter<std::string_view>::format(darkroom::describe(tensor), context);
  }
};
