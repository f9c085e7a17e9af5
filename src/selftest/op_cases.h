// One table of op cases: every op on plain, odd and strided shapes. The conformance tests run each row on
// every backend, dtype and instruction set against the reference backend, the self-test on a user's own device. A new
// op begins with a row here.
#pragma once

#include <cmath>
#include <cstdint>
#include <cstring>
#include <functional>
#include <list>
#include <memory>
#include <string>
#include <vector>

#include "ops/ops.h"
#include "tensor/blocks.h"
#include "tensor/buffer.h"

namespace darkroom {

// Makes the inputs of a case: the same numbers for the same case, whatever the backend.
class Operands {
 public:
  enum class Scales { kNone, kOne, kPerRow };  // of the matrices of linear layers
  // round_to_bf16: the weights of products that are f16 or of a block type become bf16, as backends may round
  // them. home: the backend in whose memory the tensors lie, which must outlive them; null: the host's.
  Operands(DType activation, DType weight, Scales scales = Scales::kNone, bool round_to_bf16 = false,
           Backend* home = nullptr)
      : activation_(activation),
        weight_(weight),
        scales_(scales),
        round_to_bf16_(round_to_bf16),
        home_(home) {}

  // Instead, all but those that are f16 exactly get 11 significant bits, as products of f16 have them.
  void round_to_11_bits() { round_to_11_bits_ = true; }

  // A dense activation, uniform in [−scale, scale].
  Tensor activation(const Shape& shape, float scale = 1) {
    return placed(fill(activation_, shape, 0, scale, 0));
  }
  // The same as a column slice of a wider tensor (rank 2 only).
  Tensor strided(const Shape& shape, float scale = 1) {
    return placed(fill(activation_, shape, 0, scale, 24));
  }
  // A weight that is no matrix of a linear layer: i8 and block types would mean nothing there.
  Tensor vector(const Shape& shape, float scale) {
    return placed(fill(is_float(weight_) ? weight_ : DType::kF32, shape, 0, scale, 0));
  }
  // A weight, uniform around `middle`.
  Tensor weight(const Shape& shape, float scale = 1, float middle = 0) {
    return placed(fill(weight_, shape, middle, scale, 0));
  }
  Tensor f32(const Shape& shape, float scale = 1) { return placed(fill(DType::kF32, shape, 0, scale, 0)); }
  // Numbers on the host, whatever the backend.
  std::vector<float> numbers(int64_t count) {
    std::vector<float> out(static_cast<std::size_t>(count));
    for (float& value : out) value = next();
    return out;
  }
  Linear linear(int64_t in, int64_t out) {
    return {matrix({out, in}, 1 / std::sqrt(static_cast<float>(in))), vector({out}, 0.5f)};
  }
  // With a LoRA whose down matrix has a scale for each row.
  Linear linear_with_lora(int64_t in, int64_t out, int64_t rank, DType lora) {
    Linear w = linear(in, out);
    w.lora_down = placed(maybe_rounded(fill(lora, {rank, in}, 0, 1 / std::sqrt(static_cast<float>(in)), 0)));
    w.lora_up = placed(fill(lora, {out, rank}, 0, 1 / std::sqrt(static_cast<float>(rank)), 0));
    const Tensor scales = placed(fill(DType::kF32, {rank}, 0.5f, 0.4f, 0));
    w.lora_down.scale_count = rank;
    w.lora_down.scales = scales.row<float>(0);
    return w;
  }
  // The layer in i8, whatever the weights of the case: for quantised inputs.
  Linear int8_linear(int64_t in, int64_t out, Scales scales = Scales::kPerRow) {
    Operands as_int8(activation_, DType::kI8, scales, false, home_);
    Linear w = as_int8.linear(in, out);
    buffers_.splice(buffers_.end(), as_int8.buffers_);
    memories_.splice(memories_.end(), as_int8.memories_);
    return w;
  }
  // The weight of a linear layer: of the kinds that are stored with scales, with scales.
  Tensor matrix(const Shape& shape, float scale) {
    if (scales_ == Scales::kNone) return placed(maybe_rounded(fill(weight_, shape, 0, scale, 0)));
    // Rows of different magnitude, or a power of two would not show that each has its own scale.
    Tensor scales = fill(DType::kF32, {scales_ == Scales::kOne ? 1 : shape.rows()}, 1.1f, 0.7f, 0);
    const float largest = weight_ == DType::kI8 ? 127.0f : 3.0f;
    for (int64_t i = 0; i < scales.cols(); ++i) scales.row<float>(0)[i] *= scale / largest;
    scales = placed(scales);
    Tensor out = weight(shape, largest);
    out.scale_count = scales.cols();
    out.scales = scales.row<float>(0);
    return out;
  }
  Conv2d conv(int64_t in, int64_t out, int64_t kernel) {
    const float scale = 1 / std::sqrt(static_cast<float>(in * kernel * kernel));
    const Tensor filter = placed(maybe_rounded(fill(weight_, {out, in, kernel, kernel}, 0, scale, 0)));
    return {filter, weight({out}, 0.5f)};
  }

 private:
  // The same in the memory of `home_`, with what lies between the rows.
  Tensor placed(const Tensor& t) {
    if (!home_ || home_->device() == Device::kHost) return t;
    const std::size_t bytes = row_bytes(t.dtype, t.rows() * t.row_stride);
    memories_.push_back(home_->allocate(bytes));
    Tensor out = t;
    out.data = memories_.back()->data();
    out.device = memories_.back()->device();
    home_->fill(memories_.back()->data(), bytes,
                [&](std::span<std::byte> to) { std::memcpy(to.data(), t.data, bytes); });
    return out;
  }

  Tensor make(DType dtype, const Shape& shape, int64_t stride) {
    buffers_.emplace_back(row_bytes(dtype, shape.rows() * stride));
    Tensor out(buffers_.back().data(), dtype, shape);
    out.row_stride = stride;
    return out;
  }

  Tensor fill(DType dtype, const Shape& shape, float middle, float scale, int64_t margin) {
    const Tensor out = make(dtype, shape, shape.cols() + margin);
    if (is_block(dtype)) {
      fill_blocks(out, scale);
      return out;
    }
    for (int64_t r = 0; r < shape.rows(); ++r) {
      for (int64_t c = 0; c < shape.cols(); ++c) store(out, r, c, middle + scale * next());
    }
    return out;
  }

  // Any bits but those of the scales, which differ from block to block.
  void fill_blocks(const Tensor& out, float scale) {
    const std::size_t size = block_size(out.dtype).bytes;
    std::byte* const first = static_cast<std::byte*>(out.data);
    for (std::byte* block = first; block < first + out.bytes(); block += size) {
      for (std::size_t i = 0; i < size; ++i) {
        next();
        block[i] = static_cast<std::byte>(state_ >> 56);
      }
      scale_block(out.dtype, block, scale * (1.25f + 0.75f * next()));
    }
  }

  static float with_11_bits(float value) {
    uint32_t bits = 0;
    std::memcpy(&bits, &value, sizeof bits);
    bits = (bits + 0xFFF + (bits >> 13 & 1)) & ~0x1FFFu;
    std::memcpy(&value, &bits, sizeof bits);
    return value;
  }

  Tensor rounded_to_11_bits(const Tensor& t) {
    if (t.dtype != DType::kF32 && !is_block(t.dtype)) return t;
    const Tensor out = make(DType::kF32, t.shape, t.cols());
    for (int64_t r = 0; r < t.rows(); ++r) {
      float* row = out.row<float>(r);
      if (is_block(t.dtype)) dequantize_blocks(t.dtype, t.row_data(r), t.cols(), row);
      for (int64_t c = 0; c < t.cols(); ++c)
        row[c] = with_11_bits(is_block(t.dtype) ? row[c] : t.row<float>(r)[c]);
    }
    return out;
  }

  Tensor maybe_rounded(const Tensor& t) {
    if (round_to_11_bits_) return rounded_to_11_bits(t);
    if (!round_to_bf16_ || (t.dtype != DType::kF16 && !is_block(t.dtype))) return t;
    const Tensor out = make(DType::kBF16, t.shape, t.cols());
    std::vector<float> row(static_cast<std::size_t>(t.cols()));
    for (int64_t r = 0; r < t.rows(); ++r) {
      if (is_block(t.dtype)) dequantize_blocks(t.dtype, t.row_data(r), t.cols(), row.data());
      for (int64_t c = 0; c < t.cols(); ++c) {
        const float value =
            is_block(t.dtype) ? row[static_cast<std::size_t>(c)] : to_float(t.row<Float16>(r)[c]);
        out.row<BFloat16>(r)[c] = to_bfloat16(value);
      }
    }
    return out;
  }

  // In [−1, 1).
  float next() {
    state_ = state_ * 6364136223846793005u + 1442695040888963407u;
    return static_cast<float>(static_cast<int64_t>(state_ >> 40)) / 8388608.0f - 1.0f;
  }

  static void store(const Tensor& t, int64_t r, int64_t c, float value) {
    switch (t.dtype) {
      case DType::kF32:
        t.row<float>(r)[c] = value;
        break;
      case DType::kBF16:
        t.row<BFloat16>(r)[c] = to_bfloat16(value);
        break;
      case DType::kF16:
        t.row<Float16>(r)[c] = to_float16(value);
        break;
      case DType::kF8E5M2:
        t.row<Float8E5M2>(r)[c] = nearest<Float8E5M2>(value, 0x7B);
        break;
      case DType::kF8E4M3:
        t.row<Float8E4M3>(r)[c] = nearest<Float8E4M3>(value, 0x7E);
        break;
      case DType::kI8:
        t.row<int8_t>(r)[c] = static_cast<int8_t>(std::nearbyint(value));
        break;
      default:
        break;
    }
  }

  // The 8-bit value whose magnitude is nearest below: magnitudes rise with their bits.
  template <typename T>
  static T nearest(float value, uint8_t largest) {
    int bits = 0, last = largest;
    while (bits < last) {
      const int middle = (bits + last + 1) / 2;
      const bool below = to_float(T{static_cast<uint8_t>(middle)}) <= std::fabs(value);
      (below ? bits : last) = below ? middle : middle - 1;
    }
    return T{static_cast<uint8_t>(bits | (value < 0 ? 0x80 : 0))};
  }

  DType activation_, weight_;
  Scales scales_;
  bool round_to_bf16_, round_to_11_bits_ = false;
  Backend* home_;
  std::list<Buffer> buffers_;
  std::list<std::unique_ptr<Memory>> memories_;
  uint64_t state_ = 88172645463325252u;
};

struct OpCase {
  std::string name;
  int64_t terms;      // numbers summed for one output: the tolerance grows with their square root
  bool uses_weights;  // false: running it for every weight dtype would repeat the same test
  std::function<Tensor(const Context&, Operands&)> run;  // the op's result, on the backend of the context
  int64_t block_cols = 0;  // of the weights, in cases whose weights may be of a block type
};

std::vector<OpCase> op_cases();

}  // namespace darkroom
