// Vectors of f32 for one instruction set: loads and stores of every storage format, exp and the activations.
//
// Included once per set by the *_kernels.cc files inside Highway's foreach_target loop; not a normal header.
// A "part" is the first n lanes, for the ends of rows: it goes through a small buffer, so that the lanes that
// exist get exactly the arithmetic of a full vector.

#if defined(DARKROOM_CPU_VEC_INL_H_) == defined(HWY_TARGET_TOGGLE)
#ifdef DARKROOM_CPU_VEC_INL_H_
#undef DARKROOM_CPU_VEC_INL_H_
#else
#define DARKROOM_CPU_VEC_INL_H_
#endif

#include <hwy/highway.h>

#include <cstdint>
#include <cstring>
#include <type_traits>

#include "backends/cpu/unroll.h"
#include "base/half.h"
#include "ops/backend.h"

HWY_BEFORE_NAMESPACE();
namespace darkroom::cpu::HWY_NAMESPACE {
namespace hn = hwy::HWY_NAMESPACE;

using D = hn::ScalableTag<float>;
using DU = hn::RebindToUnsigned<D>;
using DI = hn::RebindToSigned<D>;
using V = hn::Vec<D>;
using VU = hn::Vec<DU>;
using D16 = hn::Rebind<uint16_t, D>;
using D8 = hn::Rebind<uint8_t, D>;
inline constexpr int64_t kLanes = HWY_LANES(float);
// Whether there are registers for sums of four rows of x: 32 of them, not 16.
inline constexpr bool kManySums = HWY_TARGET == HWY_AVX3 || (HWY_ARCH_ARM_A64 && HWY_TARGET != HWY_SCALAR);
inline constexpr int64_t kCols = 2 * kLanes;  // of a tile of a product, and of a packed strip of B

// sign | exponent | mantissa in the low bits of each lane, by integer arithmetic: an f32 subnormal as an
// intermediate value would cost over a hundred cycles on some processors. kBias is 127 less the format's own.
template <int kExponent, int kMantissa, uint32_t kBias>
HWY_INLINE V from_small_float(VU bits) {
  const DU du;
  const D d;
  const VU magnitude = hn::And(bits, hn::Set(du, (1u << (kExponent + kMantissa)) - 1u));
  const VU sign = hn::ShiftLeft<31 - kExponent - kMantissa>(hn::Sub(bits, magnitude));
  const VU shifted = hn::ShiftLeft<23 - kMantissa>(magnitude);
  const V normal = hn::BitCast(d, hn::Add(shifted, hn::Set(du, kBias << 23)));
  // Exponent 0 means a mantissa without the leading 1: put the 1 there, and subtract it again.
  const VU one = hn::Set(du, (kBias + 1) << 23);
  const V subnormal = hn::Sub(hn::BitCast(d, hn::Add(shifted, one)), hn::BitCast(d, one));
  const auto is_small =
      hn::RebindMask(d, hn::Lt(hn::BitCast(DI(), magnitude), hn::Set(DI(), 1 << kMantissa)));
  return hn::Or(hn::IfThenElse(is_small, subnormal, normal), hn::BitCast(d, sign));
}

#undef DARKROOM_HAS_F16C
// F16C does f16 in one instruction, subnormals, infinity and NaN included.
#if HWY_TARGET == HWY_AVX2 || HWY_TARGET == HWY_AVX3
#define DARKROOM_HAS_F16C 1
#else
#define DARKROOM_HAS_F16C 0
#endif
#if DARKROOM_HAS_F16C
using V16 = hn::Vec<D16>;
HWY_INLINE V from_half_bits(V16 bits) {
  return hn::PromoteTo(D(), hn::BitCast(hn::Rebind<hwy::float16_t, D>(), bits));
}
// f8_e4m3 is f16 with a shorter exponent, which is less by 8, and a mantissa that all ones make a NaN. `bits`
// are continued by the sign.
HWY_INLINE V from_e4m3(V16 bits) {
  const D16 d16;
  const V16 half = hn::And(hn::ShiftLeft<7>(bits), hn::Set(d16, 0xBF80));
  const auto is_nan = hn::Eq(hn::Or(half, hn::Set(d16, 0x8000)), hn::Set(d16, 0xBF80));
  return hn::Mul(from_half_bits(hn::IfThenElse(is_nan, hn::Set(d16, 0x7E00), half)), hn::Set(D(), 256.0f));
}
#endif

// The value of a storage format whose bits are in the low end of each lane, zeros above.
template <typename T>
HWY_INLINE V from_bits(VU bits) {
  const DU du;
  const D d;
  if constexpr (std::is_same_v<T, BFloat16>) {
    return hn::BitCast(d, hn::ShiftLeft<16>(bits));
#if DARKROOM_HAS_F16C
  } else if constexpr (std::is_same_v<T, Float16>) {
    return from_half_bits(hn::TruncateTo(D16(), bits));
  } else if constexpr (std::is_same_v<T, Float8E4M3>) {
    const auto up = hn::BitCast(DI(), hn::ShiftLeft<24>(bits));
    return from_e4m3(hn::TruncateTo(D16(), hn::BitCast(du, hn::ShiftRight<24>(up))));
#endif
  } else if constexpr (std::is_same_v<T, Float16>) {
    const V finite = from_small_float<5, 10, 112>(bits);
    const VU exponent = hn::Set(du, 0x7C00u);
    const auto special = hn::RebindMask(d, hn::Eq(hn::And(bits, exponent), exponent));
    const V widest =
        hn::BitCast(d, hn::Set(du, 0x7F800000u));  // or-ed in: infinity stays, NaN keeps its mantissa
    return hn::IfThenElse(special, hn::Or(finite, widest), finite);
  } else if constexpr (std::is_same_v<T, Float8E4M3>) {
    const V finite = from_small_float<4, 3, 120>(bits);
    const VU nan = hn::Set(du, 0x7Fu);
    const auto special = hn::RebindMask(d, hn::Eq(hn::And(bits, nan), nan));
    return hn::IfThenElse(special, hn::Or(finite, hn::BitCast(d, hn::Set(du, 0x7FC00000u))), finite);
  } else if constexpr (std::is_same_v<T, int8_t>) {
    return hn::ConvertTo(d, hn::ShiftRight<24>(hn::BitCast(DI(), hn::ShiftLeft<24>(bits))));
  } else {
    static_assert(std::is_same_v<T, Float8E5M2>);
    return from_bits<Float16>(hn::ShiftLeft<8>(bits));
  }
}

template <typename T>
HWY_INLINE V load(const T* p) {
  if constexpr (sizeof(T) == 4) {
    return hn::LoadU(D(), p);
  } else if constexpr (std::is_same_v<T, int8_t>) {
    return hn::ConvertTo(D(), hn::PromoteTo(DI(), hn::LoadU(hn::Rebind<int8_t, D>(), p)));
#if DARKROOM_HAS_F16C
  } else if constexpr (std::is_same_v<T, Float16>) {
    return from_half_bits(hn::LoadU(D16(), reinterpret_cast<const uint16_t*>(p)));
  } else if constexpr (std::is_same_v<T, Float8E4M3>) {
    const auto bytes = hn::LoadU(hn::Rebind<int8_t, D>(), reinterpret_cast<const int8_t*>(p));
    return from_e4m3(hn::BitCast(D16(), hn::PromoteTo(hn::Rebind<int16_t, D>(), bytes)));
  } else if constexpr (std::is_same_v<T, Float8E5M2>) {  // the upper byte of an f16
    const auto bytes = hn::LoadU(D8(), reinterpret_cast<const uint8_t*>(p));
    return from_half_bits(hn::ShiftLeft<8>(hn::PromoteTo(D16(), bytes)));
#endif
  } else if constexpr (sizeof(T) == 2) {
    return from_bits<T>(hn::PromoteTo(DU(), hn::LoadU(D16(), reinterpret_cast<const uint16_t*>(p))));
  } else {
    return from_bits<T>(hn::PromoteTo(DU(), hn::LoadU(D8(), reinterpret_cast<const uint8_t*>(p))));
  }
}

// Lanes from n on are zero.
template <typename T>
HWY_INLINE V load_part(const T* p, int64_t n) {
  T buffer[kLanes] = {};
  std::memcpy(buffer, p, static_cast<std::size_t>(n) * sizeof(T));
  return load(buffer);
}

// To nearest, ties to even; NaN stays NaN, as in base/half.h.
HWY_INLINE VU bfloat16_bits(V v) {
  const DU du;
  const VU u = hn::BitCast(du, v);
  const VU odd = hn::And(hn::ShiftRight<16>(u), hn::Set(du, 1u));
  const VU rounded = hn::ShiftRight<16>(hn::Add(u, hn::Add(odd, hn::Set(du, 0x7FFFu))));
  const VU quiet = hn::Or(hn::ShiftRight<16>(u), hn::Set(du, 0x40u));
  return hn::IfThenElse(hn::RebindMask(du, hn::Eq(v, v)), rounded, quiet);
}

HWY_INLINE void store(V v, float* p) { hn::StoreU(v, D(), p); }
HWY_INLINE void store(V v, BFloat16* p) {
  hn::StoreU(hn::DemoteTo(D16(), hn::BitCast(DI(), bfloat16_bits(v))), D16(), reinterpret_cast<uint16_t*>(p));
}
template <typename T>
HWY_INLINE void store_part(V v, T* p, int64_t n) {
  T buffer[kLanes];
  store(v, buffer);
  std::memcpy(p, buffer, static_cast<std::size_t>(n) * sizeof(T));
}

// Into the second level of cache. `ahead` may lie behind the end of the memory: nothing is read.
HWY_INLINE void prefetch_l2(const void* p, std::size_t ahead) {
  __builtin_prefetch(reinterpret_cast<const void*>(reinterpret_cast<std::uintptr_t>(p) + ahead), 0, 2);
}

// Four 4-byte units of kLanes rows, transposed: out[u] holds unit u of every row. rows[i] is row i.
HWY_INLINE void transpose_units(const uint8_t* const* rows, int64_t offset, VU (&out)[4]) {
  const DU du;
#if HWY_TARGET == HWY_SCALAR
  for (int u = 0; u < 4; ++u) {
    uint32_t unit;
    std::memcpy(&unit, rows[0] + offset + 4 * u, 4);
    out[u] = hn::Set(du, unit);
  }
#else
  const hn::Full128<uint8_t> bytes;
  const hn::Full128<uint32_t> block;
  const auto quad = [&](int64_t row)
                        HWY_ATTR { return hn::BitCast(block, hn::LoadU(bytes, rows[row] + offset)); };
  VU r[4];  // r[i]: 128-bit block j holds row 4j + i
  for (int i = 0; i < 4; ++i) {
#if HWY_MAX_BYTES == 16
    r[i] = quad(i);
#elif HWY_MAX_BYTES == 32
    r[i] = hn::Combine(du, quad(4 + i), quad(i));
#else
    const hn::Half<DU> half;
    r[i] = hn::Combine(du, hn::Combine(half, quad(12 + i), quad(8 + i)),
                       hn::Combine(half, quad(4 + i), quad(i)));
#endif
  }
  const VU even_low = hn::InterleaveLower(du, r[0], r[2]), even_high = hn::InterleaveUpper(du, r[0], r[2]);
  const VU odd_low = hn::InterleaveLower(du, r[1], r[3]), odd_high = hn::InterleaveUpper(du, r[1], r[3]);
  out[0] = hn::InterleaveLower(du, even_low, odd_low);
  out[1] = hn::InterleaveUpper(du, even_low, odd_low);
  out[2] = hn::InterleaveLower(du, even_high, odd_high);
  out[3] = hn::InterleaveUpper(du, even_high, odd_high);
#endif
}

// How a body that is written once reads: whole vectors, or the first n lanes.
struct ReadWhole {
  template <typename T>
  HWY_INLINE V operator()(const T* p) const {
    return load(p);
  }
};
struct ReadPart {
  int64_t n;
  template <typename T>
  HWY_INLINE V operator()(const T* p) const {
    return load_part(p, n);
  }
};

// out[i] = f(i, read), vector by vector.
template <typename T, typename F>
HWY_INLINE void map(int64_t count, T* out, F f) {
  int64_t i = 0;
  for (; i + kLanes <= count; i += kLanes) store(f(i, ReadWhole()), out + i);
  if (i < count) store_part(f(i, ReadPart{count - i}), out + i, count - i);
}

// Calls f(first, count) for the m rows of x of a product, kMost <= 4 at once while there are as many; count is
// a constant.
template <int kMost, typename F>
HWY_INLINE void for_row_groups(int64_t m, F f) {
  static_assert(kMost == 2 || kMost == 4);
  int64_t i = 0;
  if constexpr (kMost == 4) {
    for (; i + 4 <= m; i += 4) f(i, std::integral_constant<int, 4>());
  }
  for (; i + 2 <= m; i += 2) f(i, std::integral_constant<int, 2>());
  if (i < m) f(i, std::integral_constant<int, 1>());
}

// Calls f with a pointer of the C++ type of `dtype`.
template <typename F>
HWY_INLINE void with_type(DType dtype, const void* p, F f) {
  switch (dtype) {
    case DType::kF32:
      return f(static_cast<const float*>(p));
    case DType::kF16:
      return f(static_cast<const Float16*>(p));
    case DType::kBF16:
      return f(static_cast<const BFloat16*>(p));
    case DType::kF8E4M3:
      return f(static_cast<const Float8E4M3*>(p));
    case DType::kF8E5M2:
      return f(static_cast<const Float8E5M2*>(p));
    default:
      return;
  }
}
// The same for whatever is_matrix_storage() allows.
template <typename F>
HWY_INLINE void with_matrix_type(DType dtype, const void* p, F f) {
  if (dtype == DType::kI8) return f(static_cast<const int8_t*>(p));
  with_type(dtype, p, f);
}
// The same for the two types of activations.
template <typename F>
HWY_INLINE void with_activation_type(DType dtype, void* p, F f) {
  if (dtype == DType::kF32) return f(static_cast<float*>(p));
  f(static_cast<BFloat16*>(p));
}

// e^r for |r| <= ln 2/2: minimax polynomial of degree 6, 3e-9 relative before rounding.
HWY_INLINE V exp_reduced(V r) {
  const D d;
  V p = hn::Set(d, 0x1.6a244cp-10f);
  p = hn::MulAdd(p, r, hn::Set(d, 0x1.1239d4p-7f));
  p = hn::MulAdd(p, r, hn::Set(d, 0x1.5558f2p-5f));
  p = hn::MulAdd(p, r, hn::Set(d, 0x1.555492p-3f));
  p = hn::MulAdd(p, r, hn::Set(d, 0x1.fffffcp-2f));
  return hn::Add(hn::MulAdd(p, hn::Mul(r, r), r), hn::Set(d, 1.0f));
}

// x = n·ln 2 + r, |r| <= ln 2/2; ln 2 in two parts, so that n times the first is exact.
HWY_INLINE V exp_split(V x, hn::Vec<DI>& n) {
  const D d;
  n = hn::NearestInt(hn::Mul(x, hn::Set(d, 1.44269504f)));
  const V nf = hn::ConvertTo(d, n);
  return hn::NegMulAdd(nf, hn::Set(d, -2.12194440e-4f), hn::NegMulAdd(nf, hn::Set(d, 0.693359375f), x));
}

// 2^n for n in [-126, 127], and 0 for -127.
HWY_INLINE V power_of_two(hn::Vec<DI> n) {
  const DU du;  // unsigned: for a NaN n is the largest integer, and the sum must wrap
  return hn::BitCast(D(), hn::ShiftLeft<23>(hn::Add(hn::BitCast(du, n), hn::Set(du, 127))));
}

// e^x over the whole range, within 2 ulp: subnormal results, infinity above, NaN for NaN.
HWY_INLINE V exp(V x) {
  const D d;
  V clamped = hn::IfThenElse(hn::Lt(x, hn::Set(d, -105.0f)), hn::Set(d, -105.0f), x);
  clamped = hn::IfThenElse(hn::Gt(x, hn::Set(d, 89.0f)), hn::Set(d, 89.0f), clamped);
  hn::Vec<DI> n;
  const V p = exp_reduced(exp_split(clamped, n));
  const auto half = hn::ShiftRight<1>(n);  // 2^n in two factors, as n reaches from -151 to 128
  const V y = hn::Mul(hn::Mul(p, power_of_two(half)), power_of_two(hn::Sub(n, half)));
  return hn::IfThenElse(hn::Eq(x, x), y, x);
}

// e^x for x <= 0, within 2 ulp; 0 below -87.7, NaN for NaN. What softmax needs, a third cheaper.
HWY_INLINE V exp_negative(V x) {
  const V floor = hn::Set(D(), -88.0f);  // n = -127: a factor of zero
  const V clamped = hn::IfThenElse(hn::Lt(x, floor), floor, x);
  hn::Vec<DI> n;
  const V p = exp_reduced(exp_split(clamped, n));
  return hn::Mul(p, power_of_two(n));
}

// x/(1 + e^-z): SiLU, quick GELU and tanh-GELU in one form. 1 + tanh(u) is 2·sigmoid(2u), without its
// cancellation.
HWY_INLINE V gated_by_sigmoid(V x, V z) {
  const D d;
  return hn::Div(x, hn::Add(hn::Set(d, 1.0f), exp(hn::Neg(z))));
}

HWY_INLINE V gelu_tanh(V x) {
  const D d;
  const V cubic = hn::MulAdd(hn::Mul(x, x), hn::Set(d, 0.044715f), hn::Set(d, 1.0f));
  return gated_by_sigmoid(x, hn::Mul(hn::Mul(x, cubic), hn::Set(d, 1.5957691216057308f)));
}

HWY_INLINE V activation_of(Activation activation, V x) {
  const D d;
  switch (activation) {
    case Activation::kNone:
      return x;
    case Activation::kGeluTanh:
      return gelu_tanh(x);
    case Activation::kQuickGelu:
      return gated_by_sigmoid(x, hn::Mul(x, hn::Set(d, 1.702f)));
    case Activation::kSilu:
      return gated_by_sigmoid(x, x);
    case Activation::kRelu:
      return hn::IfThenElse(hn::Lt(x, hn::Zero(d)), hn::Zero(d), x);  // NaN stays NaN
  }
  return x;
}

}  // namespace darkroom::cpu::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#endif
