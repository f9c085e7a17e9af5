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
    const Tensor scales = random(DType::kF32, {count}, 0.001f);
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

// Few rows are another kernel. Its weights are read by the same code, so some storages do.
TEST_F(VulkanLinear, FewRows) {
  DARKROOM_OPEN_VULKAN(core);
  prepare(core);
  int64_t m = 0;
  for (const DType dtype :
       {DType::kF32, DType::kBF16, DType::kF8E4M3, DType::kI8, DType::kQ8_0, DType::kQ4K, DType::kNF4}) {
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

// All that follows a product: biases of every type, activations, gates, residuals in place or not, results in
// f32 or bf16, scales, LoRAs; for tiles and for few rows.
struct Epilogue {
  DType x = DType::kF32, out = DType::kF32;
  DType weight = DType::kF32;
  int64_t scales = 0;
  std::optional<DType> bias = {};
  Activation activation = Activation::kNone;
  bool gate = false;
  enum { kAbsent, kApart, kInPlace } residual = kAbsent;
  int64_t rank = 0;
  DType lora = DType::kF32;
  int64_t gap = 3;  // in rows of x and of the weight; 8: both may be read in whole runs
};

LinearArgs args_of(HostTensors& host, const Epilogue& e, int64_t m, int64_t k, int64_t n) {
  LinearArgs a = {.x = host.random(e.x, {m, k}, 1, e.gap),
                  .weight = host.random(e.weight, {n, k}, 1 / std::sqrt(static_cast<float>(k)), e.gap),
                  .bias = e.bias ? host.random(*e.bias, {n}) : Tensor(),
                  .activation = e.activation,
                  .gate = e.gate ? host.random(DType::kF32, {n}) : Tensor(),
                  .residual = {},
                  .out = host.random(e.out, {m, n}, 1, 7)};
  if (e.scales > 0) a.weight = host.scaled(a.weight, e.scales);
  if (e.residual == Epilogue::kApart) a.residual = host.random(e.out, {m, n}, 1, 2);
  if (e.residual == Epilogue::kInPlace) a.residual = a.out;
  if (e.rank > 0) {
    a.lora_hidden = host.random(DType::kF32, {m, e.rank}, 1, 1);
    a.lora_up = host.random(e.lora, {n, e.rank}, 1 / std::sqrt(static_cast<float>(e.rank)), 1);
  }
  return a;
}

TEST_F(VulkanLinear, WhatFollowsAProduct) {
  DARKROOM_OPEN_VULKAN(core);
  prepare(core);
  constexpr DType kF32 = DType::kF32, kBF16 = DType::kBF16;
  const Epilogue all[] = {
      {.bias = kF32, .activation = Activation::kGeluTanh},
      {.bias = DType::kF16, .activation = Activation::kQuickGelu, .gate = true},
      {.x = kBF16,
       .out = kBF16,
       .bias = DType::kF8E4M3,
       .activation = Activation::kSilu,
       .residual = Epilogue::kApart},
      {.x = kBF16,
       .bias = DType::kF8E5M2,
       .activation = Activation::kRelu,
       .gate = true,
       .residual = Epilogue::kInPlace},
      {.x = kBF16, .out = kBF16, .bias = kBF16, .gate = true, .residual = Epilogue::kInPlace},
      {.weight = DType::kI8, .scales = 1, .residual = Epilogue::kApart},
      {.weight = DType::kI8,
       .scales = 41,
       .bias = kF32,
       .gate = true,
       .residual = Epilogue::kInPlace,
       .rank = 5},
      {.rank = 1, .lora = kBF16},
      {.bias = kF32, .activation = Activation::kGeluTanh, .rank = 33, .lora = DType::kF16},
      {.x = kBF16,
       .out = kBF16,
       .gate = true,
       .residual = Epilogue::kInPlace,
       .rank = 16,
       .lora = DType::kF8E4M3},
      {.rank = 40, .lora = DType::kF8E5M2},
  };
  for (const Epilogue& e : all) {
    for (const int64_t m : {5, 43}) {
      SCOPED_TRACE(fmt::format("case {} of {} rows", &e - all, m));
      HostTensors host;
      expect_like_reference(args_of(host, e, m, 77, 41));
    }
  }
}

// Odd sizes, and ones of a single row or column of anything.
TEST_F(VulkanLinear, SmallAndOddSizes) {
  DARKROOM_OPEN_VULKAN(core);
  prepare(core);
  for (const auto& [m, k, n] : {std::array<int64_t, 3>{1, 1, 1},
                                {9, 1, 1},
                                {1, 77, 1},
                                {33, 3, 31},
                                {32, 32, 32},
                                {65, 17, 33},
                                {8, 8, 8},
                                {100, 40, 1}}) {
    SCOPED_TRACE(fmt::format("{}x{}x{}", m, k, n));
    HostTensors host;
    expect_like_reference(args_of(host, {.bias = DType::kF32}, m, k, n));
  }
}

// e^x of large numbers is no NaN.
TEST_F(VulkanLinear, ActivationsOfLargeNumbers) {
  DARKROOM_OPEN_VULKAN(core);
  prepare(core);
  HostTensors host;
  const Tensor x = host.make(DType::kF32, {4, 1}), one = host.make(DType::kF32, {1, 1});
  const float values[] = {-1e30f, -100, 100, 1e30f};
  for (int64_t i = 0; i < 4; ++i) x.row<float>(i)[0] = values[i];
  one.row<float>(0)[0] = 1;
  for (const Activation activation :
       {Activation::kGeluTanh, Activation::kQuickGelu, Activation::kSilu, Activation::kRelu}) {
    const Tensor out = put(host.make(DType::kF32, {4, 1}));
    vulkan::linear(core->recorder, {.x = put(x),
                                    .weight = put(one),
                                    .bias = {},
                                    .activation = activation,
                                    .gate = {},
                                    .residual = {},
                                    .out = out});
    const std::vector<float> got = values_of(out);
    for (std::size_t i = 0; i < 4; ++i)
      EXPECT_NEAR(got[i], std::max(values[i], 0.0f), 1e-5f * std::fabs(values[i]));
  }
}

// An element's sum runs over k in order, so neither tiles nor parts change a bit, nor what is compiled for cards.
TEST_F(VulkanLinear, TilesAndPartsGiveTheSameBits) {
  DARKROOM_OPEN_VULKAN(core);
  prepare(core);
  HostTensors host;
  Epilogue epilogue = {.out = DType::kBF16,
                       .scales = 150,
                       .bias = DType::kF32,
                       .gate = true,
                       .residual = Epilogue::kInPlace,
                       .rank = 5};
  for (const int64_t gap : {3, 8}) {
    for (const DType dtype : {DType::kF32, DType::kBF16}) {
      SCOPED_TRACE(fmt::format("x {}, rows {} apart", dtype_name(dtype), gap));
      epilogue.x = dtype;
      epilogue.gap = gap;
      const LinearArgs args = args_of(host, epilogue, 140, 40, 150);
      expect_like_reference(args);
      const std::vector<std::byte> want = run(args);
      EXPECT_EQ(run(args, {.most_rows = 50, .most_columns = 33}), want);
      EXPECT_EQ(run(args, {.tile = LinearTile::kSmall, .compiles_slowly = false}), want);
      if (dtype == DType::kF32 || gap == 3) continue;
      EXPECT_EQ(run(args, {.tile = LinearTile::kMedium}), want);
      EXPECT_EQ(run(args, {.tile = LinearTile::kLarge, .compiles_slowly = false}), want);
    }
  }
}

// A row of so many columns is more than most drivers bind at once.
TEST_F(VulkanLinear, CutsWhatIsTooLargeToBind) {
  DARKROOM_OPEN_VULKAN(core);
  prepare(core);
  const int64_t k = 4096, n = static_cast<int64_t>(core->recorder.max_binding()) / (4 * k) + 3;
  if (n > 20000) GTEST_SKIP() << "this driver binds " << core->recorder.max_binding() << " bytes";
  const std::unique_ptr<Memory> memory = backend_->allocate(static_cast<std::size_t>(4 * k * n));
  backend_->fill(memory->data(), memory->size(), [&](std::span<std::byte> bytes) {
    float* values = reinterpret_cast<float*>(bytes.data());
    for (int64_t i = 0; i < k * n; ++i) values[i] = static_cast<float>(i / k % 1000);
  });
  HostTensors host;
  const Tensor ones = host.make(DType::kF32, {1, k}), out = put(host.make(DType::kF32, {1, n}));
  std::fill_n(ones.row<float>(0), k, 1.0f);
  const Tensor weight(memory->data(), DType::kF32, {n, k}, Device::kGpu);
  vulkan::linear(core->recorder,
                 {.x = put(ones), .weight = weight, .bias = {}, .gate = {}, .residual = {}, .out = out});
  const std::vector<float> got = values_of(out);
  for (int64_t i = 0; i < n; ++i)
    ASSERT_EQ(got[static_cast<std::size_t>(i)], static_cast<float>(i % 1000 * k)) << i;
}

// Products of 8 bits: the reference's bits, whatever multiplies.
class VulkanInt8 : public VulkanLinear {
 protected:
  // Of rows of the host, by the reference; the tensor lies in `host`.
  Tensor quantised(HostTensors& host, const Tensor& x, int64_t group, const Tensor& smooth) {
    Tensor q = host.make(DType::kI8, {x.rows(), x.cols()});
    q.levels = kInt8Levels;
    if (group > 0 && group < x.cols()) q.scale_cols = group;
    const Tensor scales = host.make(DType::kF32, {x.rows(), q.scales_per_row()});
    reference_->quantize_rows({.x = x, .smooth = smooth, .group = run_of(q), .out = q, .scales = scales});
    q.scale_count = scales.shape.numel();
    q.scales = scales.row<float>(0);
    return q;
  }
  static int64_t run_of(const Tensor& q) { return q.scale_cols == 0 ? q.cols() : q.scale_cols; }

  void expect_same_numbers(const Tensor& x, const Tensor& smooth, const Tensor& want) {
    const Arena::Scope scope(*arena_);
    Tensor out = arena_->allocate(DType::kI8, {x.rows(), x.cols()});
    out.levels = want.levels;
    const Tensor scales = arena_->allocate(DType::kF32, {x.rows(), want.scales_per_row()});
    backend_->quantize_rows(
        {.x = put(x), .smooth = put(smooth), .group = run_of(want), .out = out, .scales = scales});
    ASSERT_EQ(bytes_of(scales),
              host_bytes(Tensor(const_cast<float*>(want.scales), DType::kF32, scales.shape)));
    ASSERT_EQ(bytes_of(out), host_bytes(want));
  }

  void expect_same_product(const LinearArgs& host, const LinearChoice& choice = {}) {
    const std::vector<std::byte> before = host_bytes(host.out), got = run(host, choice);
    reference_->linear(host);
    const std::vector<std::byte> want = host_bytes(host.out);
    std::memcpy(host.out.data, before.data(), before.size());
    ASSERT_EQ(got, want);
  }
  // What multiplies: four products each, and the device's instruction if there is one.
  std::vector<bool> instructions() const {
    return core_->device.info().dot_product ? std::vector<bool>{false, true} : std::vector<bool>{false};
  }
};

TEST_F(VulkanInt8, SameBitsAsTheReference) {
  DARKROOM_OPEN_VULKAN(core);
  prepare(core);
  struct Size {
    int64_t m, k, n, group;
  };
  for (const Size s : {Size{1, 1, 1, 0}, Size{2, 13, 3, 0}, Size{9, 130, 50, 1}, Size{9, 130, 50, 3},
                       Size{17, 1024, 49, 0}, Size{33, 1500, 97, 128}, Size{20, 2100, 33, 1024},
                       Size{8, 2100, 100, 1028}, Size{12, 3100, 65, 1501}, Size{100, 300, 30, 100}}) {
    for (const DType dtype : {DType::kF32, DType::kBF16}) {
      SCOPED_TRACE(fmt::format("{}x{}x{}/{} {}", s.m, s.k, s.n, s.group, dtype_name(dtype)));
      HostTensors host;
      const Tensor x = host.random(dtype, {s.m, s.k}, 5, 3), factors = host.random(DType::kF32, {s.k}, 1.5f);
      for (const Tensor& smooth : {Tensor(), factors}) {
        const Tensor q = quantised(host, x, s.group, smooth);
        expect_same_numbers(x, smooth, q);
        LinearArgs args = args_of(host,
                                  {.out = dtype,
                                   .weight = DType::kI8,
                                   .scales = s.n,
                                   .bias = DType::kBF16,
                                   .gate = true,
                                   .residual = Epilogue::kInPlace},
                                  s.m, s.k, s.n);
        if (s.k % 4 == 0) args.weight = host.scaled(host.random(DType::kI8, {s.n, s.k}), s.n);  // whole words
        args.x = q;
        for (const bool dot : instructions()) expect_same_product(args, {.dot_product = dot});
      }
    }
  }
}

TEST_F(VulkanInt8, TilesGiveTheSameBits) {
  DARKROOM_OPEN_VULKAN(core);
  prepare(core);
  HostTensors host;
  LinearArgs args = args_of(
      host, {.out = DType::kBF16, .weight = DType::kI8, .scales = 1, .bias = DType::kF32}, 140, 200, 150);
  args.weight = host.scaled(host.random(DType::kI8, {150, 200}), 1);
  args.x = quantised(host, host.random(DType::kF32, {140, 200}), 0, {});
  for (const LinearTile tile : {LinearTile::kMedium, LinearTile::kLarge})
    expect_same_product(args, {.tile = tile});
  expect_same_product(args, {.most_rows = 50, .most_columns = 37});
}

// The LoRA's share is of the exact x, in f32.
TEST_F(VulkanInt8, WithALora) {
  DARKROOM_OPEN_VULKAN(core);
  prepare(core);
  for (const bool dot : instructions()) {
    HostTensors host;
    LinearArgs args = args_of(
        host, {.out = DType::kBF16, .weight = DType::kI8, .scales = 45, .rank = 21, .lora = DType::kBF16}, 40,
        260, 45);
    args.x = quantised(host, host.random(DType::kF32, {40, 260}), 100, {});
    expect_like_reference(args, {.dot_product = dot});
  }
}

// The largest sums of both signs, for FLUX.1's longest rows and for the longest that are allowed.
TEST_F(VulkanInt8, ExtremesAreExact) {
  DARKROOM_OPEN_VULKAN(core);
  prepare(core);
  for (const int64_t k : {int64_t{15360}, kMaxInt8Depth - 1, kMaxInt8Depth}) {
    HostTensors host;
    const Tensor x = host.make(DType::kF32, {3, k}), weight = host.scaled(host.make(DType::kI8, {4, k}), 1);
    const int8_t weights[] = {127, -128, -127, 0};
    for (int64_t c = 0; c < k; ++c) {
      x.row<float>(0)[c] = 127;
      x.row<float>(1)[c] = -127;
      x.row<float>(2)[c] = c % 2 ? 127 : -127;
      for (int64_t n = 0; n < 4; ++n) weight.row<int8_t>(n)[c] = weights[n];
    }
    const LinearArgs args = {.x = quantised(host, x, 0, {}),
                             .weight = weight,
                             .bias = {},
                             .gate = {},
                             .residual = {},
                             .out = host.make(DType::kF32, {3, 4})};
    for (const bool dot : instructions()) expect_same_product(args, {.dot_product = dot});
  }
}

// Scales and inverses to the last bit: rows whose largest numbers are any that count, the least and the largest too.
TEST_F(VulkanInt8, ScalesOfAnyMagnitude) {
  DARKROOM_OPEN_VULKAN(core);
  prepare(core);
  HostTensors host;
  const Tensor x = host.random(DType::kF32, {3000, 16});
  std::mt19937 random(1);
  for (int64_t r = 0; r < x.rows(); ++r) {
    const uint32_t bits = 0x0D800000u + random() % (0x7F800000u - 0x0D800000u);
    const float largest =
        r < 40    ? std::nextafter(0x1p-100f, r % 2 ? 0.0f : 1.0f)
        : r < 300 ? std::ldexp(1.0f + static_cast<float>(r % 2) * 0x1p-23f, static_cast<int>(r / 2) - 60)
                  : std::bit_cast<float>(bits);
    for (int64_t c = 0; c < 16; ++c) x.row<float>(r)[c] *= largest;
    x.row<float>(r)[r % 16] = r % 3 ? largest : -largest;
  }
  x.row<float>(400)[3] = std::numeric_limits<float>::max();
  for (int64_t c = 0; c < 16; ++c) x.row<float>(401)[c] = 0;
  expect_same_numbers(x, {}, quantised(host, x, 0, {}));
  expect_same_numbers(x, {}, quantised(host, x, 5, {}));
}

// With a largest value of 127 the scale is 1, so the numbers are those of rounding.
TEST_F(VulkanInt8, RoundsTiesToEven) {
  DARKROOM_OPEN_VULKAN(core);
  prepare(core);
  HostTensors host;
  const Tensor x = host.make(DType::kF32, {1, 256});
  for (int64_t c = 0; c < 255; ++c) x.row<float>(0)[c] = -63.5f + 0.5f * static_cast<float>(c);
  x.row<float>(0)[255] = 127;
  const Tensor q = quantised(host, x, 0, {});
  EXPECT_EQ(q.scales[0], 1.0f);
  expect_same_numbers(x, {}, q);
}

std::string error_of(const std::function<void()>& body) {
  try {
    body();
  } catch (const Error& e) {
    return e.what();
  }
  return "";
}

// The device says so when it is waited for; then the next pass is as good as any.
TEST_F(VulkanInt8, RefusesWhatIsNotFinite) {
  DARKROOM_OPEN_VULKAN(core);
  prepare(core);
  const auto quantize = [&](const Tensor& x, const Tensor& smooth) {
    return error_of([&] {
      const Arena::Scope scope(*arena_);
      Tensor out = arena_->allocate(DType::kI8, x.shape);
      out.levels = kInt8Levels;
      const Tensor scales = arena_->allocate(DType::kF32, {x.rows(), 1});
      backend_->quantize_rows(
          {.x = put(x), .smooth = put(smooth), .group = x.cols(), .out = out, .scales = scales});
      backend_->wait(backend_->mark());
    });
  };
  HostTensors host;
  const float infinity = std::numeric_limits<float>::infinity();
  for (const float bad : {std::numeric_limits<float>::quiet_NaN(), infinity, -infinity}) {
    for (const int64_t column : {0, 130}) {
      const Tensor x = host.random(DType::kF32, {70, 131}, 1, 2), good = host.random(DType::kF32, {70, 131});
      x.row<float>(44)[column] = bad;
      x.row<float>(60)[3] = bad;
      EXPECT_NE(quantize(x, {}).find("row 44 of f32 [70, 131]"), std::string::npos);
      EXPECT_EQ(quantize(good, {}), "");
    }
  }
  const Tensor x = host.random(DType::kF32, {3, 20}), smooth = host.random(DType::kF32, {20});
  x.row<float>(1)[19] = 1e30f;
  EXPECT_EQ(quantize(x, {}), "");
  smooth.row<float>(0)[19] = 1e30f;
  EXPECT_NE(quantize(x, smooth).find("row 1 of"), std::string::npos);
}

// More rows than one dispatch takes, too.
TEST_F(VulkanInt8, MagnitudesOfColumns) {
  DARKROOM_OPEN_VULKAN(core);
  prepare(core);
  for (const auto& [dtype, rows, columns] : {std::tuple(DType::kF32, 33, 70), {DType::kBF16, 20000, 3}}) {
    HostTensors host;
    const Tensor x = host.random(dtype, {rows, columns}, 3, 5), out = host.random(DType::kF32, {2, columns});
    const Tensor got = put(out);
    backend_->column_magnitudes({.x = put(x), .out = got});
    reference_->column_magnitudes({.x = x, .out = out});
    EXPECT_EQ(bytes_of(got), host_bytes(out));
    for (const int64_t row : {rows - 3, rows - 1})
      std::memset(x.row_data(row), 0xFF, row_bytes(dtype, 2));  // NaN
    backend_->column_magnitudes({.x = put(x), .out = got});
    const std::string error = error_of([&] { backend_->wait(backend_->mark()); });
    EXPECT_NE(error.find(fmt::format("row {} of", rows - 3)), std::string::npos) << error;
  }
}

}  // namespace
}  // namespace darkroom
