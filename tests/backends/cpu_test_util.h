// Random tensors, and plain f64 answers to hold the cpu backend's kernels against.
#pragma once

#include <gtest/gtest.h>

#include <cmath>
#include <cstring>
#include <random>
#include <string>
#include <vector>

#include "backends/cpu/cpu.h"
#include "tensor/buffer.h"

namespace darkroom {

// A tensor that owns its memory; rows `gap` elements further apart than they are long, the gaps filled with
// NaN, so that a kernel that reads or writes outside its row is caught.
class OwnedTensor {
 public:
  OwnedTensor(DType dtype, const Shape& shape, int64_t gap = 0)
      : buffer_(static_cast<std::size_t>(shape.rows() * (shape.cols() + gap)) * dtype_bytes(dtype)),
        tensor_(buffer_.data(), dtype, shape) {
    tensor_.row_stride = shape.cols() + gap;
    std::memset(buffer_.data(), 0xFF, buffer_.size());  // NaN in every format
  }

  const Tensor& operator*() const { return tensor_; }
  const Tensor* operator->() const { return &tensor_; }

  void set(int64_t r, int64_t c, float value) {
    switch (tensor_.dtype) {
      case DType::kF32:
        tensor_.row<float>(r)[c] = value;
        break;
      case DType::kF16:
        tensor_.row<Float16>(r)[c] = to_float16(value);
        break;
      case DType::kBF16:
        tensor_.row<BFloat16>(r)[c] = to_bfloat16(value);
        break;
      default:
        tensor_.row<uint8_t>(r)[c] = static_cast<uint8_t>(value);
        break;  // bits of an f8
    }
  }
  double get(int64_t r, int64_t c) const {
    return dispatch_float(tensor_.dtype,
                          [&]<typename T>() { return static_cast<double>(to_float(tensor_.row<T>(r)[c])); });
  }
  // True if every gap is as the constructor left it.
  bool gaps_untouched() const {
    const std::size_t size = dtype_bytes(tensor_.dtype);
    for (int64_t r = 0; r < tensor_.rows(); ++r) {
      const std::size_t first = static_cast<std::size_t>(r * tensor_.row_stride + tensor_.cols()) * size;
      const std::size_t end = static_cast<std::size_t>((r + 1) * tensor_.row_stride) * size;
      for (std::size_t i = first; i < end; ++i) {
        if (buffer_.data()[i] != std::byte{0xFF}) return false;
      }
    }
    return true;
  }
  std::vector<std::byte> bytes() const { return {buffer_.data(), buffer_.data() + buffer_.size()}; }

 private:
  Buffer buffer_;
  Tensor tensor_;
};

// Values in [-scale, scale]; for f8, any finite bits below 2 in magnitude.
inline OwnedTensor random_tensor(DType dtype, const Shape& shape, uint32_t seed, float scale = 1,
                                 int64_t gap = 0) {
  OwnedTensor t(dtype, shape, gap);
  std::mt19937 random(seed);
  std::uniform_real_distribution<float> value(-scale, scale);
  for (int64_t r = 0; r < shape.rows(); ++r) {
    for (int64_t c = 0; c < shape.cols(); ++c) {
      const bool small = dtype_bytes(dtype) == 1;
      t.set(r, c, small ? static_cast<float>((random() & 0x80u) | random() % 0x3Cu) : value(random));
    }
  }
  return t;
}

inline const OwnedTensor& absent() {
  static const OwnedTensor none(DType::kF32, {1, 1});
  return none;
}

// What rounding to `dtype` may add to an error of `error`.
inline double with_rounding(DType dtype, double error, double value) {
  return dtype == DType::kBF16 ? error + std::fabs(value) / 256 + 1e-30 : error;
}

inline double activation_in_f64(Activation activation, double x) {
  switch (activation) {
    case Activation::kNone:
      return x;
    case Activation::kGeluTanh:
      return x / (1 + std::exp(-2 * std::sqrt(2 / M_PI) * (x + 0.044715 * x * x * x)));
    case Activation::kQuickGelu:
      return x / (1 + std::exp(-1.702 * x));
    case Activation::kSilu:
      return x / (1 + std::exp(-x));
    case Activation::kRelu:
      return x < 0 ? 0 : x;
  }
  return x;
}

// One test per instruction set that this machine has.
class EveryIsa : public testing::TestWithParam<CpuIsa> {
 protected:
  std::unique_ptr<CpuBackend> make(int threads) const {
    return make_cpu_backend({.threads = threads, .isa = GetParam()});
  }
};

// With one backend for each instruction that the set may multiply 8 bits with.
class EveryInt8 : public EveryIsa {
 protected:
  std::vector<std::unique_ptr<Backend>> all(int threads = 2) const {
    std::vector<std::unique_ptr<Backend>> backends;
    for (const Int8Dot dot : {Int8Dot::kBest, Int8Dot::kPortable, Int8Dot::kNarrow}) {
      backends.push_back(make_cpu_backend({.threads = threads, .isa = GetParam(), .int8_dot = dot}));
    }
    return backends;
  }
};

}  // namespace darkroom
