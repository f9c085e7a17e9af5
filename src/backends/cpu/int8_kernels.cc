// Products of 8 bits: activations quantised by rows, packing of weights, tiles of exact sums, and from sums to
// f32.
#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "backends/cpu/int8_kernels.cc"
#include <hwy/foreach_target.h>
// After foreach_target.h, as Highway wants it.
#include <hwy/cache_control.h>
#include <hwy/highway.h>

#include <algorithm>

#include "backends/cpu/kernels.h"
#include "backends/cpu/vec-inl.h"
// After vec-inl.h.
#include "backends/cpu/int8-inl.h"

HWY_BEFORE_NAMESPACE();
namespace darkroom::cpu::HWY_NAMESPACE {

// Sums, weights in both forms and what maddubs needs besides fill the register file.
#if HWY_TARGET == HWY_AVX3
constexpr int kRows = 10;
#else
constexpr int kRows = 4;
#endif

using DS8 = hn::Rebind<int8_t, D>;
inline constexpr uint32_t kInfinityBits = 0x7F800000u;

// A row x, or x ⊙ smooth.
template <typename T>
struct PlainRow {
  const T* x;
  HWY_INLINE V whole(int64_t i) const { return load(x + i); }
  HWY_INLINE V part(int64_t i, int64_t count) const { return load_part(x + i, count); }
};
template <typename T>
struct SmoothedRow {
  const T* x;
  const float* smooth;
  HWY_INLINE V whole(int64_t i) const { return hn::Mul(load(x + i), load(smooth + i)); }
  HWY_INLINE V part(int64_t i, int64_t count) const {
    return hn::Mul(load_part(x + i, count), load_part(smooth + i, count));
  }
};

// The largest magnitude of [first, first + count) as bits: as integers these rise with it, and those that are
// not finite lie above.
template <typename Row>
HWY_INLINE uint32_t largest_magnitude(const Row& x, int64_t first, int64_t count) {
  const DI di;
  const VI magnitude = hn::Set(di, 0x7FFFFFFF);
  VI largest[4] = {hn::Zero(di), hn::Zero(di), hn::Zero(di), hn::Zero(di)};
  const auto take = [&](VI& so_far, V v)
                        HWY_ATTR { so_far = hn::Max(so_far, hn::And(hn::BitCast(di, v), magnitude)); };
  int64_t i = 0;
#if HWY_TARGET != HWY_SCALAR  // GCC 12 for ARM makes vectors of it that lose four numbers of twelve
  for (; i + 4 * kLanes <= count; i += 4 * kLanes) {
    DARKROOM_UNROLL
    for (int j = 0; j < 4; ++j) take(largest[j], x.whole(first + i + j * kLanes));
  }
#endif
  for (; i + kLanes <= count; i += kLanes) take(largest[0], x.whole(first + i));
  if (i < count) take(largest[0], x.part(first + i, count - i));
  const VI all = hn::Max(hn::Max(largest[0], largest[1]), hn::Max(largest[2], largest[3]));
  int32_t lanes[kLanes];
  hn::StoreU(all, di, lanes);
  return static_cast<uint32_t>(*std::max_element(lanes, lanes + kLanes));
}

// |x·inverse| is at most 127 and two roundings, so nothing needs to be clamped.
template <typename Row>
HWY_INLINE void quantize_run(const Row& x, int64_t first, int64_t count, float inverse, int8_t* out) {
  const V factor = hn::Set(D(), inverse);
  const auto quantised = [&](V v)
                             HWY_ATTR { return hn::DemoteTo(DS8(), hn::NearestInt(hn::Mul(v, factor))); };
  int64_t i = 0;
  for (; i + kLanes <= count; i += kLanes) hn::StoreU(quantised(x.whole(first + i)), DS8(), out + i);
  if (i < count) {
    int8_t lanes[kLanes];
    hn::StoreU(quantised(x.part(first + i, count - i)), DS8(), lanes);
    std::memcpy(out + i, lanes, static_cast<std::size_t>(count - i));
  }
}

template <typename Row>
HWY_INLINE bool quantize_runs(const Row& x, int64_t count, int64_t group, int8_t* out, float* scales) {
  for (int64_t first = 0; first < count; first += group) {
    const int64_t run = std::min(group, count - first);
    const uint32_t bits = largest_magnitude(x, first, run);
    if (bits >= kInfinityBits) return false;
    float largest;
    std::memcpy(&largest, &bits, sizeof(largest));
    const float scale = largest < kLeastQuantised ? 1.0f : largest / 127.0f;
    scales[first / group] = scale;
    quantize_run(x, first, run, 1.0f / scale, out + first);
  }
  return true;
}

bool quantize_row(DType dtype, const void* x_any, const float* smooth, int64_t count, int64_t group,
                  int8_t* out, float* scales) {
  bool finite = true;
  with_activation_type(dtype, const_cast<void*>(x_any), [&](const auto* x) HWY_ATTR {
    using T = std::remove_cvref_t<decltype(*x)>;
    finite = smooth ? quantize_runs(SmoothedRow<T>{x, smooth}, count, group, out, scales)
                    : quantize_runs(PlainRow<T>{x}, count, group, out, scales);
  });
  return finite;
}

bool add_magnitudes(DType dtype, const void* x_any, int64_t count, float* largest, float* squares) {
  bool finite = true;
  with_activation_type(dtype, const_cast<void*>(x_any), [&](const auto* x) HWY_ATTR {
    using T = std::remove_cvref_t<decltype(*x)>;
    finite = largest_magnitude(PlainRow<T>{x}, 0, count) < kInfinityBits;
    if (!finite) return;
    map(count, largest,
        [&](int64_t i, auto read) HWY_ATTR { return hn::Max(hn::Abs(read(x + i)), read(largest + i)); });
    map(count, squares, [&](int64_t i, auto read) HWY_ATTR {
      const V v = read(x + i);
      return hn::MulAdd(v, v, read(squares + i));
    });
  });
  return finite;
}

// 16 bytes of each of a vector of rows -> their units at `out`, of which the first `steps` exist, kVectors
// vectors apart. kFlip is added to each byte (0x80: i8 becomes u8).
template <int kVectors, uint32_t kFlip>
HWY_INLINE void pack_four_units(const uint8_t* const* rows, int64_t offset, int64_t steps, uint32_t* out) {
  const DU du;
  const VU flip = hn::Set(du, kFlip * 0x01010101u);
  VU units[4];
  transpose_units(rows, offset, units);
  DARKROOM_UNROLL
  for (int u = 0; u < 4; ++u) {
    if (u < steps) hn::Store(hn::Xor(units[u], flip), du, out + u * kVectors * kLanes);
  }
}

// One vector of columns of a strip. The next rows, which a strip or its neighbour will want, are asked for
// meanwhile: weights come from memory, in more rows at a time than the processor sees coming.
template <int kVectors, uint32_t kFlip>
HWY_INLINE void pack_vector(const uint8_t* const* rows, int64_t to_next, int64_t depth, uint32_t* out) {
  int64_t k = 0;
  for (; k + 16 <= depth; k += 16, out += 4 * kVectors * kLanes) {
    if (k % 64 == 0) {
      for (int64_t r = 0; r < kLanes; ++r) prefetch_l2(rows[r], static_cast<std::size_t>(to_next + k));
    }
    pack_four_units<kVectors, kFlip>(rows, k, 4, out);
  }
  if (k == depth) return;
  uint8_t padded[kLanes][16] = {};
  const uint8_t* pointers[kLanes];
  for (int64_t r = 0; r < kLanes; ++r) {
    std::memcpy(padded[r], rows[r] + k, static_cast<std::size_t>(depth - k));
    pointers[r] = padded[r];
  }
  pack_four_units<kVectors, kFlip>(pointers, 0, (depth - k + 3) / 4, out);
}

template <int kVectors, uint32_t kFlip>
void pack_int8(const int8_t* begin, int64_t stride, int64_t rows, int64_t depth, void* out_any) {
  constexpr int64_t kStripCols = kVectors * kLanes;
  const uint8_t* pointers[kStripCols];
  for (int64_t r = 0; r < kStripCols; ++r) {
    pointers[r] = reinterpret_cast<const uint8_t*>(begin + std::min(r, rows - 1) * stride);
  }
  for (int64_t v = 0; v < kVectors; ++v) {
    pack_vector<kVectors, kFlip>(pointers + v * kLanes, kLanes * stride, depth,
                                 static_cast<uint32_t*>(out_any) + v * kLanes);
  }
}

void micro_int8(const void* a_any, const void* b_any, int64_t steps, const int32_t*, int32_t* c, int64_t ldc,
                bool accumulate) {
  const DI di;
  const int32_t* HWY_RESTRICT a = static_cast<const int32_t*>(a_any);
  const int32_t* HWY_RESTRICT b = static_cast<const int32_t*>(b_any);
  Sums sums[kRows][2];
  DARKROOM_UNROLL
  for (int r = 0; r < kRows; ++r) sums[r][0] = sums[r][1] = no_sums();
  for (int64_t k = 0; k < steps; ++k, b += kCols) {
    const Weights b0 = weights_of(hn::Load(di, b)), b1 = weights_of(hn::Load(di, b + kLanes));
    DARKROOM_UNROLL
    for (int r = 0; r < kRows; ++r) {
      const VI x = hn::Set(di, a[r * kDepth + k]);
      sums[r][0] = add_products(sums[r][0], b0, x);
      sums[r][1] = add_products(sums[r][1], b1, x);
    }
  }
  DARKROOM_UNROLL
  for (int r = 0; r < kRows; ++r) {
    DARKROOM_UNROLL
    for (int v = 0; v < 2; ++v) {
      int32_t* to = c + r * ldc + v * kLanes;
      const VI all = lanes_of(sums[r][v]);
      hn::StoreU(accumulate ? hn::Add(hn::LoadU(di, to), all) : all, di, to);
    }
  }
}

// Keeps the compiler from multiplying once for all rounds.
HWY_INLINE void make_unknown(VI& v) {
#if HWY_TARGET == HWY_SCALAR
  asm volatile("" : "+r"(v.raw));
#elif HWY_ARCH_ARM_A64
  asm volatile("" : "+w"(v.raw));
#else
  asm volatile("" : "+x"(v.raw));
#endif
}

double ceiling_int8(int64_t rounds) {
  constexpr int kChains = 12;  // as in ceiling_kernels.cc
  const Weights w = weights_of(hn::Set(DI(), static_cast<int32_t>(rounds & 1) * 0x01010101));
  VI x = hn::Set(DI(), 0x01010101);
  Sums sums[kChains];
  DARKROOM_UNROLL
  for (int i = 0; i < kChains; ++i) sums[i] = no_sums();
  for (int64_t round = 0; round < rounds; ++round) {
    DARKROOM_UNROLL
    for (int i = 0; i < kChains; ++i) {
      make_unknown(x);
      sums[i] = add_products(sums[i], w, x);
    }
  }
  VI total = hn::Zero(DI());
  DARKROOM_UNROLL
  for (int i = 0; i < kChains; ++i) total = hn::Add(total, lanes_of(sums[i]));
  volatile int32_t sink = hn::GetLane(total);
  static_cast<void>(sink);
  return static_cast<double>(rounds) * kChains * 2.0 * 4.0 * static_cast<double>(kLanes);
}

void scale_sums(const int32_t* sums, int64_t stride, int64_t rows, int64_t cols, const float* scale,
                int64_t scale_stride, float* out, int64_t out_stride, bool accumulate) {
  const D d;
  for (int64_t r = 0; r < rows; ++r, sums += stride, out += out_stride, scale += scale_stride) {
    const V s = hn::Set(d, *scale);
    for (int64_t c = 0; c < cols; c += kLanes) {
      const V v = hn::Mul(hn::ConvertTo(d, hn::LoadU(DI(), sums + c)), s);
      store(accumulate ? hn::Add(load(out + c), v) : v, out + c);
    }
  }
}

void set_int8_kernels(KernelTable& table) {
  table.int8 = {kRows, kCols, nullptr, micro_int8, pack_int8<2, 0>, ceiling_int8};
  table.pack_int8_flipped[0] = pack_int8<1, 0x80>;
  table.pack_int8_flipped[1] = pack_int8<2, 0x80>;
  table.pack_int8_flipped[2] = pack_int8<3, 0x80>;
  table.pack_int8_flipped[3] = pack_int8<4, 0x80>;
  table.quantize_row = quantize_row;
  table.add_magnitudes = add_magnitudes;
  table.scale_sums = scale_sums;
}

}  // namespace darkroom::cpu::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace darkroom::cpu {
void add_int8_kernels(CpuIsa isa, KernelTable& table) { DARKROOM_FOR_ISA(isa, set_int8_kernels(table)); }
}  // namespace darkroom::cpu
#endif
