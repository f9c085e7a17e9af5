// Products of 8 bits with ARM's dot product, sdot, which processors since 2018 have. Layout and driver are those
// of int8_kernels.cc; the bits are the same.
#include "backends/cpu/kernels.h"
#include "backends/cpu/unroll.h"

// clang before 16 declares the intrinsic only where the whole file is for such processors.
#if defined(__aarch64__) && (!defined(__clang__) || __clang_major__ >= 16)
#include <arm_neon.h>
#include <sys/auxv.h>

#define DARKROOM_SDOT __attribute__((target("arch=armv8.2-a+dotprod")))

namespace darkroom::cpu {
namespace {

constexpr unsigned long kHasDotProduct = 1ul << 20;  // HWCAP_ASIMDDP
constexpr int kRows = 10, kVectors = 2, kLanes = 4;  // 23 of 32 registers

DARKROOM_SDOT void micro_sdot(const void* a_any, const void* b_any, int64_t steps, const int32_t*, int32_t* c,
                              int64_t ldc, bool accumulate) {
  const int32_t* a = static_cast<const int32_t*>(a_any);
  const int8_t* b = static_cast<const int8_t*>(b_any);
  int32x4_t sums[kRows][kVectors];
  DARKROOM_UNROLL
  for (int r = 0; r < kRows; ++r) sums[r][0] = sums[r][1] = vdupq_n_s32(0);
  for (int64_t k = 0; k < steps; ++k, b += 4 * kVectors * kLanes) {
    const int8x16_t b0 = vld1q_s8(b), b1 = vld1q_s8(b + 16);
    DARKROOM_UNROLL
    for (int r = 0; r < kRows; ++r) {
      const int8x16_t x = vreinterpretq_s8_s32(vdupq_n_s32(a[r * kDepth + k]));
      sums[r][0] = vdotq_s32(sums[r][0], b0, x);
      sums[r][1] = vdotq_s32(sums[r][1], b1, x);
    }
  }
  DARKROOM_UNROLL
  for (int r = 0; r < kRows; ++r) {
    DARKROOM_UNROLL
    for (int v = 0; v < kVectors; ++v) {
      int32_t* to = c + r * ldc + v * kLanes;
      vst1q_s32(to, accumulate ? vaddq_s32(vld1q_s32(to), sums[r][v]) : sums[r][v]);
    }
  }
}

DARKROOM_SDOT double ceiling_sdot(int64_t rounds) {
  constexpr int kChains = 16;
  int32x4_t sums[kChains];
  const int8x16_t x = vdupq_n_s8(static_cast<int8_t>(rounds & 1));
  DARKROOM_UNROLL
  for (int i = 0; i < kChains; ++i) sums[i] = vdupq_n_s32(i);
  for (int64_t round = 0; round < rounds; ++round) {
    DARKROOM_UNROLL
    for (int i = 0; i < kChains; ++i) sums[i] = vdotq_s32(sums[i], x, x);
  }
  DARKROOM_UNROLL
  for (int i = 1; i < kChains; ++i) sums[0] = vaddq_s32(sums[0], sums[i]);
  volatile int sink = vgetq_lane_s32(sums[0], 0);
  static_cast<void>(sink);
  return static_cast<double>(rounds) * kChains * 32.0;
}

}  // namespace

Int8Kernels dot_int8_kernels(CpuIsa isa, Int8Dot dot, const KernelTable& table) {
  const bool there = (getauxval(AT_HWCAP) & kHasDotProduct) != 0;
  if (isa != CpuIsa::kNeon || dot == Int8Dot::kPortable || !there) return table.int8;
  return {kRows, kVectors * kLanes, 0, nullptr, micro_sdot, table.int8.pack_b, ceiling_sdot};
}

Int8Kernels attention_int8_kernels(CpuIsa isa, Int8Dot dot, const KernelTable& table) {
  return dot_int8_kernels(isa, dot, table);
}

}  // namespace darkroom::cpu

#elif !defined(__x86_64__)

namespace darkroom::cpu {
Int8Kernels dot_int8_kernels(CpuIsa, Int8Dot, const KernelTable& table) { return table.int8; }
Int8Kernels attention_int8_kernels(CpuIsa, Int8Dot, const KernelTable& table) { return table.int8; }
}  // namespace darkroom::cpu

#endif
