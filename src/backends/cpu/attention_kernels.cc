// The vector parts of attention: packing of values, online softmax over a block of keys, and the final
// division.
#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "backends/cpu/attention_kernels.cc"
#include <hwy/foreach_target.h>
// After foreach_target.h, as Highway wants it.
#include <hwy/highway.h>

#include <algorithm>
#include <cmath>
#include <limits>

#include "backends/cpu/kernels.h"
#include "backends/cpu/vec-inl.h"

HWY_BEFORE_NAMESPACE();
namespace darkroom::cpu::HWY_NAMESPACE {

inline constexpr float kInfinity = std::numeric_limits<float>::infinity();

void pack_rows(DType dtype, const void* in_any, int64_t stride, int64_t keys, int64_t cols, float* out) {
  with_type(dtype, in_any, [&](const auto* in) HWY_ATTR {
    const D d;
    for (int64_t first = 0; first < cols; first += kCols) {
      const int64_t low = std::min(kLanes, cols - first), high = std::min(kCols, cols - first) - low;
      for (int64_t key = 0; key < keys; ++key, out += kCols) {
        const auto* row = in + key * stride + first;
        hn::Store(low == kLanes ? load(row) : load_part(row, low), d, out);
        hn::Store(high == kLanes ? load(row + kLanes) : load_part(row + low, high), d, out + kLanes);
      }
    }
  });
}

// One row of scores s -> e^(s·scale + bias − max), where max covers all keys so far. Returns the sum of the
// new ones.
template <bool kBias>
HWY_INLINE float softmax_row(float* s, const float* bias, int64_t count, float scale, float& running_max,
                             float& correction) {
  const D d;
  const V factor = hn::Set(d, scale), lowest = hn::Set(d, -kInfinity);
  const auto scaled = [&](int64_t i, auto read) HWY_ATTR {
    const V v = hn::Mul(read(s + i), factor);
    if constexpr (kBias) return hn::Add(v, read(bias + i));
    return v;
  };
  const int64_t whole = count / kLanes * kLanes, rest = count - whole;
  const auto mask = hn::FirstN(d, static_cast<std::size_t>(rest));
  V largest = lowest;
  for (int64_t i = 0; i < whole; i += kLanes) largest = hn::Max(largest, scaled(i, ReadWhole()));
  if (rest > 0) largest = hn::Max(largest, hn::IfThenElse(mask, scaled(whole, ReadPart{rest}), lowest));
  const float before = running_max;
  running_max = std::max(before, hn::GetLane(hn::MaxOfLanes(d, largest)));
  // Nothing but −infinity so far: subtract 0 instead, so that e^−infinity is 0 and not NaN.
  const float shift = running_max == -kInfinity ? 0.0f : running_max;
  correction = before == running_max ? 1.0f : std::exp(before - shift);
  const V minus = hn::Set(d, shift);
  V sum = hn::Zero(d);
  for (int64_t i = 0; i < whole; i += kLanes) {
    const V e = exp_negative(hn::Sub(scaled(i, ReadWhole()), minus));
    sum = hn::Add(sum, e);
    store(e, s + i);
  }
  if (rest > 0) {
    const V e = exp_negative(hn::Sub(scaled(whole, ReadPart{rest}), minus));
    sum = hn::Add(sum, hn::IfThenElseZero(mask, e));
    store_part(e, s + whole, rest);
  }
  return hn::GetLane(hn::SumOfLanes(d, sum));
}

void softmax_block(const SoftmaxArgs& a) {
  for (int64_t r = 0; r < a.rows; ++r) {
    float* s = a.scores + r * kDepth;
    const int64_t count = a.causal ? std::clamp<int64_t>(a.causal_limit + r, 0, a.cols) : a.cols;
    a.correction[r] = 1.0f;
    float sum = 0;
    if (count > 0 && a.bias) {
      sum = softmax_row<true>(s, a.bias - r, count, a.scale, a.max[r], a.correction[r]);
    } else if (count > 0) {
      sum = softmax_row<false>(s, nullptr, count, a.scale, a.max[r], a.correction[r]);
    }
    a.sum[r] = a.sum[r] * a.correction[r] + sum;
    for (int64_t i = count; i < a.cols; ++i) s[i] = 0.0f;
  }
}

void scale_rows(float* x, int64_t stride, int64_t rows, int64_t cols, const float* factor) {
  const D d;
  for (int64_t r = 0; r < rows; ++r, x += stride) {
    if (factor[r] == 1.0f) continue;
    const V f = hn::Set(d, factor[r]);
    for (int64_t i = 0; i < cols; i += kLanes) hn::Store(hn::Mul(hn::Load(d, x + i), f), d, x + i);
  }
}

void scale_store(DType dtype, const float* x, float factor, int64_t count, void* out_any) {
  const V f = hn::Set(D(), factor);
  with_activation_type(dtype, out_any, [&](auto* out) HWY_ATTR {
    map(count, out, [&](int64_t i, auto read) HWY_ATTR { return hn::Mul(read(x + i), f); });
  });
}

void set_attention_kernels(KernelTable& table) {
  table.pack_rows = pack_rows;
  table.softmax_block = softmax_block;
  table.scale_rows = scale_rows;
  table.scale_store = scale_store;
}

}  // namespace darkroom::cpu::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace darkroom::cpu {
void add_attention_kernels(CpuIsa isa, KernelTable& table) {
  DARKROOM_FOR_ISA(isa, set_attention_kernels(table));
}
}  // namespace darkroom::cpu
#endif
