// The vector parts of attention in 8 bits, as AttentionArgs writes its arithmetic down: means, K and V less
// them, the softmax of a block of keys in whole numbers, and the sums of the blocks in f32.
#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "backends/cpu/int8_attention_kernels.cc"
#include <hwy/foreach_target.h>
// After foreach_target.h, as Highway wants it.
#include <hwy/highway.h>

#include <algorithm>
#include <limits>

#include "backends/cpu/kernels.h"
#include "backends/cpu/vec-inl.h"

HWY_BEFORE_NAMESPACE();
namespace darkroom::cpu::HWY_NAMESPACE {

using VI = hn::Vec<DI>;

HWY_INLINE void add_to_doubles(const float* x, double* sums) {
  const hn::ScalableTag<double> dd;
  const hn::Rebind<float, decltype(dd)> half;
  constexpr int64_t kDoubles = static_cast<int64_t>(hn::MaxLanes(dd));
  DARKROOM_UNROLL
  for (int64_t i = 0; i < kLanes; i += kDoubles) {
    hn::Store(hn::Add(hn::Load(dd, sums + i), hn::PromoteTo(dd, hn::Load(half, x + i))), dd, sums + i);
  }
}

bool sum_columns(DType dtype, const void* x_any, int64_t stride, int64_t rows, int64_t cols, double* sums) {
  const DI di;
  const VI magnitude = hn::Set(di, 0x7FFFFFFF);
  VI largest = hn::Zero(di);
  with_activation_type(dtype, const_cast<void*>(x_any), [&](const auto* x) HWY_ATTR {
    HWY_ALIGN float wide[kLanes];
    for (int64_t r = 0; r < rows; ++r, x += stride) {
      for (int64_t c = 0; c < cols; c += kLanes) {
        const V v = cols - c >= kLanes ? load(x + c) : load_part(x + c, cols - c);
        largest = hn::Max(largest, hn::And(hn::BitCast(di, v), magnitude));
        hn::Store(v, D(), wide);
        add_to_doubles(wide, sums + c);
      }
    }
  });
  // As integers bits rise with the magnitude, and those that are not finite lie above.
  const VI most = hn::BitCast(di, hn::Set(D(), kMostInt8Attended));
  return hn::AllFalse(di, hn::Gt(largest, most));
}

void centre_rows(DType dtype, const void* x_any, int64_t stride, int64_t rows, int64_t cols,
                 const float* mean, float* out, int64_t out_stride, float* largest) {
  with_activation_type(dtype, const_cast<void*>(x_any), [&](const auto* x) HWY_ATTR {
    const D d;
    const std::size_t next = static_cast<std::size_t>(cols) * sizeof(*x);  // of the same row: another head
    for (int64_t r = 0; r < rows; ++r, x += stride, out += out_stride) {
      for (int64_t c = 0; c < cols; c += kLanes) {
        const V v = cols - c >= kLanes ? load(x + c) : load_part(x + c, cols - c);
        const V centred = hn::Sub(v, hn::Load(d, mean + c));
        prefetch_l2(x + c, next);
        hn::Store(centred, d, out + c);
        if (largest) hn::Store(hn::Max(hn::Load(d, largest + c), hn::Abs(centred)), d, largest + c);
      }
    }
  });
}

// Keys of a unit are kLanes apart: a unit of weights is then a lane of four vectors, with nothing to shuffle.
inline constexpr int64_t kUnitKeys = 4 * kLanes;

// Column c of keys l, l + kLanes and so on, those that do not exist as zeros. `keys`: that exist from x on.
HWY_INLINE VI value_unit(const float* x, int64_t stride, int64_t keys, V inverse, VI& sum) {
  const D d;
  const DI di;
  VI unit = hn::Zero(di);
  DARKROOM_UNROLL
  for (int k = 3; k >= 0; --k) {
    VI v = hn::Zero(di);
    if (k * kLanes < keys) v = hn::NearestInt(hn::Mul(hn::Load(d, x + k * kLanes * stride), inverse));
    sum = hn::Add(sum, v);
    unit = hn::Or(hn::ShiftLeft<8>(unit), hn::And(v, hn::Set(di, 0xFF)));
  }
  return unit;
}

void pack_values(const float* x, int64_t stride, int64_t keys, int64_t cols, const float* inverse,
                 uint32_t flip, int64_t nr, void* out_any, int32_t* sums) {
  const D d;
  const DI di;
  const VI flips = hn::Set(di, static_cast<int32_t>(flip));
  int32_t* out = static_cast<int32_t*>(out_any);
  const int64_t units = (keys + kUnitKeys - 1) / kUnitKeys * kLanes;
  for (int64_t strip = 0; strip < cols; strip += nr, out += units * nr) {
    for (int64_t u = 0; u < units; ++u) {
      const int64_t key = u / kLanes * kUnitKeys + u % kLanes;
      for (int64_t c = 0; c < nr; c += kLanes) {
        const int64_t col = strip + c;
        VI sum = hn::Load(di, sums + col);
        const VI unit =
            value_unit(x + key * stride + col, stride, keys - key, hn::Load(d, inverse + col), sum);
        hn::Store(sum, di, sums + col);
        hn::Store(hn::Xor(unit, flips), di, out + u * nr + c);
      }
    }
  }
}

// 2^z as AttentionArgs has it: z is rounded to a whole number by adding 1.5·2^23, whose last bits it then is.
HWY_INLINE V power_of_two(V z) {
  const D d;
  const DU du;
  const V magic = hn::Set(d, 0x1.8p23f);
  const V least = hn::Max(z, hn::Set(d, -64.0f));
  const V shifted = hn::Add(least, magic);
  const V r = hn::Sub(least, hn::Sub(shifted, magic));
  V p = hn::Set(d, kPowerOfTwo[2]);
  p = hn::Add(hn::Mul(p, r), hn::Set(d, kPowerOfTwo[1]));
  p = hn::Add(hn::Mul(p, r), hn::Set(d, kPowerOfTwo[0]));
  p = hn::Add(hn::Mul(p, r), hn::Set(d, 1.0f));
  return hn::BitCast(d, hn::Add(hn::BitCast(du, p), hn::ShiftLeft<23>(hn::BitCast(du, shifted))));
}

HWY_INLINE float power_of_two(float z) { return z == 0 ? 1.0f : hn::GetLane(power_of_two(hn::Set(D(), z))); }

// Sums of products become scores, where they stand; returns the largest. What does not exist is −infinity.
HWY_INLINE float scale_scores(int32_t* s, const float* key_scale, int64_t cols, int64_t end) {
  const D d;
  const DI di;
  const V lowest = hn::Set(d, -std::numeric_limits<float>::infinity());
  V largest = lowest;
  for (int64_t i = 0; i < end; i += kLanes) {
    V t = hn::Mul(hn::ConvertTo(d, hn::Load(di, s + i)), hn::Load(d, key_scale + i));
    if (cols - i < kLanes) {
      t = hn::IfThenElse(hn::FirstN(d, static_cast<std::size_t>(std::max<int64_t>(0, cols - i))), t, lowest);
    }
    largest = hn::Max(largest, t);
    hn::Store(hn::BitCast(di, t), di, s + i);
  }
  return hn::GetLane(hn::MaxOfLanes(d, largest));
}

// Where the mask is set bits of yes, else of no.
HWY_INLINE VU choose_bits(uint32_t mask, VU yes, VU no) {
  const VU m = hn::Set(DU(), mask);
  return hn::Or(hn::And(m, yes), hn::AndNot(m, no));
}

// Scores become weights less kWeightOffset, in units at the front of their row; returns their sum. What rounds
// them to whole numbers, 1.5·2^23, leaves them in the last bits.
HWY_INLINE int32_t weigh_scores(int32_t* s, int64_t end, float largest, float factor) {
  const D d;
  const DI di;
  const DU du;
  const V shift = hn::Set(d, largest), f = hn::Set(d, factor), most = hn::Set(d, kMostInt8Weight),
          magic = hn::Set(d, 0x1.8p23f - kWeightOffset);
  VU sum = hn::Zero(du);
  for (int64_t i = 0; i < end; i += kUnitKeys) {
    VU p[4];
    DARKROOM_UNROLL
    for (int j = 0; j < 4; ++j) {
      const V t = hn::BitCast(d, hn::Load(di, s + i + j * kLanes));
      p[j] = hn::BitCast(du, hn::Add(hn::Mul(power_of_two(hn::Mul(hn::Sub(t, shift), f)), most), magic));
      sum = hn::Add(sum, p[j]);
    }
    const VU low = choose_bits(0xFF, p[0], hn::ShiftLeft<8>(p[1])),
             high = choose_bits(0xFF, p[2], hn::ShiftLeft<8>(p[3]));
    const VU units = choose_bits(0xFFFF, low, hn::ShiftLeft<16>(high));
    hn::Store(hn::BitCast(di, units), di, s + i / 4);
  }
  const uint32_t all = hn::GetLane(hn::SumOfLanes(du, sum));
  return static_cast<int32_t>(all - 0x4B400000u * static_cast<uint32_t>(end));
}

int64_t weight_units(int64_t keys) { return (keys + kUnitKeys - 1) / kUnitKeys * kLanes; }

void int8_softmax_block(const Int8SoftmaxArgs& a) {
  const int64_t end = 4 * weight_units(a.cols);
  for (int64_t r = 0; r < a.rows; ++r) {
    int32_t* s = a.scores + r * kDepth;
    const float of_block = scale_scores(s, a.key_scale, a.cols, end), factor = a.factor[r];
    const int32_t sum = weigh_scores(s, end, of_block, factor);
    const float before = a.first ? of_block : a.max[r], now = std::max(before, of_block);
    a.max[r] = now;
    a.keep[r] = power_of_two((before - now) * factor);
    a.add[r] = power_of_two((of_block - now) * factor);
    a.sum[r] = a.sum[r] * a.keep[r] + static_cast<float>(sum + kWeightOffset * end) * a.add[r];
    a.start[r] = -128 * sum;
  }
}

void add_int8_values(const Int8ValuesArgs& a) {
  const D d;
  const DI di;
  for (int64_t r = 0; r < a.rows; ++r) {
    const int32_t* products = a.products + r * a.stride;
    float* x = a.result + r * a.result_stride;
    const V keep = hn::Set(d, a.keep[r]), add = hn::Set(d, a.add[r]);
    for (int64_t c = 0; c < a.cols; c += kLanes) {
      const VI all = hn::Add(hn::Load(di, products + c), hn::Load(di, a.offsets + c));
      const V block = hn::Mul(hn::ConvertTo(d, all), hn::Load(d, a.scale + c));
      hn::Store(hn::Add(hn::Mul(hn::Load(d, x + c), keep), hn::Mul(block, add)), d, x + c);
    }
  }
}

void scale_add_store(DType dtype, const float* x, float factor, const float* more, int64_t count,
                     void* out_any) {
  const V f = hn::Set(D(), factor);
  with_activation_type(dtype, out_any, [&](auto* out) HWY_ATTR {
    map(count, out,
        [&](int64_t i, auto read) HWY_ATTR { return hn::Add(hn::Mul(read(x + i), f), read(more + i)); });
  });
}

void set_int8_attention_kernels(KernelTable& table) {
  table.sum_columns = sum_columns;
  table.centre_rows = centre_rows;
  table.pack_values = pack_values;
  table.weight_units = weight_units;
  table.int8_softmax_block = int8_softmax_block;
  table.add_int8_values = add_int8_values;
  table.scale_add_store = scale_add_store;
}

}  // namespace darkroom::cpu::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace darkroom::cpu {
void add_int8_attention_kernels(CpuIsa isa, KernelTable& table) {
  DARKROOM_FOR_ISA(isa, set_int8_attention_kernels(table));
}
}  // namespace darkroom::cpu
#endif
