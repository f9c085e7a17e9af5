// Tensors as kernels see them.
#pragma once

#include <algorithm>
#include <array>
#include <initializer_list>
#include <limits>
#include <span>

#include "backends/vulkan/recorder.h"
#include "tensor/tensor.h"

namespace darkroom::vulkan {

// The bytes from the first to the last element of a tensor's rows [first, first + count), gaps of strided rows
// among them.
inline Binding binding_of(const Tensor& x, Access access, int64_t first, int64_t count) {
  if (!x.present() || count == 0) return {};
  const std::size_t bytes = row_bytes(x.dtype, (count - 1) * x.row_stride) + row_bytes(x.dtype, x.cols());
  return {x.row_data(first), bytes, access};
}
inline Binding binding_of(const Tensor& x, Access access) { return binding_of(x, access, 0, x.rows()); }

// How far before its first element a tensor's binding begins, in elements (of a block type: in bytes).
inline uint32_t elements_before(const Recorder& recorder, const Binding& binding, DType dtype) {
  const uint32_t bytes = recorder.before(binding.address);
  return is_block(dtype) ? bytes : bytes / static_cast<uint32_t>(dtype_bytes(dtype));
}

// So many rows of each of the tensors can be bound at once; those that are absent do not count.
inline int64_t rows_that_fit(const Recorder& recorder, std::initializer_list<const Tensor*> tensors) {
  int64_t rows = std::numeric_limits<int64_t>::max();
  for (const Tensor* x : tensors) {
    const int64_t row = static_cast<int64_t>(row_bytes(x->dtype, x->row_stride));
    if (x->present() && row > 0) rows = std::min(rows, static_cast<int64_t>(recorder.max_binding()) / row);
  }
  return std::max<int64_t>(rows, 1);
}

inline uint32_t u32(int64_t n) { return static_cast<uint32_t>(n); }
inline int64_t divided_up(int64_t n, int64_t by) { return (n + by - 1) / by; }

// Rows as a dispatch sees them: what is bound, and in elements where in that they begin and how far apart they are.
// All 0 for an absent tensor.
struct Operand {
  Binding binding;
  uint32_t first = 0, stride = 0;
};
inline Operand operand_of(const Recorder& recorder, const Tensor& x, Access access, int64_t first,
                          int64_t count) {
  const Binding binding = binding_of(x, access, first, count);
  return {binding, elements_before(recorder, binding, x.dtype), u32(x.row_stride)};
}
inline Operand operand_of(const Recorder& recorder, const Tensor& x, Access access = Access::kRead) {
  return operand_of(recorder, x, access, 0, x.rows());
}

// A picture [H, W, C], dense, as [H, W·C].
inline Tensor picture_rows(const Tensor& picture) {
  return picture.reshape({picture.shape[0], picture.shape[1] * picture.shape[2]});
}

inline constexpr int64_t kMostGroups = 65535;  // in one dimension, on every device

// Rows begin at multiples of so many bytes.
inline bool begins_at(const Tensor& t, std::size_t multiple) {
  return reinterpret_cast<uintptr_t>(t.data) % multiple == 0 &&
         (t.rows() <= 1 || row_bytes(t.dtype, t.row_stride) % multiple == 0);
}

// Rows may be read in runs of 8 elements, as vectors of up to 16 bytes; of a block type in words.
inline bool has_wide_rows(const Tensor& t) {
  if (is_block(t.dtype)) return block_size(t.dtype).bytes % 4 == 0 && begins_at(t, 4);
  return t.cols() % 8 == 0 && begins_at(t, std::min<std::size_t>(16, 8 * dtype_bytes(t.dtype)));
}

// So many workgroups in a row, in two dimensions, as one has a limit of 65535: shaders count
// gl_WorkGroupID.y·gl_NumWorkGroups.x + gl_WorkGroupID.x, which may be too large for the last.
inline std::array<uint32_t, 3> grid_of(int64_t groups) {
  constexpr int64_t kMost = 32768;
  if (groups <= kMost) return {u32(groups), 1, 1};
  return {kMost, u32(divided_up(groups, kMost)), 1};
}

// A struct of 32-bit words as push constants.
template <typename T>
std::span<const std::byte> push_of(const T& constants) {
  static_assert(sizeof(T) % 4 == 0 && sizeof(T) <= kPushBytes);
  return std::as_bytes(std::span(&constants, 1));
}

// How shaders are told what is stored, as a specialization constant; shaders/types.glsl has the same numbers.
constexpr uint32_t type_of(DType dtype) { return static_cast<uint32_t>(dtype); }
// The same where a CPU compiles, which costs it more than a branch does: then shaders look at the push constants.
inline uint32_t known_type(const Recorder& recorder, DType dtype) {
  constexpr uint32_t kEither = 255;
  return recorder.device().is_cpu() ? kEither : type_of(dtype);
}

}  // namespace darkroom::vulkan
