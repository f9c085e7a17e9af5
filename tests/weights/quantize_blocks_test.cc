// What quantising to block types loses, judged by dequantize_blocks().
#include "weights/quantize_blocks.h"

#include <gtest/gtest.h>

#include <cmath>
#include <cstring>
#include <limits>
#include <random>
#include <string>
#include <vector>

#include "base/expect_error.h"
#include "tensor/blocks.h"
#include "weights/quantize.h"

namespace darkroom {
namespace {

constexpr DType kTypes[] = {DType::kQ8_0, DType::kQ4_0, DType::kQ4_1, DType::kQ5_0, DType::kQ5_1,
                            DType::kQ2K,  DType::kQ3K,  DType::kQ4K,  DType::kQ5K,  DType::kQ6K};
constexpr float kFloatMax = std::numeric_limits<float>::max();

std::vector<std::byte> quantized(DType dtype, const std::vector<float>& values) {
  const auto count = static_cast<int64_t>(values.size());
  std::vector<std::byte> blocks(row_bytes(dtype, count));
  quantize_blocks(dtype, values.data(), count, blocks.data());
  return blocks;
}

std::vector<float> there_and_back(DType dtype, const std::vector<float>& values) {
  std::vector<float> back(values.size());
  dequantize_blocks(dtype, quantized(dtype, values).data(), static_cast<int64_t>(values.size()), back.data());
  return back;
}

double sqnr_db(const std::vector<float>& values, const std::vector<float>& back) {
  double signal = 0, noise = 0;
  for (std::size_t i = 0; i < values.size(); ++i) {
    signal += std::pow(static_cast<double>(values[i]), 2);
    noise += std::pow(static_cast<double>(values[i]) - static_cast<double>(back[i]), 2);
  }
  return 10 * std::log10(signal / noise);
}

struct Weights {
  static constexpr int kCols = 512, kRows = 128;
  std::vector<float> normal, student, uniform, rows, columns;
  Weights() {
    std::mt19937 random(3);
    std::normal_distribution<float> gauss;
    std::student_t_distribution<float> heavy(4);
    std::uniform_real_distribution<float> flat(-0.05f, 0.05f);
    std::vector<float> of_columns(kCols);
    for (float& size : of_columns) size = std::exp(0.5f * gauss(random));
    for (int r = 0; r < kRows; ++r) {
      const float of_row = std::exp(gauss(random));
      for (int c = 0; c < kCols; ++c) {
        normal.push_back(0.02f * gauss(random));
        student.push_back(0.02f * heavy(random));
        uniform.push_back(flat(random));
        rows.push_back(0.02f * of_row * gauss(random));
        columns.push_back(0.02f * of_columns[static_cast<std::size_t>(c)] * gauss(random));
      }
    }
  }
};

// Each floor is 0.1 dB below what was measured. On as many weights ggml's own quantisers, without an
// importance matrix, reach from 0.1 (q4_k) to 1.5 dB (q2_k) less.
TEST(QuantizeBlocks, LosesNoMoreThan) {
  struct Floor {
    DType dtype;
    double normal, student, uniform, rows, columns;
  };
  const Weights weights;
  for (const Floor& floor : {Floor{DType::kQ8_0, 45.79, 43.12, 48.99, 45.67, 43.09},
                             Floor{DType::kQ4_0, 21.75, 19.19, 24.47, 21.66, 19.17},
                             Floor{DType::kQ4_1, 23.04, 21.46, 25.33, 22.98, 21.38},
                             Floor{DType::kQ5_0, 27.85, 25.19, 30.87, 27.74, 25.15},
                             Floor{DType::kQ5_1, 29.31, 27.74, 31.54, 29.18, 27.62},
                             Floor{DType::kQ2K, 11.6, 10.71, 13.25, 11.63, 10.58},
                             Floor{DType::kQ3K, 16.79, 15.09, 18.44, 16.74, 15.05},
                             Floor{DType::kQ4K, 22.99, 21.4, 25.3, 22.93, 21.32},
                             Floor{DType::kQ5K, 29.11, 27.51, 31.38, 28.97, 27.39},
                             Floor{DType::kQ6K, 35.18, 33.17, 37.69, 35.08, 33.09}}) {
    const auto loses = [&](const std::vector<float>& values) {
      return sqnr_db(values, there_and_back(floor.dtype, values));
    };
    EXPECT_GE(loses(weights.normal), floor.normal) << dtype_name(floor.dtype);
    EXPECT_GE(loses(weights.student), floor.student) << dtype_name(floor.dtype);
    EXPECT_GE(loses(weights.uniform), floor.uniform) << dtype_name(floor.dtype);
    EXPECT_GE(loses(weights.rows), floor.rows) << dtype_name(floor.dtype);
    EXPECT_GE(loses(weights.columns), floor.columns) << dtype_name(floor.dtype);
  }
}

// Blocks that use their range: codes `low` and `high` in each group, in one group the outermost scale, in one
// the outermost offset.
struct Form {
  DType dtype;
  int low, high;
  int group, scale_low, scale_high;  // scales are 1 where there are no small ones
  bool has_base;
};
constexpr Form kForms[] = {
    {DType::kQ8_0, -127, 127, 32, 1, 1, false}, {DType::kQ4_0, -8, 7, 32, 1, 1, false},
    {DType::kQ5_0, -16, 15, 32, 1, 1, false},   {DType::kQ4_1, 0, 15, 32, 1, 1, true},
    {DType::kQ5_1, 0, 31, 32, 1, 1, true},      {DType::kQ2K, 0, 3, 16, 0, 15, true},
    {DType::kQ3K, -4, 3, 16, -32, 31, false},   {DType::kQ4K, 0, 15, 32, 0, 63, true},
    {DType::kQ5K, 0, 31, 32, 0, 63, true},      {DType::kQ6K, -32, 31, 16, -128, 127, false}};

std::vector<float> exact_block(const Form& form, std::mt19937& random) {
  const auto whole = [&](int low, int high) {
    return static_cast<float>(std::uniform_int_distribution<int>(low, high)(random));
  };
  const auto f16 = [&](float low, float high) {
    return to_float(to_float16(std::uniform_real_distribution<float>(low, high)(random)));
  };
  const auto size = static_cast<int>(block_size(form.dtype).elements);
  const bool super = size == 256;
  float step = f16(0.001f, 0.01f);
  if (form.low < 0 && whole(0, 1) > 0) step = -step;
  float base = form.has_base ? f16(0.001f, 0.05f) : 0;
  if (super || whole(0, 1) > 0) base = -base;
  std::vector<float> values;
  const int peak = static_cast<int>(whole(0, size / form.group - 1));
  for (int g = 0; g < size / form.group; ++g) {
    const float outermost = static_cast<float>(form.scale_low < 0 ? form.scale_low : form.scale_high);
    const float scale = g == peak ? outermost : whole(form.scale_low, form.scale_high);
    const float offset = !super || g == peak ? outermost : whole(0, form.scale_high);
    for (int j = 0; j < form.group; ++j) {
      float q = whole(form.low, form.high);
      if (j == 3) q = static_cast<float>(form.low);
      if (j == 9) q = static_cast<float>(form.high);
      values.push_back(step * scale * q + base * offset);
    }
  }
  return values;
}

TEST(QuantizeBlocks, KeepsWhatABlockRepresents) {
  std::mt19937 random(11);
  for (const Form& form : kForms) {
    for (int block = 0; block < 200; ++block) {
      const std::vector<float> values = exact_block(form, random);
      ASSERT_EQ(there_and_back(form.dtype, values), values) << dtype_name(form.dtype) << ", block " << block;
    }
  }
}

TEST(QuantizeBlocks, KeepsZeros) {
  for (const DType dtype : kTypes) {
    EXPECT_EQ(there_and_back(dtype, std::vector<float>(512)), std::vector<float>(512)) << dtype_name(dtype);
    EXPECT_EQ(quantized(dtype, std::vector<float>(512, -0.0f)), quantized(dtype, std::vector<float>(512)));
  }
}

TEST(QuantizeBlocks, KeepsALoneValue) {
  for (const DType dtype : kTypes) {
    std::vector<float> one(512);
    one[77] = -0.5f;
    const std::vector<float> back = there_and_back(dtype, one);
    for (std::size_t i = 0; i < back.size(); ++i) {
      ASSERT_NEAR(back[i], one[i], 5e-4f) << dtype_name(dtype) << " " << i;
    }
  }
}

TEST(QuantizeBlocks, KeepsConstants) {
  for (const DType dtype : kTypes) {
    for (const float value : {0.3f, -0.3f, 1.0f, -5000.0f}) {
      for (const float back : there_and_back(dtype, std::vector<float>(256, value))) {
        ASSERT_NEAR(back, value, std::fabs(value) * 5e-4f) << dtype_name(dtype);
      }
    }
  }
}

// What f16 scales do not reach is as near to it as they come, never infinite.
TEST(QuantizeBlocks, SaturatesHugeValues) {
  std::mt19937 random(5);
  for (const DType dtype : kTypes) {
    std::vector<float> huge(512);
    for (std::size_t i = 0; i < huge.size(); ++i) huge[i] = random() % 2 ? kFloatMax : -kFloatMax;
    for (const std::vector<float>& values :
         {huge, std::vector<float>(512, kFloatMax), std::vector<float>(512, -kFloatMax)}) {
      const std::vector<float> back = there_and_back(dtype, values);
      // The base of q4_1 and q5_1 is an f16; in the K types only values of one sign reach all of the range.
      const bool line = dtype == DType::kQ4_1 || dtype == DType::kQ5_1;
      const float reached = line                                                  ? 65504
                            : block_size(dtype).elements == 256 && values == huge ? 0
                                                                                  : 3 * 65504;
      for (std::size_t i = 0; i < back.size(); ++i) {
        ASSERT_TRUE(std::isfinite(back[i])) << dtype_name(dtype);
        ASSERT_GE(std::copysign(1.0f, values[i]) * back[i], reached) << dtype_name(dtype);
      }
    }
    std::vector<float> outlier(512, 1.0f);
    outlier[300] = kFloatMax;
    for (const float back : there_and_back(dtype, outlier)) ASSERT_TRUE(std::isfinite(back));
  }
}

TEST(QuantizeBlocks, RoundsTinyValuesToMultiplesOfTheLeastF16) {
  for (const DType dtype : kTypes) {
    std::vector<float> tiny(512, 0x1p-26f), subnormal(512, std::numeric_limits<float>::denorm_min());
    for (std::size_t i = 0; i < tiny.size(); i += 3) tiny[i] = -0x1p-26f, subnormal[i] = -1e-40f;
    EXPECT_EQ(there_and_back(dtype, tiny), std::vector<float>(512)) << dtype_name(dtype);
    EXPECT_EQ(there_and_back(dtype, subnormal), std::vector<float>(512)) << dtype_name(dtype);
    std::vector<float> steps(512);
    for (std::size_t i = 0; i < steps.size(); ++i) steps[i] = static_cast<float>(i % 3) * 0x1p-24f;
    EXPECT_EQ(there_and_back(dtype, steps), steps) << dtype_name(dtype);
  }
}

TEST(QuantizeBlocks, DoesNotDependOnTheCut) {
  const Weights weights;
  const std::vector<float> some(weights.student.begin(), weights.student.begin() + 7 * 256);
  for (const DType dtype : kTypes) {
    const std::vector<std::byte> whole = quantized(dtype, some);
    std::vector<std::byte> pieces;
    const auto block = static_cast<std::ptrdiff_t>(block_size(dtype).elements);
    for (auto at = some.begin(); at != some.end(); at += block) {
      const std::vector<std::byte> piece = quantized(dtype, std::vector<float>(at, at + block));
      pieces.insert(pieces.end(), piece.begin(), piece.end());
    }
    EXPECT_EQ(whole, pieces) << dtype_name(dtype);
  }
}

TEST(QuantizeBlocks, RefusesWhatIsNotFinite) {
  for (const DType dtype : kTypes) {
    std::vector<float> values(512, 0.5f);
    values[261] = std::numeric_limits<float>::quiet_NaN();
    expect_error(ErrorCode::kModel, "row 0, column 261 is nan, a weight must be finite",
                 [&] { quantized(dtype, values); });
    values[7] = -std::numeric_limits<float>::infinity();
    expect_error(ErrorCode::kModel, "row 0, column 7 is -inf, a weight must be finite",
                 [&] { quantized(dtype, values); });
  }
}

TEST(QuantizeBlocks, RefusesOtherTypesAndPartsOfBlocks) {
  std::byte out[512];
  const std::vector<float> values(256);
  expect_error(ErrorCode::kFailure, "quantising to nf4 is not supported",
               [&] { quantize_blocks(DType::kNF4, values.data(), 256, out); });
  expect_error(ErrorCode::kFailure, "quantising 32 elements to q4_k, expected a multiple of 256",
               [&] { quantize_blocks(DType::kQ4K, values.data(), 32, out); });
}

// Rows with gaps, in and out, wider than the piece that is widened at a time.
TEST(QuantizeBlocks, ThroughRows) {
  constexpr int64_t kRows = 3, kCols = 1280, kGap = 256;
  std::mt19937 random(9);
  std::normal_distribution<float> normal;
  std::vector<BFloat16> from(static_cast<std::size_t>(kRows * (kCols + kGap)));
  for (BFloat16& x : from) x = to_bfloat16(normal(random));
  Tensor rows(from.data(), DType::kBF16, {kRows, kCols});
  rows.row_stride = kCols + kGap;
  for (const DType dtype : kTypes) {
    std::vector<std::byte> blocks(row_bytes(dtype, kRows * (kCols + kGap)));
    Tensor out(blocks.data(), dtype, {kRows, kCols});
    out.row_stride = kCols + kGap;
    quantize_rows(rows, {}, out);
    std::vector<float> back(static_cast<std::size_t>(kRows * kCols));
    dequantize_rows(out, {}, Tensor(back.data(), DType::kF32, {kRows, kCols}));
    for (int64_t r = 0; r < kRows; ++r) {
      std::vector<float> row(static_cast<std::size_t>(kCols));
      for (int64_t c = 0; c < kCols; ++c)
        row[static_cast<std::size_t>(c)] = to_float(rows.row<BFloat16>(r)[c]);
      const auto begin = back.begin() + r * kCols;
      EXPECT_EQ(std::vector<float>(begin, begin + kCols), there_and_back(dtype, row)) << dtype_name(dtype);
    }
  }
  const float scale = 1;
  std::vector<std::byte> blocks(row_bytes(DType::kQ4K, kRows * kCols));
  const Tensor out(blocks.data(), DType::kQ4K, {kRows, kCols});
  expect_error(ErrorCode::kFailure,
               "quantising bf16 [3, 1280] to q4_k, expected no scales and rows of whole blocks", [&] {
                 quantize_rows(rows, {&scale, 1}, out);
               });
  rows.row<BFloat16>(2)[1279].bits = 0x7FC0;
  expect_error(ErrorCode::kModel, "row 2, column 1279 is nan, a weight must be finite",
               [&] { quantize_rows(rows, {}, out); });
}

}  // namespace
}  // namespace darkroom
