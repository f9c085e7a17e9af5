// The small floating-point formats against their definitions: every bit pattern of every format is
// decoded as sign · significand · 2^exponent in long double, and rounding is checked against a search for
// the nearest value.
#include "base/half.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <bit>
#include <cmath>
#include <limits>
#include <optional>
#include <random>
#include <vector>

namespace darkroom {
namespace {

struct Format {
  int exponent_bits, mantissa_bits, bias;
  bool has_infinity;  // the all-ones exponent holds infinity and NaN; e4m3fn has one NaN pattern instead
};

constexpr Format kBFloat16Format = {8, 7, 127, true};
constexpr Format kFloat16Format = {5, 10, 15, true};
constexpr Format kE4M3Format = {4, 3, 7, false};
constexpr Format kE5M2Format = {5, 2, 15, true};

// Nothing for NaN.
std::optional<long double> decode(const Format& f, uint32_t bits) {
  const uint32_t mantissa = bits & ((1u << f.mantissa_bits) - 1);
  const uint32_t exponent_mask = (1u << f.exponent_bits) - 1;
  const uint32_t exponent = (bits >> f.mantissa_bits) & exponent_mask;
  const long double sign = (bits >> (f.mantissa_bits + f.exponent_bits)) & 1 ? -1.0L : 1.0L;
  if (exponent == exponent_mask) {
    if (f.has_infinity) {
      if (mantissa) return std::nullopt;
      return sign * std::numeric_limits<long double>::infinity();
    }
    if (mantissa + 1 == 1u << f.mantissa_bits) return std::nullopt;
  }
  const long double one = exponent == 0 ? 0.0L : 1.0L;
  const int power = std::max(1, static_cast<int>(exponent)) - f.bias;
  return sign * std::ldexp(one + std::ldexp(static_cast<long double>(mantissa), -f.mantissa_bits), power);
}

template <typename T>
void expect_all_patterns_decode(const Format& format) {
  const uint32_t count = 1u << (1 + format.exponent_bits + format.mantissa_bits);
  for (uint32_t bits = 0; bits < count; ++bits) {
    const float value = to_float(T{static_cast<decltype(T{}.bits)>(bits)});
    const std::optional<long double> expected = decode(format, bits);
    if (!expected) {
      EXPECT_TRUE(std::isnan(value)) << bits;
    } else {
      EXPECT_EQ(static_cast<long double>(value), *expected) << bits;
      EXPECT_EQ(std::signbit(value), std::signbit(*expected)) << bits;  // -0 too
    }
  }
}

TEST(Half, EveryPatternIsTheValueThatTheFormatDefines) {
  expect_all_patterns_decode<BFloat16>(kBFloat16Format);
  expect_all_patterns_decode<Float16>(kFloat16Format);
  expect_all_patterns_decode<Float8E4M3>(kE4M3Format);
  expect_all_patterns_decode<Float8E5M2>(kE5M2Format);
}

TEST(Half, LandmarksOfTheFormats) {
  EXPECT_EQ(to_float(Float8E4M3{0x7E}), 448.0f);
  EXPECT_EQ(to_float(Float8E4M3{0x01}), 0.001953125f);  // 2^-9
  EXPECT_EQ(to_float(Float8E5M2{0x7B}), 57344.0f);
  EXPECT_EQ(to_float(Float16{0x7BFF}), 65504.0f);
  EXPECT_EQ(to_float(Float16{0x3C00}), 1.0f);
  EXPECT_EQ(to_float(BFloat16{0x4049}), 3.140625f);
}

// The pattern above the largest finite value: infinity, or e4m3fn's NaN.
uint32_t end_of(const Format& f) {
  return f.has_infinity ? ((1u << f.exponent_bits) - 1) << f.mantissa_bits
                        : (1u << (f.exponent_bits + f.mantissa_bits)) - 1;
}

// Bits of the format's value nearest to x, ties to the even pattern, by looking at every non-negative
// pattern. Beyond the largest finite value the next step up counts as infinity, as IEEE 754 rounds.
uint32_t nearest(const Format& f, float x) {
  const uint32_t infinity = end_of(f);
  const long double magnitude = std::fabs(static_cast<long double>(x));
  const uint32_t sign = std::signbit(x) ? 1u << (f.exponent_bits + f.mantissa_bits) : 0;
  const auto value_at = [&](uint32_t bits) {
    return bits < infinity ? *decode(f, bits) : 2 * *decode(f, bits - 1) - *decode(f, bits - 2);
  };
  uint32_t low = 0, high = infinity;  // value_at(low) <= magnitude
  while (low < high) {
    const uint32_t middle = (low + high + 1) / 2;
    (value_at(middle) <= magnitude ? low : high) = value_at(middle) <= magnitude ? middle : middle - 1;
  }
  if (low == infinity) return sign | infinity;
  const long double below = magnitude - value_at(low), above = value_at(low + 1) - magnitude;
  const bool up = above < below || (above == below && low % 2 == 1);
  return sign | (up ? low + 1 : low);
}

template <typename Round>
void expect_rounds(const Format& format, Round round, const std::vector<float>& inputs) {
  for (const float x : inputs) {
    EXPECT_EQ(round(x).bits, nearest(format, x)) << x << " = " << std::hexfloat << x;
  }
}

// Values of the format, the midpoints between neighbours and the floats next to those: where
// rounding can go wrong.
std::vector<float> critical_values(const Format& format, uint32_t step) {
  std::vector<float> out;
  const uint32_t end = end_of(format);
  for (uint32_t bits = 0; bits < end; bits += step) {
    const long double here = *decode(format, bits);
    const long double next = bits + 1 < end ? *decode(format, bits + 1) : here * (1 + 1e-3L);
    const float middle = static_cast<float>((here + next) / 2);
    for (const float x :
         {static_cast<float>(here), middle, std::nextafter(middle, 0.0f), std::nextafter(middle, 1e38f)}) {
      out.push_back(x);
      out.push_back(-x);
    }
  }
  return out;
}

std::vector<float> random_bit_patterns(int count) {
  std::mt19937 random(7);
  std::vector<float> out;
  while (static_cast<int>(out.size()) < count) {
    const float x = std::bit_cast<float>(static_cast<uint32_t>(random()));
    if (!std::isnan(x)) out.push_back(x);
  }
  return out;
}

TEST(Half, RoundsToNearestTiesToEven) {
  expect_rounds(kFloat16Format, to_float16, critical_values(kFloat16Format, 1));
  expect_rounds(kFloat16Format, to_float16, random_bit_patterns(20000));
  expect_rounds(kBFloat16Format, to_bfloat16, critical_values(kBFloat16Format, 7));
  expect_rounds(kBFloat16Format, to_bfloat16, random_bit_patterns(20000));
  const std::vector<float> edges = {0.0f,       -0.0f,         65504.0f, 65519.996f, 65520.0f,
                                    65536.0f,   1e-45f,        5.96e-8f, 2.98e-8f,   2.9803e-8f,
                                    3.3895e38f, 3.4028235e38f, INFINITY, -INFINITY};
  expect_rounds(kFloat16Format, to_float16, edges);
  expect_rounds(kBFloat16Format, to_bfloat16, edges);
}

// e4m3fn saturates: what is beyond 448 counts as 448.
TEST(Half, F8E4M3RoundsToNearestAndSaturates) {
  std::vector<float> inputs = critical_values(kE4M3Format, 1);
  const std::vector<float> random = random_bit_patterns(20000);
  inputs.insert(inputs.end(), random.begin(), random.end());
  inputs.insert(inputs.end(), {0.0f, -0.0f, 464.0f, 464.00003f, 480.0f, -1e30f, 1e-45f, 0x1p-10f, 0x1.8p-9f});
  for (const float x : inputs) {
    const float magnitude = std::min(std::fabs(x), 448.0f);
    EXPECT_EQ(to_float8_e4m3(x).bits, nearest(kE4M3Format, std::copysign(magnitude, x))) << x;
  }
  EXPECT_EQ(to_float8_e4m3(INFINITY).bits, 0x7E);
  EXPECT_EQ(to_float8_e4m3(-INFINITY).bits, 0xFE);
  EXPECT_EQ(to_float8_e4m3(std::bit_cast<float>(0x7FC00000u)).bits, 0x7F);
  EXPECT_EQ(to_float8_e4m3(std::bit_cast<float>(0xFF800001u)).bits, 0xFF);
  for (uint32_t bits = 0; bits < 0x100; ++bits) {
    const Float8E4M3 code{static_cast<uint8_t>(bits)};
    EXPECT_EQ(to_float8_e4m3(to_float(code)).bits, bits);
  }
}

TEST(Half, ValuesOfTheFormatAreKept) {
  for (uint32_t bits = 0; bits < 0x10000; ++bits) {
    const Float16 half{static_cast<uint16_t>(bits)};
    const BFloat16 brain{static_cast<uint16_t>(bits)};
    if (!std::isnan(to_float(half))) {
      EXPECT_EQ(to_float16(to_float(half)).bits, bits);
    }
    if (!std::isnan(to_float(brain))) {
      EXPECT_EQ(to_bfloat16(to_float(brain)).bits, bits);
    }
  }
}

TEST(Half, NanStaysNan) {
  for (const uint32_t bits : {0x7FC00000u, 0xFFC00000u, 0x7F800001u, 0xFF800001u, 0x7FFFFFFFu, 0xFFFFFFFFu}) {
    EXPECT_TRUE(std::isnan(to_float(to_bfloat16(std::bit_cast<float>(bits))))) << bits;
    EXPECT_TRUE(std::isnan(to_float(to_float16(std::bit_cast<float>(bits))))) << bits;
  }
}

}  // namespace
}  // namespace darkroom
