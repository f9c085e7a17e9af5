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

// |x·inverse| is at most the levels and two roundings, so nothing needs to be clamped.
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
HWY_INLINE bool quantize_runs(const Row& x, int64_t count, int64_t group, float levels, int8_t* out,
                              float* scales) {
  for (int64_t first = 0; first < count; first += group) {
    const int64_t run = std::min(group, count - first);
    const uint32_t bits = largest_magnitude(x, first, run);
    if (bits >= kInfinityBits) return false;
    float largest;
    std::memcpy(&largest, &bits, sizeof(largest));
    const float scale = largest < kLeastQuantised ? 1.0f : largest / levels;
    scales[first / group] = scale;
    quantize_run(x, first, run, 1.0f / scale, out + first);
  }
  return true;
}

bool quantize_row(DType dtype, const void* x_any, const float* smooth, int64_t count, int64_t group,
                  int32_t levels, int8_t* out, float* scales) {
  const float most = static_cast<float>(levels);
  bool finite = true;
  with_activation_type(dtype, const_cast<void*>(x_any), [&](const auto* x) HWY_ATTR {
    using T = std::remove_cvref_t<decltype(*x)>;
    finite = smooth ? quantize_runs(SmoothedRow<T>{x, smooth}, count, group, most, out, scales)
                    : quantize_runs(PlainRow<T>{x}, count, group, most, out, scales);
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

// What is added to weights when they are packed, so that they become u8: nothing, or 128 to any, or 64 to what has
// no more than 7 bits.
template <int kOffset>
struct Offset {
  static constexpr uint32_t kAll = 0x01010101, kFlip = kOffset * kAll,
                            kKeep = (kOffset == 64 ? 0x7F : 0xFF) * kAll;
  VU outside;  // zeros, and then gathers the upper bits of what has more

  HWY_INLINE VU add(VU units) {
    const DU du;
    if constexpr (kOffset == 0) return units;
    const VU flipped = hn::Xor(units, hn::Set(du, kFlip));
    if constexpr (kOffset == 128) return flipped;
    outside = hn::Or(outside, hn::Xor(units, hn::ShiftLeft<1>(units)));
    return hn::And(flipped, hn::Set(du, kKeep));
  }
  HWY_INLINE bool all_inside() const {
    const DU du;
    return kOffset != 64 || hn::AllTrue(du, hn::Eq(hn::And(outside, hn::Set(du, 0x80 * kAll)), hn::Zero(du)));
  }
};

// 16 bytes of each of a vector of rows -> their units at `out`, of which the first `steps` exist, kVectors
// vectors apart.
template <int kVectors, int kOffset>
HWY_INLINE void pack_four_units(const uint8_t* const* rows, int64_t at, int64_t steps,
                                Offset<kOffset>& offset, uint32_t* out) {
  VU units[4];
  transpose_units(rows, at, units);
  DARKROOM_UNROLL
  for (int u = 0; u < 4; ++u) {
    if (u < steps) hn::Store(offset.add(units[u]), DU(), out + u * kVectors * kLanes);
  }
}

// One vector of columns of a strip. The next rows, which a strip or its neighbour will want, are asked for
// meanwhile: weights come from memory, in more rows at a time than the processor sees coming.
template <int kVectors, int kOffset>
HWY_INLINE void pack_vector(const uint8_t* const* rows, int64_t to_next, int64_t depth,
                            Offset<kOffset>& offset, uint32_t* out) {
  int64_t k = 0;
  for (; k + 16 <= depth; k += 16, out += 4 * kVectors * kLanes) {
    if (k % 64 == 0) {
      for (int64_t r = 0; r < kLanes; ++r) prefetch_l2(rows[r], static_cast<std::size_t>(to_next + k));
    }
    pack_four_units<kVectors>(rows, k, 4, offset, out);
  }
  if (k == depth) return;
  uint8_t padded[kLanes][16] = {};
  const uint8_t* pointers[kLanes];
  for (int64_t r = 0; r < kLanes; ++r) {
    std::memcpy(padded[r], rows[r] + k, static_cast<std::size_t>(depth - k));
    pointers[r] = padded[r];
  }
  pack_four_units<kVectors>(pointers, 0, (depth - k + 3) / 4, offset, out);
}

template <int kVectors, int kOffset>
bool pack_int8(const int8_t* begin, int64_t stride, int64_t rows, int64_t depth, void* out_any) {
  constexpr int64_t kStripCols = kVectors * kLanes;
  const uint8_t* pointers[kStripCols];
  for (int64_t r = 0; r < kStripCols; ++r) {
    pointers[r] = reinterpret_cast<const uint8_t*>(begin + std::min(r, rows - 1) * stride);
  }
  Offset<kOffset> offset{hn::Zero(DU())};
  for (int64_t v = 0; v < kVectors; ++v) {
    pack_vector<kVectors>(pointers + v * kLanes, kLanes * stride, depth, offset,
                          static_cast<uint32_t*>(out_any) + v * kLanes);
  }
  return offset.all_inside();
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

#ifdef DARKROOM_HAS_INT7
// Sums, two units of weights of each column, and what products need on their way.
#if HWY_TARGET == HWY_AVX3
constexpr int kInt7Rows = 10;
#else
constexpr int kInt7Rows = 4;
#endif

int32_t sum_int8(const int8_t* x, int64_t count) {
  const Weights ones = weights_of(hn::Set(DI(), 0x01010101));
  Sums sums = no_sums();
  int64_t i = 0;
  for (; i + 4 * kLanes <= count; i += 4 * kLanes) {
    sums = add_products(sums, ones, hn::LoadU(DI(), reinterpret_cast<const int32_t*>(x + i)));
  }
  int32_t sum = hn::GetLane(hn::SumOfLanes(DI(), lanes_of(sums)));
  for (; i < count; ++i) sum += x[i];
  return sum;
}

void micro_int7(const void* a_any, const void* b_any, int64_t steps, const int32_t* start, int32_t* c,
                int64_t ldc, bool accumulate) {
  const DI di;
  const int32_t* HWY_RESTRICT a = static_cast<const int32_t*>(a_any);
  const int32_t* HWY_RESTRICT b = static_cast<const int32_t*>(b_any);
  VI sums[kInt7Rows][2];
  DARKROOM_UNROLL
  for (int r = 0; r < kInt7Rows; ++r) sums[r][0] = sums[r][1] = hn::Set(di, start[r]);
  int64_t k = 0;
  for (; k + 2 <= steps; k += 2, b += 2 * kCols) {
    const VI b00 = hn::Load(di, b), b01 = hn::Load(di, b + kLanes), b10 = hn::Load(di, b + kCols),
             b11 = hn::Load(di, b + kCols + kLanes);
    __builtin_prefetch(a + kInt7Rows * (kDepth + k));  // the rows after these, which come from L2
    DARKROOM_UNROLL
    for (int r = 0; r < kInt7Rows; ++r) {
      const VI x0 = hn::Set(di, a[r * kDepth + k]), x1 = hn::Set(di, a[r * kDepth + k + 1]);
      sums[r][0] = hn::Add(sums[r][0], sums_of(add_pairs(pairs_of(b00, x0), pairs_of(b10, x1))));
      sums[r][1] = hn::Add(sums[r][1], sums_of(add_pairs(pairs_of(b01, x0), pairs_of(b11, x1))));
    }
  }
  if (k < steps) {
    DARKROOM_UNROLL
    for (int r = 0; r < kInt7Rows; ++r) {
      const VI x = hn::Set(di, a[r * kDepth + k]);
      sums[r][0] = hn::Add(sums[r][0], sums_of(pairs_of(hn::Load(di, b), x)));
      sums[r][1] = hn::Add(sums[r][1], sums_of(pairs_of(hn::Load(di, b + kLanes), x)));
    }
  }
  DARKROOM_UNROLL
  for (int r = 0; r < kInt7Rows; ++r) {
    DARKROOM_UNROLL
    for (int v = 0; v < 2; ++v) {
      int32_t* to = c + r * ldc + v * kLanes;
      hn::StoreU(accumulate ? hn::Add(hn::LoadU(di, to), sums[r][v]) : sums[r][v], di, to);
    }
  }
}

double ceiling_int7(int64_t rounds) {
  constexpr int kChains = 8;  // as many as fit 16 registers beside what a sum takes on its way
  const VI w = hn::Set(DI(), static_cast<int32_t>(rounds & 1) * 0x01010101);
  VI x = hn::Set(DI(), 0x01010101);
  VI sums[kChains];
  DARKROOM_UNROLL
  for (int i = 0; i < kChains; ++i) sums[i] = hn::Zero(DI());
  for (int64_t round = 0; round < rounds; ++round) {
    DARKROOM_UNROLL
    for (int i = 0; i < kChains; ++i) {
      make_unknown(x);
      const VI pairs = pairs_of(w, x);
      make_unknown(x);
      sums[i] = hn::Add(sums[i], sums_of(add_pairs(pairs, pairs_of(w, x))));
    }
  }
  VI total = hn::Zero(DI());
  DARKROOM_UNROLL
  for (int i = 0; i < kChains; ++i) total = hn::Add(total, sums[i]);
  volatile int32_t sink = hn::GetLane(total);
  static_cast<void>(sink);
  return static_cast<double>(rounds) * kChains * 2.0 * 8.0 * static_cast<double>(kLanes);
}
#endif

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
  table.int8 = {kRows, kCols, 0, nullptr, micro_int8, pack_int8<2, 0>, ceiling_int8};
  table.int7 = table.int8;
#ifdef DARKROOM_HAS_INT7
  table.int7 = {kInt7Rows, kCols, 64, sum_int8, micro_int7, pack_int8<2, 64>, ceiling_int7};
#endif
  table.pack_int8_flipped[0] = pack_int8<1, 128>;
  table.pack_int8_flipped[1] = pack_int8<2, 128>;
  table.pack_int8_flipped[2] = pack_int8<3, 128>;
  table.pack_int8_flipped[3] = pack_int8<4, 128>;
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
