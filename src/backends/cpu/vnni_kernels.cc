// Products of 8 bits with x86's dot product, vpdpbusd, for which Highway 1.0.3 has no target: 512 bits wide
// (AVX512-VNNI) and 256 bits (AVX-VNNI; AVX512-VNNI and VL have the same instruction in another encoding).
//
// It multiplies u8 by i8 without saturation. The weights are the u8: 128 is added to them when they are packed,
// and each row of sums begins at −128 times the sum of its activations. Layout and driver are those of
// int8_kernels.cc; the bits are the same.
#include "backends/cpu/kernels.h"
#include "backends/cpu/unroll.h"

#ifdef __x86_64__
#include <cpuid.h>
#include <immintrin.h>

#include <cstring>

namespace darkroom::cpu {
namespace {

struct CpuId {
  unsigned eax = 0, ebx = 0, ecx = 0, edx = 0;
};
CpuId leaf_7(unsigned subleaf) {
  CpuId id;
  if (__get_cpuid_count(7, subleaf, &id.eax, &id.ebx, &id.ecx, &id.edx) == 0) return {};
  return id;
}
// Beside Highway's check of AVX3 or AVX2, which asks the operating system, too.
bool has_avx512vnni() { return (leaf_7(0).ecx & (1u << 11)) != 0; }
bool has_avxvnni() { return (leaf_7(1).eax & (1u << 4)) != 0; }

// ROWS × VECTORS sums, VECTORS of B and a broadcast: 28 of 32 registers of 512 bits, 15 of 16 of 256. C is asked
// for first, as it may be far away.
#define DARKROOM_MICRO_VNNI(NAME, TARGET, VECTOR, ROWS, VECTORS, LANES, SET1, DOT, LOAD, LOADU, ADD, STOREU) \
  __attribute__((target(TARGET))) void NAME(const void* a_any, const void* b_any, int64_t steps,             \
                                            const int32_t* start, int32_t* c, int64_t ldc,                   \
                                            bool accumulate) {                                               \
    const int32_t* a = static_cast<const int32_t*>(a_any);                                                   \
    const int32_t* b = static_cast<const int32_t*>(b_any);                                                   \
    VECTOR sums[ROWS][VECTORS];                                                                              \
    DARKROOM_UNROLL                                                                                          \
    for (int r = 0; r < ROWS; ++r) {                                                                         \
      DARKROOM_UNROLL                                                                                        \
      for (int v = 0; v < VECTORS; ++v) {                                                                    \
        sums[r][v] = SET1(start[r]);                                                                         \
        __builtin_prefetch(c + r * ldc + v * LANES, 1);                                                      \
      }                                                                                                      \
    }                                                                                                        \
    for (int64_t k = 0; k < steps; ++k, b += VECTORS * LANES) {                                              \
      VECTOR w[VECTORS];                                                                                     \
      DARKROOM_UNROLL                                                                                        \
      for (int v = 0; v < VECTORS; ++v) w[v] = LOAD(reinterpret_cast<const VECTOR*>(b + v * LANES));         \
      DARKROOM_UNROLL                                                                                        \
      for (int r = 0; r < ROWS; ++r) {                                                                       \
        const VECTOR x = SET1(a[r * kDepth + k]);                                                            \
        DARKROOM_UNROLL                                                                                      \
        for (int v = 0; v < VECTORS; ++v) sums[r][v] = DOT(sums[r][v], w[v], x);                             \
      }                                                                                                      \
    }                                                                                                        \
    DARKROOM_UNROLL                                                                                          \
    for (int r = 0; r < ROWS; ++r) {                                                                         \
      DARKROOM_UNROLL                                                                                        \
      for (int v = 0; v < VECTORS; ++v) {                                                                    \
        VECTOR* to = reinterpret_cast<VECTOR*>(c + r * ldc + v * LANES);                                     \
        STOREU(to, accumulate ? ADD(LOADU(to), sums[r][v]) : sums[r][v]);                                    \
      }                                                                                                      \
    }                                                                                                        \
  }

// Independent sums, as in ceiling_kernels.cc.
#define DARKROOM_CEILING_VNNI(NAME, TARGET, VECTOR, SET1, DOT, ADD)                           \
  __attribute__((target(TARGET))) double NAME(int64_t rounds) {                               \
    constexpr int kChains = 12;                                                               \
    VECTOR sums[kChains];                                                                     \
    const VECTOR x = SET1(static_cast<int>(rounds & 1) * 0x01010101);                         \
    DARKROOM_UNROLL                                                                           \
    for (int i = 0; i < kChains; ++i) sums[i] = SET1(i);                                      \
    for (int64_t round = 0; round < rounds; ++round) {                                        \
      DARKROOM_UNROLL                                                                         \
      for (int i = 0; i < kChains; ++i) sums[i] = DOT(sums[i], x, x);                         \
    }                                                                                         \
    DARKROOM_UNROLL                                                                           \
    for (int i = 1; i < kChains; ++i) sums[0] = ADD(sums[0], sums[i]);                        \
    int lanes[sizeof(VECTOR) / 4];                                                            \
    std::memcpy(lanes, &sums[0], sizeof(lanes));                                              \
    volatile int sink = lanes[0];                                                             \
    static_cast<void>(sink);                                                                  \
    return static_cast<double>(rounds) * kChains * 2.0 * static_cast<double>(sizeof(VECTOR)); \
  }

// The last units, less than a vector, one by one.
#define DARKROOM_SUM_VNNI(NAME, TARGET, VECTOR, SET1, DOT, LOADU)                \
  __attribute__((target(TARGET))) int32_t NAME(const int8_t* x, int64_t count) { \
    constexpr int64_t kBytes = sizeof(VECTOR);                                   \
    const VECTOR ones = SET1(0x01010101);                                        \
    VECTOR sums = SET1(0);                                                       \
    int64_t i = 0;                                                               \
    for (; i + kBytes <= count; i += kBytes)                                     \
      sums = DOT(sums, ones, LOADU(reinterpret_cast<const VECTOR*>(x + i)));     \
    int32_t lanes[sizeof(VECTOR) / 4], sum = 0;                                  \
    std::memcpy(lanes, &sums, sizeof(lanes));                                    \
    for (const int32_t lane : lanes) sum += lane;                                \
    for (; i < count; ++i) sum += x[i];                                          \
    return sum;                                                                  \
  }

#define DARKROOM_AVX512VNNI "avx512f,avx512bw,avx512vl,avx512dq,avx512vnni"
constexpr int kWideRows = 8, kWideVectors = 3, kNarrowRows = 6, kNarrowVectors = 2;
constexpr int kAttentionRows = 6, kAttentionVectors = 4;  // 29 of 32 registers

DARKROOM_MICRO_VNNI(micro_512, DARKROOM_AVX512VNNI, __m512i, kWideRows, kWideVectors, 16, _mm512_set1_epi32,
                    _mm512_dpbusd_epi32, _mm512_load_si512, _mm512_loadu_si512, _mm512_add_epi32,
                    _mm512_storeu_si512)
DARKROOM_MICRO_VNNI(micro_attention, DARKROOM_AVX512VNNI, __m512i, kAttentionRows, kAttentionVectors, 16,
                    _mm512_set1_epi32, _mm512_dpbusd_epi32, _mm512_load_si512, _mm512_loadu_si512,
                    _mm512_add_epi32, _mm512_storeu_si512)
DARKROOM_MICRO_VNNI(micro_256, DARKROOM_AVX512VNNI, __m256i, kNarrowRows, kNarrowVectors, 8,
                    _mm256_set1_epi32, _mm256_dpbusd_epi32, _mm256_load_si256, _mm256_loadu_si256,
                    _mm256_add_epi32, _mm256_storeu_si256)
DARKROOM_MICRO_VNNI(micro_256_vex, "avx2,avxvnni", __m256i, kNarrowRows, kNarrowVectors, 8, _mm256_set1_epi32,
                    _mm256_dpbusd_avx_epi32, _mm256_load_si256, _mm256_loadu_si256, _mm256_add_epi32,
                    _mm256_storeu_si256)

DARKROOM_SUM_VNNI(sum_512, DARKROOM_AVX512VNNI, __m512i, _mm512_set1_epi32, _mm512_dpbusd_epi32,
                  _mm512_loadu_si512)
DARKROOM_SUM_VNNI(sum_256, DARKROOM_AVX512VNNI, __m256i, _mm256_set1_epi32, _mm256_dpbusd_epi32,
                  _mm256_loadu_si256)
DARKROOM_SUM_VNNI(sum_256_vex, "avx2,avxvnni", __m256i, _mm256_set1_epi32, _mm256_dpbusd_avx_epi32,
                  _mm256_loadu_si256)

DARKROOM_CEILING_VNNI(ceiling_512, DARKROOM_AVX512VNNI, __m512i, _mm512_set1_epi32, _mm512_dpbusd_epi32,
                      _mm512_add_epi32)
DARKROOM_CEILING_VNNI(ceiling_256, DARKROOM_AVX512VNNI, __m256i, _mm256_set1_epi32, _mm256_dpbusd_epi32,
                      _mm256_add_epi32)
DARKROOM_CEILING_VNNI(ceiling_256_vex, "avx2,avxvnni", __m256i, _mm256_set1_epi32, _mm256_dpbusd_avx_epi32,
                      _mm256_add_epi32)

}  // namespace

Int8Kernels dot_int8_kernels(CpuIsa isa, Int8Dot dot, const KernelTable& table) {
  if (dot == Int8Dot::kPortable) return table.int8;
  const bool avx512 = isa == CpuIsa::kAvx512 || isa == CpuIsa::kAvx512Bf16;
  if (avx512 && dot == Int8Dot::kBest && has_avx512vnni()) {
    return {kWideRows,  kWideVectors * 16, 128, sum_512, micro_512, table.pack_int8_flipped[kWideVectors - 1],
            ceiling_512};
  }
  // AVX-512's packing has 16 columns in a vector.
  const PackInt8 pack = table.pack_int8_flipped[avx512 ? 0 : kNarrowVectors - 1];
  if (isa == CpuIsa::kAvx2 && has_avxvnni()) {
    return {kNarrowRows, kNarrowVectors * 8, 128, sum_256_vex, micro_256_vex, pack, ceiling_256_vex};
  }
  if (avx512 && has_avx512vnni()) {
    return {kNarrowRows, kNarrowVectors * 8, 128, sum_256, micro_256, pack, ceiling_256};
  }
  return table.int8;
}

Int8Kernels attention_int8_kernels(CpuIsa isa, Int8Dot dot, const KernelTable& table) {
  const Int8Kernels kernels = dot_int8_kernels(isa, dot, table);
  if (kernels.micro != micro_512) return kernels;
  return {kAttentionRows, kAttentionVectors * 16, 128,
          sum_512,        micro_attention,        table.pack_int8_flipped[kAttentionVectors - 1],
          ceiling_512};
}

}  // namespace darkroom::cpu

#endif
