#include "bench/operands.h"

#include <cstring>

namespace darkroom::bench {

Tensor Operands::take(DType dtype, const Shape& shape) {
  buffers_.emplace_back(static_cast<std::size_t>(shape.numel()) * dtype_bytes(dtype));
  return Tensor(buffers_.back().data(), dtype, shape);
}

Tensor Operands::random(DType dtype, const Shape& shape, float scale, float middle) {
  const Tensor out = take(dtype, shape);
  const auto fill = [&](auto* data, auto convert) {
    for (int64_t i = 0; i < shape.numel(); ++i) {
      state_ = state_ * 1664525u + 1013904223u;
      const float unit = static_cast<float>(state_ >> 8) / 8388608.0f - 1.0f;
      data[i] = convert(middle + scale * unit);
    }
  };
  if (dtype == DType::kBF16) {
    fill(out.row<BFloat16>(0), to_bfloat16);
  } else {
    fill(out.row<float>(0), [](float x) { return x; });
  }
  return out;
}

Tensor Operands::copy(const Tensor& tensor) {
  const Tensor out = take(tensor.dtype, tensor.shape);
  std::memcpy(out.data, tensor.data, tensor.bytes());
  return out;
}

}  // namespace darkroom::bench
