#include "bench/operands.h"

#include <cmath>
#include <cstring>

#include "tensor/blocks.h"

namespace darkroom::bench {

Tensor Operands::take(DType dtype, const Shape& shape) {
  buffers_.emplace_back(row_bytes(dtype, shape.numel()));
  return Tensor(buffers_.back().data(), dtype, shape);
}

float Operands::unit() {
  state_ = state_ * 1664525u + 1013904223u;
  return static_cast<float>(state_ >> 8) / 8388608.0f - 1.0f;
}

Tensor Operands::random(DType dtype, const Shape& shape, float scale, float middle) {
  if (is_block(dtype)) return random_blocks(dtype, shape, scale);
  if (dtype == DType::kI8) return random_int8(shape, kInt8Levels, scale);
  Tensor out = take(dtype, shape);
  const auto fill = [&](auto* data, auto convert) {
    for (int64_t i = 0; i < shape.numel(); ++i) data[i] = convert(middle + scale * unit());
  };
  switch (dtype) {
    case DType::kF16:
      fill(out.row<Float16>(0), to_float16);
      break;
    case DType::kBF16:
      fill(out.row<BFloat16>(0), to_bfloat16);
      break;
    case DType::kF8E4M3:
      fill(out.row<Float8E4M3>(0), to_float8_e4m3);
      break;
    case DType::kF8E5M2:  // the upper byte of an f16
      fill(out.row<uint8_t>(0), [](float x) { return static_cast<uint8_t>(to_float16(x).bits >> 8); });
      break;
    default:
      fill(out.row<float>(0), [](float x) { return x; });
      break;
  }
  return out;
}

Tensor Operands::random_int8(const Shape& shape, int32_t levels, float scale) {
  Tensor out = take(DType::kI8, shape);
  const Tensor one = take(DType::kF32, {1});
  const float most = static_cast<float>(levels);
  *one.row<float>(0) = scale / most;
  for (int64_t i = 0; i < shape.numel(); ++i) {
    out.row<int8_t>(0)[i] = static_cast<int8_t>(std::nearbyint(most * unit()));
  }
  out.scale_count = 1;
  out.scales = one.row<float>(0);
  out.levels = levels;
  return out;
}

Tensor Operands::random_blocks(DType dtype, const Shape& shape, float scale) {
  const Tensor out = take(dtype, shape);
  const std::size_t size = block_size(dtype).bytes;
  std::byte* const first = static_cast<std::byte*>(out.data);
  for (std::byte* block = first; block < first + out.bytes(); block += size) {
    for (std::size_t i = 0; i < size; ++i) {
      unit();
      block[i] = static_cast<std::byte>(state_ >> 24);
    }
    scale_block(dtype, block, scale * (0.75f + 0.25f * unit()));
  }
  return out;
}

Tensor Operands::copy(const Tensor& tensor) {
  Tensor out = take(tensor.dtype, tensor.shape);
  std::memcpy(out.data, tensor.data, tensor.bytes());
  out.scale_count = tensor.scale_count;
  out.scales = tensor.scales;
  out.levels = tensor.levels;
  return out;
}

}  // namespace darkroom::bench
