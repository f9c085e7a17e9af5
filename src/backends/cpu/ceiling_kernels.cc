// Loops that do nothing but multiply-add in registers, or read memory: what the processor reaches at best.
#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "backends/cpu/ceiling_kernels.cc"
#include <hwy/foreach_target.h>
// After foreach_target.h, as Highway wants it.
#include <hwy/highway.h>

#include "backends/cpu/kernels.h"
#include "backends/cpu/vec-inl.h"

HWY_BEFORE_NAMESPACE();
namespace darkroom::cpu::HWY_NAMESPACE {

inline constexpr int kChains =
    12;  // independent sums: 2 units × up to 5 cycles of latency, and some to spare

double ceiling_f32(int64_t rounds) {
  const D d;
  V sums[kChains];
  for (int i = 0; i < kChains; ++i) sums[i] = hn::Set(d, static_cast<float>(i));
  // Sums near 1000: were they to fall towards zero, they would become subnormal, which some processors are
  // slow with.
  const V x = hn::Set(d, 0.999f), y = hn::Set(d, static_cast<float>(1 + (rounds & 1)));
  for (int64_t round = 0; round < rounds; ++round) {
    DARKROOM_UNROLL
    for (int i = 0; i < kChains; ++i) sums[i] = hn::MulAdd(sums[i], x, y);
  }
  V total = hn::Zero(d);
  for (const V& sum : sums) total = hn::Add(total, sum);
  volatile float sink = hn::GetLane(total);
  static_cast<void>(sink);
  return static_cast<double>(rounds) * kChains * 2.0 * static_cast<double>(kLanes);
}

#if HWY_TARGET == HWY_AVX2 || HWY_TARGET == HWY_AVX3
#if HWY_TARGET == HWY_AVX3
using Bytes = __m512i;
HWY_INLINE Bytes fill8(int v) { return _mm512_set1_epi8(static_cast<char>(v)); }
HWY_INLINE Bytes fill16(int v) { return _mm512_set1_epi16(static_cast<short>(v)); }
HWY_INLINE Bytes dot_add(Bytes sum, Bytes a, Bytes b, Bytes ones) {
  return _mm512_add_epi32(sum, _mm512_madd_epi16(_mm512_maddubs_epi16(a, b), ones));
}
#else
using Bytes = __m256i;
HWY_INLINE Bytes fill8(int v) { return _mm256_set1_epi8(static_cast<char>(v)); }
HWY_INLINE Bytes fill16(int v) { return _mm256_set1_epi16(static_cast<short>(v)); }
HWY_INLINE Bytes dot_add(Bytes sum, Bytes a, Bytes b, Bytes ones) {
  return _mm256_add_epi32(sum, _mm256_madd_epi16(_mm256_maddubs_epi16(a, b), ones));
}
#endif

// u8·i8 dot products as an int8 matmul without VNNI does them: maddubs, madd with ones, add; 4 products a
// lane.
double ceiling_int8(int64_t rounds) {
  const Bytes ones = fill16(1), b = fill8(static_cast<int>(rounds & 1));
  Bytes sums[kChains];
  for (int i = 0; i < kChains; ++i) sums[i] = fill8(i);
  for (int64_t round = 0; round < rounds; ++round) {
    // The sum as an operand keeps the compiler from taking the products out of the loop.
    DARKROOM_UNROLL
    for (int i = 0; i < kChains; ++i) sums[i] = dot_add(sums[i], sums[i], b, ones);
  }
  for (int i = 1; i < kChains; ++i) sums[0] = dot_add(sums[0], sums[i], b, ones);
  char bytes[sizeof(Bytes)];
  std::memcpy(bytes, &sums[0], sizeof(bytes));
  volatile char sink = bytes[0];
  static_cast<void>(sink);
  return static_cast<double>(rounds) * kChains * 2.0 * 4.0 * static_cast<double>(kLanes);
}
#endif

double ceiling_read(const std::byte* data, int64_t bytes) {
  const DU du;
  const uint32_t* words = reinterpret_cast<const uint32_t*>(data);
  VU sums[4] = {hn::Zero(du), hn::Zero(du), hn::Zero(du), hn::Zero(du)};
  for (int64_t i = 0; i + 4 * kLanes <= bytes / 4; i += 4 * kLanes) {
    DARKROOM_UNROLL
    for (int j = 0; j < 4; ++j) sums[j] = hn::Or(sums[j], hn::LoadU(du, words + i + j * kLanes));
  }
  return static_cast<double>(hn::GetLane(hn::Or(hn::Or(sums[0], sums[1]), hn::Or(sums[2], sums[3]))));
}

const CeilingTable& get_ceiling_table() {
#if HWY_TARGET == HWY_AVX2 || HWY_TARGET == HWY_AVX3
  static constexpr CeilingTable kTable = {ceiling_f32, ceiling_int8, ceiling_read};
#else
  static constexpr CeilingTable kTable = {ceiling_f32, nullptr, ceiling_read};
#endif
  return kTable;
}

}  // namespace darkroom::cpu::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace darkroom::cpu {
const CeilingTable& ceiling_table(CpuIsa isa) { DARKROOM_FOR_ISA(isa, get_ceiling_table()); }
}  // namespace darkroom::cpu
#endif
