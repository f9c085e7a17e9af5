// Products of 8 bits of the cpu backend: the same bits as the reference, whatever multiplies, and hard numbers.
#include <limits>

#include "backends/reference/reference.h"
#include "cpu_test_util.h"
#include "ops/ops.h"

namespace darkroom {
namespace {

constexpr std::size_t kArenaBytes = 8 << 20;

class CpuInt8 : public EveryInt8 {};

// i8 weights with a scale for each row; within ±levels, if that is not 0.
struct OwnedMatrix {
  OwnedMatrix(int64_t n, int64_t k, uint32_t seed, int32_t levels = 0)
      : memory(static_cast<std::size_t>(n * k)), scales(static_cast<std::size_t>(n)) {
    std::mt19937 random(seed);
    tensor = Tensor(memory.data(), DType::kI8, {n, k});
    tensor.levels = levels;
    for (int64_t i = 0; i < n * k; ++i) {
      const int any = static_cast<int8_t>(random());  // −128, too
      tensor.row<int8_t>(0)[i] = static_cast<int8_t>(levels == 0 ? any : any % (levels + 1));
    }
    for (float& scale : scales) scale = 1e-4f + 1e-6f * static_cast<float>(random() % 1000);
    tensor.scale_count = n;
    tensor.scales = scales.data();
  }
  Buffer memory;
  std::vector<float> scales;
  Tensor tensor;
};

struct Result {
  std::vector<int8_t> numbers;
  std::vector<float> scales;
  std::vector<std::byte> out;
  bool operator==(const Result&) const = default;
};

// x quantised and multiplied, onto what was there, with gates and biases: every f32 operation but those of
// activations.
Result run(Backend& backend, const Tensor& x, int64_t group, const Tensor& w, const Tensor& smooth = {},
           int32_t levels = kInt8Levels) {
  const Buffer memory(kArenaBytes);
  Arena arena(memory);
  const Context ctx{backend, arena, x.dtype};
  const Tensor q = ops::quantize_rows(ctx, x, group, smooth, levels);
  const OwnedTensor bias = random_tensor(DType::kBF16, {w.rows()}, 3),
                    gate = random_tensor(DType::kF32, {w.rows()}, 4);
  const OwnedTensor out = random_tensor(x.dtype, {x.rows(), w.rows()}, 5, 1, 3);
  ops::linear_gate_residual(ctx, {x, q}, {w, *bias}, *gate, *out);
  return {{q.row<int8_t>(0), q.row<int8_t>(0) + q.shape.numel()},
          {q.scales, q.scales + q.scale_count},
          out.bytes()};
}

TEST_P(CpuInt8, SameBitsAsTheReference) {
  struct Size {
    int64_t m, k, n, group;
  };
  struct Case {
    int32_t levels;
    Tensor w, smooth;
  };
  const auto reference = make_reference_backend();
  for (const Size s : {Size{1, 1, 1, 0}, Size{2, 13, 3, 0}, Size{9, 130, 50, 1}, Size{9, 130, 50, 3},
                       Size{17, 1024, 49, 0}, Size{33, 1500, 97, 128}, Size{20, 2100, 33, 1024},
                       Size{8, 2100, 100, 1028}, Size{12, 3100, 65, 1501}, Size{100, 300, 30, 100},
                       Size{5, 4096, 16, 5000}, Size{391, 24, 1537, 0}, Size{90, 1100, 450, 1050}}) {
    for (const DType dtype : {DType::kF32, DType::kBF16}) {
      SCOPED_TRACE(fmt::format("{}x{}x{}/{} {}", s.m, s.k, s.n, s.group, dtype_name(dtype)));
      const OwnedTensor x = random_tensor(dtype, {s.m, s.k}, 1, 5, 3);
      const OwnedMatrix w(s.n, s.k, 2), w7(s.n, s.k, 2, kInt7Levels);
      const OwnedTensor factors = random_tensor(DType::kF32, {s.k}, 6, 1.5);
      for (const Case& c : {Case{kInt8Levels, w.tensor, {}}, Case{kInt8Levels, w.tensor, *factors},
                            Case{kInt7Levels, w7.tensor, {}}, Case{kInt7Levels, w7.tensor, *factors},
                            Case{kInt7Levels, w.tensor, {}}, Case{kInt8Levels, w7.tensor, {}}}) {
        const Result want = run(*reference, *x, s.group, c.w, c.smooth, c.levels);
        for (const auto& backend : all()) {
          const Result got = run(*backend, *x, s.group, c.w, c.smooth, c.levels);
          ASSERT_EQ(got.scales, want.scales);
          ASSERT_EQ(got.numbers, want.numbers);
          ASSERT_EQ(got.out, want.out);
        }
      }
    }
  }
}

TEST_P(CpuInt8, SameBytesForAnyThreadCount) {
  const OwnedTensor x = random_tensor(DType::kBF16, {250, 600}, 1);
  const OwnedMatrix w(410, 600, 2);
  const Result want = run(*all(1).front(), *x, 200, w.tensor);
  for (const int threads : {2, 5}) EXPECT_EQ(run(*all(threads).front(), *x, 200, w.tensor), want);
}

// The largest sums of both signs over k columns: no saturation, no overflow. `levels` are those of x, and also of
// the weights if that is said.
void expect_exact_extremes(const std::vector<std::unique_ptr<Backend>>& backends, int64_t k,
                           int32_t levels = kInt8Levels, bool of_weights = false) {
  OwnedTensor x(DType::kF32, {3, k});
  const Buffer memory(static_cast<std::size_t>(4 * k));
  Tensor w(memory.data(), DType::kI8, {4, k});
  const float one = 1;
  w.scale_count = 1;
  w.scales = &one;
  w.levels = of_weights ? levels : 0;
  const auto most = static_cast<int8_t>(of_weights ? levels : 127);
  const int8_t weights[] = {most, static_cast<int8_t>(of_weights ? -most : -128), static_cast<int8_t>(-most),
                            0};
  const float largest = static_cast<float>(levels);
  for (int64_t c = 0; c < k; ++c) {
    x.set(0, c, largest);
    x.set(1, c, -largest);
    x.set(2, c, c % 2 ? largest : -largest);
    for (int64_t n = 0; n < 4; ++n) w.row<int8_t>(n)[c] = weights[n];
  }
  for (const auto& backend : backends) {
    const Buffer space(kArenaBytes);
    Arena arena(space);
    const Context ctx{*backend, arena, DType::kF32};
    const Tensor out = ops::linear(ctx, {*x, ops::quantize_rows(ctx, *x, 0, {}, levels)}, {w, {}});
    for (int64_t n = 0; n < 4; ++n) {
      EXPECT_EQ(out.row<float>(0)[n], static_cast<float>(k * levels * weights[n])) << n;
      EXPECT_EQ(out.row<float>(1)[n], static_cast<float>(-k * levels * weights[n])) << n;
      EXPECT_EQ(out.row<float>(2)[n], 0) << n;
    }
  }
}

// Those of FLUX.1, and the longest rows that are allowed.
TEST_P(CpuInt8, ExtremesAreExact) {
  for (const int64_t k : {int64_t{15360}, kMaxInt8Depth}) {
    expect_exact_extremes(all(), k);
    expect_exact_extremes(all(), k, kInt7Levels, true);
    expect_exact_extremes(all(), k, kInt7Levels, false);  // weights of 8 bits, though the activations have 7
  }
  const auto reference = make_reference_backend();
  const Buffer space(1 << 20);
  Arena arena(space);
  const Context ctx{*reference, arena, DType::kF32};
  const OwnedTensor x(DType::kF32, {1, kMaxInt8Depth + 1});
  const OwnedMatrix w(1, kMaxInt8Depth + 1, 2);
  EXPECT_THROW(ops::linear(ctx, {*x, ops::quantize_rows(ctx, *x)}, {w.tensor, {}}), Error);
}

// Weights that break the promise of their levels, wherever they lie, are refused, or multiplied exactly.
TEST_P(CpuInt8, WeightsBeyondTheirLevelsAreNeverMultipliedWrongly) {
  const OwnedTensor x = random_tensor(DType::kF32, {9, 1100}, 1);
  const auto reference = make_reference_backend();
  for (const auto& [row, col] : {std::pair(0, 0), std::pair(40, 1099), std::pair(69, 515)}) {
    for (const int bad : {64, 127, -65, -128}) {
      OwnedMatrix w(70, 1100, 2, kInt7Levels);
      w.tensor.row<int8_t>(row)[col] = static_cast<int8_t>(bad);
      Tensor any = w.tensor;
      any.levels = 0;
      const Result exact = run(*reference, *x, 0, any, {}, kInt7Levels);
      EXPECT_THROW(run(*reference, *x, 0, w.tensor, {}, kInt7Levels), Error);
      for (const auto& backend : all()) {
        try {
          EXPECT_EQ(run(*backend, *x, 0, w.tensor, {}, kInt7Levels), exact) << bad;
        } catch (const Error& e) {
          EXPECT_NE(std::string(e.what()).find("has numbers beyond ±63, its levels"), std::string::npos);
        }
      }
    }
  }
}

// The levels of what is multiplied choose the kernel: the one for 7 bits needs them of both.
TEST_P(CpuInt8, LevelsAreChecked) {
  const auto backend = make(1);
  const Buffer space(1 << 16);
  Arena arena(space);
  const Context ctx{*backend, arena, DType::kF32};
  const OwnedTensor x = random_tensor(DType::kF32, {2, 20}, 1);
  for (const int32_t levels : {-1, 0, 62, 126, 128})
    EXPECT_THROW(ops::quantize_rows(ctx, *x, 0, {}, levels), Error);
  Tensor q = ops::quantize_rows(ctx, *x, 0, {}, kInt7Levels);
  EXPECT_EQ(q.levels, kInt7Levels);
  q.levels = 0;
  EXPECT_THROW(ops::linear(ctx, {*x, q}, {OwnedMatrix(3, 20, 2).tensor, {}}), Error);
}

// With a largest value of 127 the scale is 1, so the numbers are those of rounding: ties to even.
TEST_P(CpuInt8, RoundsTiesToEven) {
  OwnedTensor x(DType::kF32, {1, 256});
  for (int64_t c = 0; c < 255; ++c) x.set(0, c, -63.5f + 0.5f * static_cast<float>(c));
  x.set(0, 255, 127);
  for (const auto& backend : all()) {
    const Buffer space(1 << 16);
    Arena arena(space);
    const Tensor q = ops::quantize_rows({*backend, arena, DType::kF32}, *x);
    EXPECT_EQ(q.scales[0], 1.0f);
    for (int64_t c = 0; c < 256; ++c) EXPECT_EQ(q.row<int8_t>(0)[c], std::nearbyint(x.get(0, c))) << c;
  }
}

// Zeros, and what is as good as zero: a scale of 1. Next to it the least and the largest numbers that count.
TEST_P(CpuInt8, HardMagnitudes) {
  OwnedTensor x(DType::kF32, {5, 37});
  const float largest[] = {0, 1e-44f, 0x1.fffffep-101f, 0x1p-100f, std::numeric_limits<float>::max()};
  for (int64_t r = 0; r < 5; ++r) {
    for (int64_t c = 0; c < 37; ++c) x.set(r, c, c == 35 ? -largest[r] : 0.0f);
  }
  for (const auto& backend : all()) {
    const Buffer space(1 << 16);
    Arena arena(space);
    const Tensor q = ops::quantize_rows({*backend, arena, DType::kF32}, *x);
    for (int64_t r = 0; r < 5; ++r) {
      EXPECT_EQ(q.scales[r], r < 3 ? 1.0f : largest[r] / 127) << r;
      for (int64_t c = 0; c < 37; ++c)
        EXPECT_EQ(q.row<int8_t>(r)[c], c == 35 && r >= 3 ? -127 : 0) << r << "," << c;
    }
  }
}

// A channel that is far larger than the others takes their digits, unless it is smoothed.
TEST_P(CpuInt8, SmoothingSavesTheOthersDigits) {
  OwnedTensor x(DType::kF32, {1, 64}), smooth(DType::kF32, {64});
  for (int64_t c = 0; c < 64; ++c) {
    x.set(0, c, c == 40 ? 1000.0f : 0.01f * static_cast<float>(c));
    smooth.set(0, c, c == 40 ? 0.0005f : 1.0f);
  }
  for (const auto& backend : all()) {
    const Buffer space(1 << 16);
    Arena arena(space);
    const Context ctx{*backend, arena, DType::kF32};
    const Tensor plain = ops::quantize_rows(ctx, *x), smoothed = ops::quantize_rows(ctx, *x, 0, *smooth);
    EXPECT_EQ(plain.row<int8_t>(0)[63], 0);
    EXPECT_EQ(smoothed.row<int8_t>(0)[63], 127);
    EXPECT_EQ(smoothed.row<int8_t>(0)[40], 101);  // 0.5 of 0.63
  }
}

// What only smoothing makes infinite, and what a maximum would swallow.
TEST_P(CpuInt8, RefusesWhatSmoothingMakesInfinite) {
  const auto backend = make(2);
  const Buffer space(1 << 16);
  Arena arena(space);
  const Context ctx{*backend, arena, DType::kF32};
  OwnedTensor x = random_tensor(DType::kF32, {3, 20}, 1), smooth = random_tensor(DType::kF32, {20}, 2);
  x.set(1, 19, 1e30f);
  smooth.set(0, 19, 1e30f);
  EXPECT_NO_THROW(ops::quantize_rows(ctx, *x));
  EXPECT_THROW(ops::quantize_rows(ctx, *x, 0, *smooth), Error);
  x.set(2, 7, NAN);
  EXPECT_THROW(ops::column_magnitudes_into(ctx, *x, *random_tensor(DType::kF32, {2, 20}, 3)), Error);
}

// At every place of a row: in whole vectors, in the rest, alone.
TEST_P(CpuInt8, RefusesWhatIsNotFinite) {
  const auto backend = make(2);
  for (const DType dtype : {DType::kF32, DType::kBF16}) {
    for (const float bad : {NAN, -NAN, INFINITY, -INFINITY}) {
      for (const int64_t at : {0, 17, 99, 130}) {
        OwnedTensor x = random_tensor(dtype, {70, 131}, 1, 1, 2);
        x.set(44, at, bad);
        x.set(60, 3, bad);
        const Buffer space(1 << 20);
        Arena arena(space);
        try {
          ops::quantize_rows({*backend, arena, dtype}, *x, 32);
          ADD_FAILURE() << bad << " passed at column " << at;
        } catch (const Error& e) {
          EXPECT_EQ(e.code(), ErrorCode::kFailure);
          EXPECT_NE(std::string(e.what()).find("row 44 of"), std::string::npos) << e.what();
        }
      }
    }
  }
}

INSTANTIATE_TEST_SUITE_P(All, CpuInt8, testing::ValuesIn(supported_isas()),
                         [](const auto& isa) { return std::string(isa_name(isa.param)); });

}  // namespace
}  // namespace darkroom
