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
  static constexpr CeilingTable kTable = {ceiling_f32, ceiling_read};
  return kTable;
}

}  // namespace darkroom::cpu::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace darkroom::cpu {
const CeilingTable& ceiling_table(CpuIsa isa) { DARKROOM_FOR_ISA(isa, get_ceiling_table()); }
}  // namespace darkroom::cpu
#endif
