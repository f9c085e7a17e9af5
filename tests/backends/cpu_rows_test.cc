// Conversions, activations and norms of the cpu backend: every bit pattern, odd lengths, hard numbers.
#include <set>

#include "cpu_test_util.h"
#include "ops/ops.h"

namespace darkroom {
namespace {

class CpuRows : public EveryIsa {};

float bits(uint32_t u) { return std::bit_cast<float>(u); }

// Every bit pattern of every small format, as the readable definition in base/half.h has it.
template <typename T>
void check_widening(Backend& backend, int64_t patterns) {
  OwnedTensor in(kDTypeOf<T>, {1, patterns});
  for (int64_t i = 0; i < patterns; ++i) in->row<T>(0)[i].bits = static_cast<decltype(T::bits)>(i);
  std::vector<float> out(static_cast<std::size_t>(patterns));
  backend.download(*in, out);
  for (int64_t i = 0; i < patterns; ++i) {
    const float want = to_float(in->row<T>(0)[i]), got = out[static_cast<std::size_t>(i)];
    if (std::isnan(want)) {
      ASSERT_TRUE(std::isnan(got)) << i;
    } else {
      ASSERT_EQ(std::bit_cast<uint32_t>(got), std::bit_cast<uint32_t>(want)) << i;
    }
  }
}

TEST_P(CpuRows, WidensEveryBitPattern) {
  const auto backend = make(2);
  check_widening<BFloat16>(*backend, 65536);
  check_widening<Float16>(*backend, 65536);
  check_widening<Float8E4M3>(*backend, 256);
  check_widening<Float8E5M2>(*backend, 256);
}

TEST_P(CpuRows, RoundsToBfloat16AsDefined) {
  const auto backend = make(2);
  std::vector<float> in = {0.0f,
                           -0.0f,
                           INFINITY,
                           -INFINITY,
                           NAN,
                           bits(0x7F800001),
                           bits(0xFFFFFFFF),
                           bits(0x3F808000),
                           bits(0x3F818000),
                           bits(0x3F818001),
                           bits(0x7F7FFFFF),
                           bits(1)};
  std::mt19937 random(7);
  while (in.size() < 100003) in.push_back(bits(static_cast<uint32_t>(random())));
  const OwnedTensor out(DType::kBF16, {1, static_cast<int64_t>(in.size())});
  backend->upload(in, *out);
  for (std::size_t i = 0; i < in.size(); ++i) {
    ASSERT_EQ(out->row<BFloat16>(0)[i].bits, to_bfloat16(in[i]).bits) << std::bit_cast<uint32_t>(in[i]);
  }
}

// The exponential inside is good to 2 ulp; three roundings in its argument add up to three
// ulp times the argument.
TEST_P(CpuRows, ActivationsAreAccurate) {
  const auto backend = make(2);
  constexpr int64_t kCount = 40001;
  OwnedTensor x(DType::kF32, {1, kCount});
  for (int64_t i = 0; i < kCount; ++i) x.set(0, i, -100.0f + 0.005f * static_cast<float>(i));
  for (const Activation activation :
       {Activation::kSilu, Activation::kQuickGelu, Activation::kGeluTanh, Activation::kRelu}) {
    const OwnedTensor out(DType::kF32, {1, kCount});
    backend->activate({.x = *x, .out = *out, .activation = activation});
    for (int64_t i = 0; i < kCount; ++i) {
      const double in = x.get(0, i), want = activation_in_f64(activation, in);
      const double argument = std::min(std::fabs(in) + 0.08 * std::fabs(in * in * in), 110.0);
      ASSERT_NEAR(out.get(0, i), want, 2e-7 * (2 + (in < 0 ? argument : 0)) * std::fabs(want) + 1e-36) << in;
    }
  }
}

TEST_P(CpuRows, ActivationsOfHardNumbers) {
  const auto backend = make(1);
  OwnedTensor x(DType::kF32, {1, 5});
  const float values[] = {NAN, INFINITY, 3e38f, -3e38f, 0.0f};
  for (int64_t i = 0; i < 5; ++i) x.set(0, i, values[i]);
  for (const Activation activation :
       {Activation::kSilu, Activation::kQuickGelu, Activation::kGeluTanh, Activation::kRelu}) {
    const OwnedTensor out(DType::kF32, {1, 5});
    backend->activate({.x = *x, .out = *out, .activation = activation});
    EXPECT_TRUE(std::isnan(out.get(0, 0)));
    EXPECT_EQ(out.get(0, 1), INFINITY);
    EXPECT_FLOAT_EQ(out->row<float>(0)[2], 3e38f);
    EXPECT_EQ(out.get(0, 3), 0);
    EXPECT_EQ(out.get(0, 4), 0);
  }
}

// Rows of every length around the vector sizes, far from zero, with gaps.
TEST_P(CpuRows, NormsMatchPlainLoops) {
  const auto backend = make(3);
  for (const int64_t cols : {1, 2, 7, 16, 31, 64, 65, 200}) {
    for (const DType dtype : {DType::kF32, DType::kBF16}) {
      SCOPED_TRACE(fmt::format("{} {}", cols, dtype_name(dtype)));
      OwnedTensor x = random_tensor(dtype, {5, cols}, 1, 1, 3);
      for (int64_t c = 0; c < cols; ++c) x.set(0, c, static_cast<float>(x.get(0, c)) + 1000);
      const OwnedTensor w = random_tensor(DType::kF32, {cols}, 2), b = random_tensor(DType::kF32, {cols}, 3);
      const OwnedTensor layer(dtype, {5, cols}, 1), modulated(dtype, {5, cols}), rms(dtype, {5, cols});
      backend->layer_norm({.x = *x, .weight = *w, .bias = *b, .out = *layer, .epsilon = 1e-3f});
      backend->norm_modulate({.x = *x, .scale = *w, .shift = *b, .out = *modulated, .epsilon = 1e-3f});
      backend->rms_norm({.x = *x, .weight = *w, .out = *rms, .epsilon = 1e-3f});
      ASSERT_TRUE(layer.gaps_untouched());
      for (int64_t r = 0; r < 5; ++r) {
        double mean = 0, variance = 0, power = 0;
        for (int64_t c = 0; c < cols; ++c) mean += x.get(r, c) / static_cast<double>(cols);
        for (int64_t c = 0; c < cols; ++c) {
          variance += std::pow(x.get(r, c) - mean, 2) / static_cast<double>(cols);
          power += std::pow(x.get(r, c), 2) / static_cast<double>(cols);
        }
        for (int64_t c = 0; c < cols; ++c) {
          const double centred = (x.get(r, c) - mean) / std::sqrt(variance + 1e-3);
          const double plain = x.get(r, c) / std::sqrt(power + 1e-3);
          const double error =
              3e-6 + (r == 0 ? 4e-3 : 0);  // the mean of row 0 is rounded to f32: 1000·2^-24/√ε
          const double a = centred * w.get(0, c) + b.get(0, c), m = centred * (1 + w.get(0, c)) + b.get(0, c);
          ASSERT_NEAR(layer.get(r, c), a, with_rounding(dtype, error, a));
          ASSERT_NEAR(modulated.get(r, c), m, with_rounding(dtype, error, m));
          ASSERT_NEAR(rms.get(r, c), plain * w.get(0, c), with_rounding(dtype, 3e-6, plain));
        }
      }
    }
  }
}

// Its three parts, over a copy of x in `out`.
void group_norm(Backend& backend, const Tensor& x, const Tensor& weight, const Tensor& bias,
                const ops::GroupNormOptions& options, const Tensor& out) {
  const Buffer memory(1 << 20);
  Arena arena(memory);
  const Context ctx{backend, arena, x.dtype};
  ops::convert_into(ctx, x, out);
  ops::group_norm_in_place(ctx, out, weight, bias, options);
}

// A mean of 500 and a spread of 1: the naive Σx² − (Σx)²/n in f32 would lose everything.
TEST_P(CpuRows, GroupNormFarFromZero) {
  const auto backend = make(2);
  constexpr int64_t kSide = 40, kChannels = 12, kGroups = 3;
  OwnedTensor x = random_tensor(DType::kF32, {kSide, kSide, kChannels}, 1);
  for (int64_t p = 0; p < kSide * kSide; ++p) {
    for (int64_t c = 0; c < kChannels; ++c) x.set(p, c, static_cast<float>(x.get(p, c)) + 500);
  }
  const OwnedTensor w = random_tensor(DType::kF32, {kChannels}, 2),
                    b = random_tensor(DType::kF32, {kChannels}, 3);
  const OwnedTensor out(DType::kF32, {kSide, kSide, kChannels});
  group_norm(*backend, *x, *w, *b, {.groups = kGroups, .silu = true}, *out);
  const double count = kSide * kSide * kChannels / kGroups;
  for (int64_t g = 0; g < kGroups; ++g) {
    double mean = 0, variance = 0;
    const auto each = [&](const auto& f) {
      for (int64_t p = 0; p < kSide * kSide; ++p) {
        for (int64_t c = g * kChannels / kGroups; c < (g + 1) * kChannels / kGroups; ++c) f(p, c);
      }
    };
    each([&](int64_t p, int64_t c) { mean += x.get(p, c) / count; });
    each([&](int64_t p, int64_t c) { variance += std::pow(x.get(p, c) - mean, 2) / count; });
    each([&](int64_t p, int64_t c) {
      const double v = (x.get(p, c) - mean) / std::sqrt(variance + 1e-6) * w.get(0, c) + b.get(0, c);
      // 500·2^-24: the mean in f32.
      EXPECT_NEAR(out.get(p, c), activation_in_f64(Activation::kSilu, v), 2e-4);
    });
  }
}

TEST_P(CpuRows, SameBytesForAnyThreadCount) {
  for (const DType dtype : {DType::kF32, DType::kBF16}) {
    const OwnedTensor image = random_tensor(dtype, {50, 41, 24}, 1), w = random_tensor(dtype, {24}, 2);
    const OwnedTensor x = random_tensor(dtype, {99, 640}, 3), y = random_tensor(dtype, {99, 640}, 4);
    std::set<std::vector<std::byte>> normed, gelu;
    for (const int threads : {1, 2, 3, 5}) {
      const auto backend = make(threads);
      const OwnedTensor out(dtype, {50, 41, 24}), rows(dtype, {99, 640});
      group_norm(*backend, *image, *w, *w, {.groups = 8}, *out);
      backend->gated_gelu({.gate = *x, .up = *y, .out = *rows});
      normed.insert(out.bytes());
      gelu.insert(rows.bytes());
    }
    EXPECT_EQ(normed.size(), 1u);
    EXPECT_EQ(gelu.size(), 1u);
  }
}

INSTANTIATE_TEST_SUITE_P(All, CpuRows, testing::ValuesIn(supported_isas()),
                         [](const auto& isa) { return std::string(isa_name(isa.param)); });

}  // namespace
}  // namespace darkroom
