// Four products of i8 and i8 added to each i32 lane, exactly, for one instruction set: for weights of any value
// and activations in [−127, 127].
//
// Included once per set inside Highway's foreach_target loop, after vec-inl.h; not a normal header. x86 has
// products of u8 and i8 in pairs (maddubs), which saturate at 2^15: |w| as u8 and the activation with w's sign
// give at most 2·128·127, which is less.

#if defined(DARKROOM_CPU_INT8_INL_H_) == defined(HWY_TARGET_TOGGLE)
#ifdef DARKROOM_CPU_INT8_INL_H_
#undef DARKROOM_CPU_INT8_INL_H_
#else
#define DARKROOM_CPU_INT8_INL_H_
#endif
#undef DARKROOM_HAS_INT7

HWY_BEFORE_NAMESPACE();
namespace darkroom::cpu::HWY_NAMESPACE {

using VI = hn::Vec<DI>;

#if HWY_TARGET == HWY_SSE4 || HWY_TARGET == HWY_AVX2 || HWY_TARGET == HWY_AVX3
using Sums = VI;
struct Weights {
  VI magnitude;
#if HWY_TARGET == HWY_AVX3
  __mmask64 negative;
#else
  VI value;
#endif
};

HWY_INLINE Sums no_sums() { return hn::Zero(DI()); }

HWY_INLINE Weights weights_of(VI w) {
#if HWY_TARGET == HWY_AVX3
  return {VI{_mm512_abs_epi8(w.raw)}, _mm512_movepi8_mask(w.raw)};
#elif HWY_TARGET == HWY_AVX2
  return {VI{_mm256_abs_epi8(w.raw)}, w};
#else
  return {VI{_mm_abs_epi8(w.raw)}, w};
#endif
}

// x: a unit of activations in every lane.
HWY_INLINE Sums add_products(Sums sums, const Weights& w, VI x) {
#if HWY_TARGET == HWY_AVX3
  const __m512i with_sign = _mm512_mask_sub_epi8(x.raw, w.negative, _mm512_setzero_si512(), x.raw);
  const __m512i pairs = _mm512_maddubs_epi16(w.magnitude.raw, with_sign);
  return VI{_mm512_add_epi32(sums.raw, _mm512_madd_epi16(pairs, _mm512_set1_epi16(1)))};
#elif HWY_TARGET == HWY_AVX2
  const __m256i pairs = _mm256_maddubs_epi16(w.magnitude.raw, _mm256_sign_epi8(x.raw, w.value.raw));
  return VI{_mm256_add_epi32(sums.raw, _mm256_madd_epi16(pairs, _mm256_set1_epi16(1)))};
#else
  const __m128i pairs = _mm_maddubs_epi16(w.magnitude.raw, _mm_sign_epi8(x.raw, w.value.raw));
  return VI{_mm_add_epi32(sums.raw, _mm_madd_epi16(pairs, _mm_set1_epi16(1)))};
#endif
}

HWY_INLINE VI lanes_of(Sums sums) { return sums; }

// Of weights plus 64, as u8, and activations in ±63: sums of two products, of which two fit i16 (4·127·63 < 2^15),
// where they become one sum of four.
#define DARKROOM_HAS_INT7 1
HWY_INLINE VI pairs_of(VI w, VI x) {
#if HWY_TARGET == HWY_AVX3
  return VI{_mm512_maddubs_epi16(w.raw, x.raw)};
#elif HWY_TARGET == HWY_AVX2
  return VI{_mm256_maddubs_epi16(w.raw, x.raw)};
#else
  return VI{_mm_maddubs_epi16(w.raw, x.raw)};
#endif
}
HWY_INLINE VI add_pairs(VI a, VI b) {
#if HWY_TARGET == HWY_AVX3
  return VI{_mm512_add_epi16(a.raw, b.raw)};
#elif HWY_TARGET == HWY_AVX2
  return VI{_mm256_add_epi16(a.raw, b.raw)};
#else
  return VI{_mm_add_epi16(a.raw, b.raw)};
#endif
}
HWY_INLINE VI sums_of(VI pairs) {
#if HWY_TARGET == HWY_AVX3
  return VI{_mm512_madd_epi16(pairs.raw, _mm512_set1_epi16(1))};
#elif HWY_TARGET == HWY_AVX2
  return VI{_mm256_madd_epi16(pairs.raw, _mm256_set1_epi16(1))};
#else
  return VI{_mm_madd_epi16(pairs.raw, _mm_set1_epi16(1))};
#endif
}

#elif HWY_ARCH_ARM_A64 && HWY_TARGET != HWY_SCALAR
// A lane's four products are summed in two halves; the two come together in the end.
struct Sums {
  int32x4_t low, high;
};
using Weights = VI;

HWY_INLINE Sums no_sums() { return {vdupq_n_s32(0), vdupq_n_s32(0)}; }
HWY_INLINE Weights weights_of(VI w) { return w; }

HWY_INLINE Sums add_products(Sums sums, const Weights& w, VI x) {
  const int8x16_t a = vreinterpretq_s8_s32(w.raw), b = vreinterpretq_s8_s32(x.raw);
  return {vpadalq_s16(sums.low, vmull_s8(vget_low_s8(a), vget_low_s8(b))),
          vpadalq_s16(sums.high, vmull_high_s8(a, b))};
}

HWY_INLINE VI lanes_of(Sums sums) { return VI{vpaddq_s32(sums.low, sums.high)}; }

#else
using Sums = VI;
using Weights = VI;

HWY_INLINE Sums no_sums() { return hn::Zero(DI()); }
HWY_INLINE Weights weights_of(VI w) { return w; }

HWY_INLINE Sums add_products(Sums sums, const Weights& w, VI x) {
  constexpr int64_t kBytes = 4 * kLanes;
  int8_t a[kBytes], b[kBytes];
  int32_t lanes[kLanes];
  std::memcpy(a, &w, sizeof(a));
  std::memcpy(b, &x, sizeof(b));
  hn::StoreU(sums, DI(), lanes);
  for (int64_t i = 0; i < kBytes; ++i) lanes[i / 4] += int32_t{a[i]} * b[i];
  return hn::LoadU(DI(), lanes);
}

HWY_INLINE VI lanes_of(Sums sums) { return sums; }
#endif

}  // namespace darkroom::cpu::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#endif
