// The product of bf16 pairs with AVX512-BF16, for which Highway 1.0.3 has no target.
//
// Layout and driver are those of the portable micro_pairs in gemm_kernels.cc, which tests run on every
// machine; only the loop body differs. vdpbf16ps rounds to nearest even and takes subnormals as zero.
#include "backends/cpu/kernels.h"
#include "backends/cpu/unroll.h"

#ifdef __x86_64__
#include <immintrin.h>

#define DARKROOM_AVX512BF16 __attribute__((target("avx512f,avx512bw,avx512vl,avx512dq,avx512bf16")))

namespace darkroom::cpu {
namespace {

constexpr int kRows = 14;
constexpr int64_t kCols = 32;

DARKROOM_AVX512BF16 void micro_native(const void* a_any, const void* b_any, int64_t steps, float* c,
                                      int64_t ldc, bool accumulate) {
  const int* a = static_cast<const int*>(a_any);  // a pair in each
  const float* b = static_cast<const float*>(b_any);
  __m512 sums[kRows][2];
  DARKROOM_UNROLL
  for (int r = 0; r < kRows; ++r) sums[r][0] = sums[r][1] = _mm512_setzero_ps();
  for (int64_t k = 0; k < steps; ++k, b += kCols) {
    const __m512bh b0 = (__m512bh)_mm512_load_ps(b), b1 = (__m512bh)_mm512_load_ps(b + 16);
    DARKROOM_UNROLL
    for (int r = 0; r < kRows; ++r) {
      const __m512bh x = (__m512bh)_mm512_set1_epi32(a[r * kDepth + k]);
      sums[r][0] = _mm512_dpbf16_ps(sums[r][0], x, b0);
      sums[r][1] = _mm512_dpbf16_ps(sums[r][1], x, b1);
    }
  }
  DARKROOM_UNROLL
  for (int r = 0; r < kRows; ++r) {
    float* row = c + r * ldc;
    if (accumulate) {
      sums[r][0] = _mm512_add_ps(_mm512_loadu_ps(row), sums[r][0]);
      sums[r][1] = _mm512_add_ps(_mm512_loadu_ps(row + 16), sums[r][1]);
    }
    _mm512_storeu_ps(row, sums[r][0]);
    _mm512_storeu_ps(row + 16, sums[r][1]);
  }
}

}  // namespace

GemmKernels avx512bf16_gemm(const GemmKernels& emulated) {
  GemmKernels native = emulated;
  native.mr = kRows;
  native.nr = kCols;
  native.micro = micro_native;
  return native;
}

DARKROOM_AVX512BF16 double avx512bf16_ceiling(int64_t rounds) {
  constexpr int kChains = 16;
  __m512 sums[kChains];
  DARKROOM_UNROLL
  for (int i = 0; i < kChains; ++i)
    sums[i] = _mm512_set1_ps(static_cast<float>(i));  // or they would be one chain
  const __m512bh x = (__m512bh)_mm512_set1_ps(static_cast<float>(rounds & 1));
  for (int64_t round = 0; round < rounds; ++round) {
    DARKROOM_UNROLL
    for (int i = 0; i < kChains; ++i) sums[i] = _mm512_dpbf16_ps(sums[i], x, x);
  }
  for (int i = 1; i < kChains; ++i) sums[0] = _mm512_add_ps(sums[0], sums[i]);
  volatile float sink = _mm512_cvtss_f32(sums[0]);
  static_cast<void>(sink);
  return static_cast<double>(rounds) * kChains * 64.0;
}

}  // namespace darkroom::cpu

#else

namespace darkroom::cpu {
GemmKernels avx512bf16_gemm(const GemmKernels& emulated) { return emulated; }
double avx512bf16_ceiling(int64_t) { return 0; }
}  // namespace darkroom::cpu

#endif
