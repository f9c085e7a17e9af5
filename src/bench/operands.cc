#include "bench/operands.h"

#include <cmath>
#include <cstring>

#include "tensor/blocks.h"

namespace darkroom::bench {

std::byte Uniform::byte() {
  state_ = state_ * 1664525u + 1013904223u;
  return static_cast<std::byte>(state_ >> 24);
}

float Uniform::next() {
  byte();
  return static_cast<float>(state_ >> 8) / 8388608.0f - 1.0f;
}

Tensor Operands::take(DType dtype, const Shape& shape) {
  made_.emplace_back(row_bytes(dtype, shape.numel()));
  return Tensor(made_.back().data(), dtype, shape);
}

std::byte* Operands::keep(const void* host, std::size_t bytes) {
  kept_.push_back(backend_.allocate(bytes));
  std::byte* const place = kept_.back()->data();
  backend_.fill(place, bytes, [&](std::span<std::byte> out) { std::memcpy(out.data(), host, bytes); });
  return place;
}

Tensor Operands::put(const Tensor& host) {
  Tensor out = host;
  out.data = keep(host.data, host.bytes());
  out.device = backend_.device();
  if (host.scale_count > 0) {
    const std::size_t bytes = static_cast<std::size_t>(host.scale_count) * sizeof(float);
    out.scales = reinterpret_cast<const float*>(keep(host.scales, bytes));
  }
  return out;
}

// What was made on the host, where the backend has its tensors.
Tensor Operands::settle(const Tensor& host) {
  if (backend_.device() == Device::kHost) return host;
  const Tensor out = put(host);
  made_.clear();
  return out;
}

Tensor Operands::random(DType dtype, const Shape& shape, float scale, float middle) {
  return settle(make(dtype, shape, scale, middle));
}

Tensor Operands::random_int8(const Shape& shape, int32_t levels, float scale) {
  return settle(make_int8(shape, levels, scale));
}

Tensor Operands::copy(const Tensor& tensor) {
  std::vector<std::byte> bytes;
  backend_.look_at(static_cast<const std::byte*>(tensor.data), tensor.bytes(),
                   [&](std::span<const std::byte> all) { bytes.assign(all.begin(), all.end()); });
  Tensor out = tensor;
  out.data = keep(bytes.data(), bytes.size());
  return out;
}

Tensor Operands::make(DType dtype, const Shape& shape, float scale, float middle) {
  if (is_block(dtype)) return make_blocks(dtype, shape, scale);
  if (dtype == DType::kI8) return make_int8(shape, kInt8Levels, scale);
  const Tensor out = take(dtype, shape);
  const auto fill = [&](auto* data, auto convert) {
    for (int64_t i = 0; i < shape.numel(); ++i) data[i] = convert(middle + scale * uniform_.next());
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

Tensor Operands::make_int8(const Shape& shape, int32_t levels, float scale) {
  Tensor out = take(DType::kI8, shape);
  const Tensor one = take(DType::kF32, {1});
  const float most = static_cast<float>(levels);
  *one.row<float>(0) = scale / most;
  for (int64_t i = 0; i < shape.numel(); ++i) {
    out.row<int8_t>(0)[i] = static_cast<int8_t>(std::nearbyint(most * uniform_.next()));
  }
  out.scale_count = 1;
  out.scales = one.row<float>(0);
  out.levels = levels;
  return out;
}

Tensor Operands::make_blocks(DType dtype, const Shape& shape, float scale) {
  const Tensor out = take(dtype, shape);
  const std::size_t size = block_size(dtype).bytes;
  std::byte* const first = static_cast<std::byte*>(out.data);
  for (std::byte* block = first; block < first + out.bytes(); block += size) {
    for (std::size_t i = 0; i < size; ++i) block[i] = uniform_.byte();
    scale_block(dtype, block, scale * (0.75f + 0.25f * uniform_.next()));
  }
  return out;
}

}  // namespace darkroom::bench
