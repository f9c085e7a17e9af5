// linear and quantize_rows on a Vulkan device, held against the reference backend: every storage of weights, odd and
// strided shapes, all that follows a product, and the bits of products of 8-bit numbers.
#include <algorithm>
#include <cmath>
#include <cstring>
#include <functional>
#include <limits>
#include <list>
#include <optional>
#include <random>

#include "backends/reference/reference.h"
#include "backends/vulkan/kernels.h"
#include "tensor/blocks.h"
#include "vulkan_test_util.h"

namespace darkroom {
namespace {

using vulkan::LinearChoice;
using vulkan::LinearTile;

// Tensors of the host with anything in their gaps, at places that are aligned to their elements only.
class HostTensors {
 public:
  Tensor make(DType dtype, const Shape& shape, int64_t gap = 0) {
    const int64_t stride = shape.cols() + gap;
    buffers_.emplace_back(row_bytes(dtype, shape.rows() * stride) + 64);
    Tensor t(buffers_.back().data(), dtype, shape);
    t.row_stride = stride;
    std::memset(t.data, 0xFF, buffers_.back().size());
    return t;
  }
  Tensor random(DType dtype, const Shape& shape, float scale = 1, int64_t gap = 0) {
    const Tensor t = make(dtype, shape, gap);
    for (int64_t r = 0; r < t.rows(); ++r) fill_row(t, r, scale);
    return t;
  }
  Tensor scaled(Tensor t, int64_t count) {
    const Tensor scales = random(DType::kF32, {count});
    t.scale_count = count;
    t.scales = scales.row<float>(0);
    return t;
  }

 private:
  void fill_row(const Tensor& t, int64_t r, float scale) {
    std::byte* row = t.row_data(r);
    const std::size_t bytes = row_bytes(t.dtype, t.cols()), block = block_size(t.dtype).bytes;
    for (std::size_t i = 0; i < bytes; ++i) row[i] = static_cast<std::byte>(random_());
    for (std::size_t i = 0; is_block(t.dtype) && i < bytes; i += block)
      scale_block(t.dtype, row + i, scale * (0.5f + 0.5f * std::fabs(value_(random_))));
    for (int64_t c = 0; c < t.cols(); ++c) store(t, r, c, scale * value_(random_));
  }
  // 8-bit floats: bits of less than 2 in magnitude. i8: any.
  void store(const Tensor& t, int64_t r, int64_t c, float value) {
    if (t.dtype == DType::kF32) t.row<float>(r)[c] = value;
    if (t.dtype == DType::kBF16) t.row<BFloat16>(r)[c] = to_bfloat16(value);
    if (t.dtype == DType::kF16) t.row<Float16>(r)[c] = to_float16(value);
    if (t.dtype == DType::kF8E4M3 || t.dtype == DType::kF8E5M2)
      t.row<uint8_t>(r)[c] = static_cast<uint8_t>((random_() & 0x80u) | random_() % 0x3Cu);
  }

  std::list<Buffer> buffers_;
  std::mt19937 random_{1};
  std::uniform_real_distribution<float> value_{-1, 1};
};

class VulkanLinear : public VulkanTest {
 protected:
  void prepare(const std::shared_ptr<vulkan::Core>& core) {
    backend_ = vulkan::make_backend(core);
    memory_ = backend_->allocate(64 << 20);
    arena_.emplace(*memory_);
  }

  static std::size_t range_of(const Tensor& t) {
    return row_bytes(t.dtype, (t.rows() - 1) * t.row_stride) + row_bytes(t.dtype, t.cols());
  }
  std::byte* put(const void* host, std::size_t bytes) {
    const Tensor place = arena_->allocate(DType::kU8, {static_cast<int64_t>(bytes) + 64});
    std::byte* data = static_cast<std::byte*>(place.data) + reinterpret_cast<uintptr_t>(host) % 64;
    backend_->fill(data, bytes, [&](std::span<std::byte> to) { std::memcpy(to.data(), host, bytes); });
    return data;
  }
  // The same on the device, gaps and scales too.
  Tensor put(const Tensor& host) {
    if (!host.present()) return host;
    Tensor t = host;
    t.device = Device::kGpu;
    t.data = put(host.data, range_of(host));
    if (host.scale_count > 0) {
      const std::size_t bytes = static_cast<std::size_t>(host.scale_count) * sizeof(float);
      t.scales = reinterpret_cast<const float*>(put(host.scales, bytes));
    }
    return t;
  }
  // A tensor's bytes on the device, with its gaps.
  std::vector<std::byte> bytes_of(const Tensor& t) {
    std::vector<std::byte> bytes(range_of(t));
    backend_->look_at(static_cast<const std::byte*>(t.data), bytes.size(),
                      [&](std::span<const std::byte> from) { std::ranges::copy(from, bytes.begin()); });
    return bytes;
  }
  static std::vector<std::byte> host_bytes(const Tensor& t) {
    const std::byte* data = static_cast<const std::byte*>(t.data);
    return {data, data + range_of(t)};
  }
  std::vector<float> values_of(const Tensor& t) {
    std::vector<float> values(static_cast<std::size_t>(t.shape.numel()));
    backend_->download(t, values);
    return values;
  }

  LinearArgs put(const LinearArgs& host) {
    LinearArgs a = host;
    for (Tensor* t : {&a.x, &a.weight, &a.bias, &a.lora_hidden, &a.lora_up, &a.gate}) *t = put(*t);
    a.out = put(host.out);
    const bool in_place = host.residual.present() && host.residual.data == host.out.data;
    a.residual = in_place ? a.out : put(host.residual);
    return a;
  }
  // What the device makes of them, as bytes with gaps.
  std::vector<std::byte> run(const LinearArgs& host, const LinearChoice& choice = {}) {
    const Arena::Scope scope(*arena_);
    const LinearArgs a = put(host);
    vulkan::linear(core_->recorder, a, choice);
    return bytes_of(a.out);
  }

  // Against the reference, to the rounding of the sum, and of the result if that is bf16. Leaves host.out alone.
  void expect_like_reference(const LinearArgs& host, const LinearChoice& choice = {}) {
    const std::vector<std::byte> before = host_bytes(host.out), got = run(host, choice);
    reference_->linear(host);
    const std::vector<std::byte> want = host_bytes(host.out);
    std::memcpy(host.out.data, got.data(), got.size());
    const std::vector<float> got_values = host_values(host.out);
    std::memcpy(host.out.data, want.data(), want.size());
    const std::vector<float> want_values = host_values(host.out);
    std::memcpy(host.out.data, before.data(), before.size());
    expect_gaps_untouched(host.out, before, got);
    const float terms = 4 + std::sqrt(static_cast<float>(host.x.cols()));
    for (std::size_t i = 0; i < got_values.size(); ++i) {
      const float size = std::fabs(want_values[i]);
      const float tolerance = 4e-7f * terms * (1 + size) + (host.out.dtype == DType::kBF16 ? size / 128 : 0);
      ASSERT_LE(std::fabs(want_values[i] - got_values[i]), tolerance)
          << "element " << i << ": reference " << want_values[i] << ", device " << got_values[i];
    }
  }
  std::vector<float> host_values(const Tensor& t) {
    std::vector<float> values(static_cast<std::size_t>(t.shape.numel()));
    reference_->download(t, values);
    return values;
  }
  static void expect_gaps_untouched(const Tensor& out, const std::vector<std::byte>& before,
                                    const std::vector<std::byte>& after) {
    const std::size_t row = row_bytes(out.dtype, out.cols()), stride = row_bytes(out.dtype, out.row_stride);
    for (std::size_t i = 0; i < after.size(); ++i) {
      if (i % stride < row) continue;
      ASSERT_EQ(before[i], after[i]) << "a gap, byte " << i;
    }
  }

  std::unique_ptr<Backend> reference_ = make_reference_backend(), backend_;
  std::unique_ptr<Memory> memory_;
  std::optional<Arena> arena_;
};

std::vector<DType> storages() {
  std::vector<DType> all;
  for (int i = 0; i < kDTypes; ++i) {
    if (is_matrix_storage(static_cast<DType>(i))) all.push_back(static_cast<DType>(i));
  }
  return all;
}

// All finite bits of the type, if they are so few.
void fill_with_all(const Tensor& t) {
  for (int64_t r = 0; r < t.rows(); ++r) {
    for (int64_t c = 0; c < t.cols(); ++c) {
      const int64_t i = r * t.cols() + c;
      if (dtype_bytes(t.dtype) == 2) t.row<uint16_t>(r)[c] = static_cast<uint16_t>(i);
      if (dtype_bytes(t.dtype) == 1) t.row<uint8_t>(r)[c] = static_cast<uint8_t>(i);
      if (t.dtype == DType::kF16 && !std::isfinite(to_float(t.row<Float16>(r)[c]))) t.row<Float16>(r)[c] = {};
      if (t.dtype == DType::kBF16 && !std::isfinite(to_float(t.row<BFloat16>(r)[c])))
        t.row<BFloat16>(r)[c] = {};
      if (t.dtype == DType::kF8E4M3 && !std::isfinite(to_float(t.row<Float8E4M3>(r)[c])))
        t.row<Float8E4M3>(r)[c] = {};
      if (t.dtype == DType::kF8E5M2 && !std::isfinite(to_float(t.row<Float8E5M2>(r)[c])))
        t.row<Float8E5M2>(r)[c] = {};
    }
  }
}

// The identity times the weights is the weights, to the last bit; subnormal numbers may become 0.
TEST_F(VulkanLinear, WeightsOfEveryStorageAreExact) {
  DARKROOM_OPEN_VULKAN(core);
  prepare(core);
  HostTensors host;
  const Tensor identity = host.make(DType::kF32, {256, 256});
  std::memset(identity.data, 0, identity.bytes());
  for (int64_t i = 0; i < 256; ++i) identity.row<float>(i)[i] = 1;
  for (const DType dtype : storages()) {
    SCOPED_TRACE(dtype_name(dtype));
    const int64_t n = dtype_bytes(dtype) == 2 ? 256 : 20;
    const Tensor weight = host.random(dtype, {n, 256}, 3);
    if (dtype != DType::kF32 && !is_block(dtype)) fill_with_all(weight);
    const Arena::Scope scope(*arena_);
    const Tensor out = put(host.make(DType::kF32, {256, n}));
    vulkan::linear(
        core->recorder,
        {.x = put(identity), .weight = put(weight), .bias = {}, .gate = {}, .residual = {}, .out = out});
    const std::vector<float> got = values_of(out), want = host_values(weight);
    for (int64_t i = 0; i < n * 256; ++i) {
      const float w = want[static_cast<std::size_t>(i)];
      const float product = got[static_cast<std::size_t>(i % 256 * n + i / 256)];
      ASSERT_TRUE(product == w || (product == 0 && std::fabs(w) < 0x1p-126f))
          << i << ": " << product << ", " << w;
    }
  }
}

// Few rows are another kernel.
TEST_F(VulkanLinear, FewRowsOfEveryStorage) {
  DARKROOM_OPEN_VULKAN(core);
  prepare(core);
  int64_t m = 0;
  for (const DType dtype : storages()) {
    SCOPED_TRACE(dtype_name(dtype));
    HostTensors host;
    m = m % 8 + 1;
    const DType x = m % 2 ? DType::kF32 : DType::kBF16;
    for (const int64_t k : {512, 45}) {
      if (is_block(dtype) && k % 256 != 0) continue;
      const Tensor weight = host.random(dtype, {37, k}, 0.1f, is_block(dtype) ? 256 : 24);
      expect_like_reference({.x = host.random(x, {m, k}, 1, 24),
                             .weight = dtype == DType::kI8 ? host.scaled(weight, 37) : weight,
                             .bias = host.random(DType::kBF16, {37}),
                             .gate = {},
                             .residual = {},
                             .out = host.make(x, {m, 37}, 3)});
    }
  }
}

}  // namespace
}  // namespace darkroom
