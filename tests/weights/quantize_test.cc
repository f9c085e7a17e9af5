// Quantised weights against the definitions of the formats: error bounds follow from the
// spacing of their values.
#include "weights/quantize.h"

#include <gtest/gtest.h>

#include <bit>
#include <cmath>
#include <limits>
#include <random>
#include <vector>

#include "base/expect_error.h"

namespace darkroom {
namespace {

// A matrix that owns its numbers; `gap` elements lie between two rows.
template <typename T>
struct Matrix {
  Matrix(int64_t rows, int64_t cols, int64_t gap = 0)
      : values(static_cast<std::size_t>(rows * (cols + gap))),
        tensor(values.data(), kDTypeOf<T>, Shape{rows, cols}) {
    tensor.row_stride = cols + gap;
  }
  Matrix(const Matrix&) = delete;
  T& at(int64_t r, int64_t c) { return values[static_cast<std::size_t>(r * tensor.row_stride + c)]; }
  std::vector<T> values;
  Tensor tensor;
};

// Weights as networks have them: mostly small, a few outliers, magnitudes that differ from row to row.
void fill_like_weights(Matrix<float>& m) {
  std::mt19937 random(5);
  std::normal_distribution<float> normal;
  for (int64_t r = 0; r < m.tensor.rows(); ++r) {
    const float size = std::ldexp(0.02f, static_cast<int>(r % 9) - 4);
    for (int64_t c = 0; c < m.tensor.cols(); ++c) m.at(r, c) = size * normal(random);
    m.at(r, r % m.tensor.cols()) = size * 11;
  }
}

// Half the distance between neighbours of the format around x.
double half_ulp_f8(double x) { return std::ldexp(1.0, std::max(-6, std::ilogb(x)) - 4); }

constexpr double kFloatRounding = 3e-7;  // the division and the product, relative

TEST(Quantize, PlainF8KeepsAll256Codes) {
  Matrix<Float8E4M3> codes(2, 128);
  for (std::size_t i = 0; i < 256; ++i) codes.values[i].bits = static_cast<uint8_t>(i);
  codes.values[0x7F] = codes.values[0xFF] = {0x01};  // the two NaN are no weights, see below
  Matrix<float> wide(2, 128);
  Matrix<Float8E4M3> back(2, 128), same(2, 128);
  dequantize_rows(codes.tensor, {}, wide.tensor);
  quantize_rows(wide.tensor, {}, back.tensor);
  quantize_rows(codes.tensor, {}, same.tensor);
  for (std::size_t i = 0; i < 256; ++i) {
    EXPECT_EQ(wide.values[i], to_float(codes.values[i]));
    EXPECT_EQ(back.values[i].bits, codes.values[i].bits) << i;
    EXPECT_EQ(same.values[i].bits, codes.values[i].bits) << i;
  }
}

TEST(Quantize, PlainF8SaturatesAndRoundsToEven) {
  Matrix<float> w(1, 8);
  w.values = {464, -464.5f, 3e38f, 17, 19, 0x1p-10f, 0x1.8p-9f, -0.0f};
  Matrix<Float8E4M3> out(1, 8);
  quantize_rows(w.tensor, {}, out.tensor);
  const std::vector<float> want = {448, -448, 448, 16, 20, 0, 0x1p-8f, -0.0f};
  for (std::size_t i = 0; i < want.size(); ++i) EXPECT_EQ(to_float(out.values[i]), want[i]) << w.values[i];
  EXPECT_TRUE(std::signbit(to_float(out.values[7])));
}

TEST(Quantize, F16SaturatesAndRoundsToEven) {
  const float in[] = {65504, 65520, -1e9f, 1 + 0x1p-11f, 1 + 3 * 0x1p-11f, 0x1p-25f, 0x1p-24f},
              want[] = {65504, 65504, -65504, 1, 1 + 0x1p-9f, 0, 0x1p-24f};
  Matrix<float> m(1, 7);
  std::copy(in, in + 7, m.values.begin());
  Matrix<Float16> out(1, 7);
  quantize_rows(m.tensor, {}, out.tensor);
  for (std::size_t i = 0; i < 7; ++i) EXPECT_EQ(to_float(out.values[i]), want[i]) << i;
}

TEST(Quantize, ErrorsStayWithinHalfAStep) {
  Matrix<float> w(40, 1500, 3);
  fill_like_weights(w);
  Matrix<Float8E4M3> f8(40, 1500, 5);
  Matrix<int8_t> i8(40, 1500, 1);
  Matrix<BFloat16> bf16(40, 1500, 2);
  const float largest = absmax(w.tensor), scale = f8_scale(largest);
  std::vector<float> scales(40);
  i8_scales(w.tensor, scales);
  quantize_rows(w.tensor, {&scale, 1}, f8.tensor);
  quantize_rows(w.tensor, scales, i8.tensor);
  quantize_rows(w.tensor, {}, bf16.tensor);
  bool reached_448 = false;
  for (int64_t r = 0; r < 40; ++r) {
    const float row_scale = scales[static_cast<std::size_t>(r)];
    int most = 0;
    for (int64_t c = 0; c < 1500; ++c) {
      const double x = w.at(r, c), rounding = std::fabs(x) * kFloatRounding, s = scale;
      ASSERT_LE(std::fabs(to_float(f8.at(r, c)) * s - x), s * half_ulp_f8(x / s) + rounding) << x;
      ASSERT_LE(std::fabs(i8.at(r, c) * static_cast<double>(row_scale) - x), row_scale / 2 + rounding) << x;
      ASSERT_LE(std::fabs(to_float(bf16.at(r, c)) - x), std::fabs(x) / 256) << x;
      most = std::max(most, std::abs(static_cast<int>(i8.at(r, c))));
      reached_448 |= std::fabs(to_float(f8.at(r, c))) == 448;
    }
    EXPECT_EQ(most, 127) << "row " << r << " does not use its range";
  }
  EXPECT_TRUE(reached_448);
}

TEST(Quantize, Int8RoundsToEvenAndBackIsExact) {
  Matrix<float> w(1, 6);
  w.values = {127, 0.5f, 1.5f, -2.5f, 126.5f, -127};
  std::vector<float> scales(1);
  i8_scales(w.tensor, scales);
  EXPECT_EQ(scales[0], 1.0f);
  Matrix<int8_t> out(1, 6);
  quantize_rows(w.tensor, scales, out.tensor);
  EXPECT_EQ(out.values, (std::vector<int8_t>{127, 0, 2, -2, 126, -127}));
  const float three = 3;
  Matrix<float> wide(1, 6);
  dequantize_rows(out.tensor, {&three, 1}, wide.tensor);
  EXPECT_EQ(wide.values, (std::vector<float>{381, 0, 6, -6, 378, -381}));
}

// Rows may come in any pieces and in any floating type that holds the numbers.
TEST(Quantize, SlicesAndTypesGiveTheSameBytes) {
  Matrix<float> w(13, 40);
  fill_like_weights(w);
  for (float& v : w.values) v = round_to_bfloat16(v);
  Matrix<BFloat16> brain(13, 40);
  quantize_rows(w.tensor, {}, brain.tensor);
  Matrix<int8_t> whole(13, 40), pieces(13, 40);
  std::vector<float> scales(13), piece_scales(13);
  i8_scales(w.tensor, scales);
  quantize_rows(w.tensor, scales, whole.tensor);
  float largest = 0;
  for (int64_t first = 0; first < 13; first += 4) {
    const int64_t count = std::min<int64_t>(4, 13 - first);
    const std::span<float> part(piece_scales.data() + first, static_cast<std::size_t>(count));
    i8_scales(brain.tensor.slice_rows(first, count), part);
    quantize_rows(brain.tensor.slice_rows(first, count), part, pieces.tensor.slice_rows(first, count));
    largest = std::max(largest, absmax(brain.tensor.slice_rows(first, count)));
  }
  EXPECT_EQ(piece_scales, scales);
  EXPECT_EQ(pieces.values, whole.values);
  EXPECT_EQ(largest, absmax(w.tensor));
}

TEST(Quantize, ScalesAreAlwaysUsable) {
  constexpr float kMin = std::numeric_limits<float>::min(), kMax = std::numeric_limits<float>::max();
  for (const float largest : {0.0f, 1e-45f, kMin, 1e-30f, 1.0f, kMax}) {
    for (const float scale : {f8_scale(largest), i8_scale(largest)}) {
      EXPECT_TRUE(std::isnormal(scale)) << largest;
      EXPECT_TRUE(std::isfinite(largest / scale)) << largest;
    }
  }
  EXPECT_EQ(f8_scale(448), 1.0f);
  EXPECT_EQ(i8_scale(254), 2.0f);
  Matrix<float> zero(3, 5);
  std::vector<float> scales(3);
  i8_scales(zero.tensor, scales);
  EXPECT_EQ(scales, (std::vector<float>{1, 1, 1}));
  Matrix<int8_t> out(3, 5);
  quantize_rows(zero.tensor, scales, out.tensor);
  EXPECT_EQ(out.values, std::vector<int8_t>(15, 0));
  EXPECT_EQ(absmax(Tensor(nullptr, DType::kF32, {0, 5})), 0.0f);
}

TEST(Quantize, RefusesWhatIsNoWeight) {
  Matrix<float> w(2, 3000);
  Matrix<int8_t> out(2, 3000);
  Matrix<Float8E4M3> f8(2, 3000);
  std::vector<float> scales(2, 1.0f);
  const auto refuses = [&](const std::string& message) {
    expect_error(ErrorCode::kModel, message, [&] { absmax(w.tensor); });
    expect_error(ErrorCode::kModel, message, [&] { i8_scales(w.tensor, scales); });
    expect_error(ErrorCode::kModel, message, [&] { quantize_rows(w.tensor, {}, f8.tensor); });
  };
  w.at(1, 2999) = std::numeric_limits<float>::quiet_NaN();
  refuses("row 1, column 2999 is nan, a weight must be finite");
  w.at(1, 2999) = 0;
  w.at(0, 7) = -std::numeric_limits<float>::infinity();
  refuses("row 0, column 7 is -inf, a weight must be finite");
  w.at(0, 7) = 0;
  scales = {1, 1, 1};
  const auto fails = [&](const std::string& message, const std::function<void()>& work) {
    expect_error(ErrorCode::kFailure, message, work);
  };
  fails("3 scales, expected none, one or one for each row",
        [&] { quantize_rows(w.tensor, scales, out.tensor); });
  fails("room for 3 scales", [&] { i8_scales(w.tensor, scales); });
  fails("the shapes differ", [&] { quantize_rows(w.tensor, {}, out.tensor.slice_rows(0, 1)); });
  fails("quantising to f32 is not supported", [&] { quantize_rows(w.tensor, {}, w.tensor); });
  fails("expected a floating-point tensor", [&] { quantize_rows(out.tensor, {}, out.tensor); });
  fails("dequantising to i8, expected f32", [&] { dequantize_rows(w.tensor, {}, out.tensor); });
  for (const float bad : {0.0f, -1.0f, std::numeric_limits<float>::quiet_NaN()}) {
    fails("with the scale", [&] { quantize_rows(w.tensor, {&bad, 1}, out.tensor); });
  }
}

}  // namespace
}  // namespace darkroom
