// Tensors twice: on the host, for the reference backend, and on a Vulkan device.
#pragma once

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <cstring>
#include <list>
#include <memory>
#include <random>
#include <vector>

#include "ops/backend.h"

namespace darkroom {

// Bytes that belong to no element, between rows and around the tensor, are 0xFF, which is NaN in every format.
struct Twin {
  Tensor host, device;
};

class Twins {
 public:
  // Addresses on the device miss multiples of 256 bytes by so many elements.
  Twins(Backend& device, std::size_t off_by) : device_(device), off_by_(off_by) {}

  // Rows `gap` elements further apart than they are long, all elements NaN.
  Twin empty(DType dtype, const Shape& shape, int64_t gap = 0) {
    const std::size_t bytes = row_bytes(dtype, shape.rows() * (shape.cols() + gap)) + 2 * kAround;
    hosts_.emplace_back(bytes, std::byte{0xFF});
    memories_.push_back(device_.allocate(bytes));
    Twin t{Tensor(hosts_.back().data() + kAround + off_by_ * dtype_bytes(dtype), dtype, shape),
           Tensor(memories_.back()->data() + kAround + off_by_ * dtype_bytes(dtype), dtype, shape,
                  Device::kGpu)};
    t.host.row_stride = t.device.row_stride = shape.cols() + gap;
    send(t);
    return t;
  }

  // With elements uniform around `middle`; of f8 any finite ones below 2 in magnitude.
  Twin random(DType dtype, const Shape& shape, float scale = 1, int64_t gap = 0, float middle = 0) {
    std::uniform_real_distribution<float> value(middle - scale, middle + scale);
    const Twin t = empty(dtype, shape, gap);
    for (int64_t r = 0; r < shape.rows(); ++r) {
      for (int64_t c = 0; c < shape.cols(); ++c) set(t.host, r, c, value(random_));
    }
    send(t);
    return t;
  }

  // The host's bytes to the device, all around the tensor too.
  void send(const Twin& t) {
    const std::vector<std::byte>& bytes = bytes_around(t);
    device_.fill(memory_of(t).data(), bytes.size(),
                 [&](std::span<std::byte> to) { std::ranges::copy(bytes, to.begin()); });
  }

  // The device's elements, row by row. Fails the test where other bytes have changed.
  std::vector<float> elements(const Twin& t) {
    std::vector<std::byte> bytes(memory_of(t).size());
    device_.look_at(memory_of(t).data(), bytes.size(),
                    [&](std::span<const std::byte> from) { std::ranges::copy(from, bytes.begin()); });
    Tensor copy = t.host;
    copy.data = bytes.data() + kAround + off_by_ * dtype_bytes(copy.dtype);
    const std::vector<float> out = values(copy);
    for (int64_t r = 0; r < copy.rows(); ++r) {
      std::memset(copy.row_data(r), 0xFF, row_bytes(copy.dtype, copy.cols()));
    }
    EXPECT_TRUE(std::ranges::all_of(bytes, [](std::byte b) { return b == std::byte{0xFF}; }))
        << "bytes beside the elements have changed";
    return out;
  }

  // Of a tensor of the host.
  static std::vector<float> values(const Tensor& t) {
    std::vector<float> out;
    dispatch_float(t.dtype, [&]<typename T>() {
      for (int64_t r = 0; r < t.rows(); ++r) {
        for (int64_t c = 0; c < t.cols(); ++c) out.push_back(to_float(t.row<T>(r)[c]));
      }
    });
    return out;
  }

  void set(const Tensor& t, int64_t r, int64_t c, float value) {
    if (t.dtype == DType::kF32) t.row<float>(r)[c] = value;
    if (t.dtype == DType::kF16) t.row<Float16>(r)[c] = to_float16(value);
    if (t.dtype == DType::kBF16) t.row<BFloat16>(r)[c] = to_bfloat16(value);
    if (dtype_bytes(t.dtype) == 1) {
      t.row<uint8_t>(r)[c] = static_cast<uint8_t>((random_() & 0x80u) | random_() % 0x3Cu);
    }
  }

 private:
  static constexpr std::size_t kAround = 256;
  std::size_t index_of(const Twin& t) const {
    std::size_t i = 0;
    for (const auto& bytes : hosts_) {
      if (t.host.data >= bytes.data() && t.host.data < bytes.data() + bytes.size()) break;
      ++i;
    }
    return i;
  }
  const std::vector<std::byte>& bytes_around(const Twin& t) const {
    return *std::next(hosts_.begin(), static_cast<std::ptrdiff_t>(index_of(t)));
  }
  Memory& memory_of(const Twin& t) { return *memories_[index_of(t)]; }

  Backend& device_;
  std::size_t off_by_;
  std::list<std::vector<std::byte>> hosts_;
  std::vector<std::unique_ptr<Memory>> memories_;
  std::mt19937 random_{1};
};

// As of the op table: f32 sums of `terms` products of order one; bf16: one unit in the last place more.
inline float tolerance_of(DType dtype, int64_t terms, float value) {
  const float sum = 4e-7f * (4 + std::sqrt(static_cast<float>(terms))) * (1 + std::fabs(value));
  return dtype == DType::kF32 ? sum : sum + std::fabs(value) / 128;
}

// `factor` of these tolerances between what the device and the reference backend made of a twin.
inline void expect_close(Twins& twins, const Twin& t, int64_t terms, float factor = 1) {
  const std::vector<float> got = twins.elements(t), want = Twins::values(t.host);
  for (std::size_t i = 0; i < want.size(); ++i) {
    if (std::isnan(want[i]) && std::isnan(got[i])) continue;
    ASSERT_LE(std::fabs(got[i] - want[i]), factor * tolerance_of(t.host.dtype, terms, want[i]))
        << "element " << i << ": device " << got[i] << ", reference " << want[i];
  }
}

}  // namespace darkroom
