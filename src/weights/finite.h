// Whether weights are numbers, and the error where they are not. Inside this room.
#pragma once

#include <algorithm>
#include <bit>
#include <cmath>
#include <cstdint>

#include "base/error.h"

namespace darkroom {

inline constexpr uint32_t kInfinityBits = 0x7F800000u;

// The largest magnitude as bits, which order like magnitudes, with infinity and NaN above all numbers.
inline uint32_t largest_bits(const float* values, int64_t count) {
  int32_t largest = 0;  // signed: SSE2 compares no unsigned numbers
  for (int64_t i = 0; i < count; ++i) {
    largest = std::max(largest, static_cast<int32_t>(std::bit_cast<uint32_t>(values[i]) & 0x7FFFFFFFu));
  }
  return static_cast<uint32_t>(largest);
}

// The first of these is in that row and column; one of them is not finite.
[[noreturn]] inline void fail_not_finite(const float* values, int64_t count, int64_t row, int64_t col) {
  const float* bad = std::find_if_not(values, values + count, [](float v) { return std::isfinite(v); });
  fail(ErrorCode::kModel, "row {}, column {} is {}, a weight must be finite", row, col + (bad - values),
       *bad);
}

}  // namespace darkroom
