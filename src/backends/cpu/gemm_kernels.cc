// Matrix tiles: packing of B, the register-blocked product, the fused epilogue, and dot products for few
// rows.
#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "backends/cpu/gemm_kernels.cc"
#include <hwy/foreach_target.h>
// After foreach_target.h, as Highway wants it.
#include <hwy/cache_control.h>
#include <hwy/highway.h>

#include <algorithm>

#include "backends/cpu/kernels.h"
#include "backends/cpu/vec-inl.h"

HWY_BEFORE_NAMESPACE();
namespace darkroom::cpu::HWY_NAMESPACE {

// A tile is kRows × 2 vectors of sums; with two vectors of B and one broadcast it fills the register file:
// 6·2 + 3 of 16, 14·2 + 3 of 32 with AVX-512, and 12·2 + 3 of 32 on ARM, which has no operand in memory.
#if HWY_TARGET == HWY_AVX3
constexpr int kRows = 14;
#elif HWY_ARCH_ARM_A64 && HWY_TARGET != HWY_SCALAR
constexpr int kRows = 12;
#else
constexpr int kRows = 6;
#endif

HWY_INLINE void add_tile(const V (&sums)[kRows][2], float* c, int64_t ldc, bool accumulate) {
  const D d;
  DARKROOM_UNROLL
  for (int r = 0; r < kRows; ++r) {
    float* row = c + r * ldc;
    if (accumulate) {
      hn::StoreU(hn::Add(hn::LoadU(d, row), sums[r][0]), d, row);
      hn::StoreU(hn::Add(hn::LoadU(d, row + kLanes), sums[r][1]), d, row + kLanes);
    } else {
      hn::StoreU(sums[r][0], d, row);
      hn::StoreU(sums[r][1], d, row + kLanes);
    }
  }
}

void micro_f32(const void* a_any, const void* b_any, int64_t steps, float* c, int64_t ldc, bool accumulate) {
  const D d;
  const float* HWY_RESTRICT a = static_cast<const float*>(a_any);
  const float* HWY_RESTRICT b = static_cast<const float*>(b_any);
  V sums[kRows][2];
  DARKROOM_UNROLL
  for (int r = 0; r < kRows; ++r) {
    sums[r][0] = sums[r][1] = hn::Zero(d);
    hwy::Prefetch(c + r * ldc);
  }
  for (int64_t k = 0; k < steps; ++k, b += kCols) {
    const V b0 = hn::Load(d, b), b1 = hn::Load(d, b + kLanes);
    DARKROOM_UNROLL
    for (int r = 0; r < kRows; ++r) {
      const V x = hn::Set(d, a[r * kDepth + k]);
      sums[r][0] = hn::MulAdd(x, b0, sums[r][0]);
      sums[r][1] = hn::MulAdd(x, b1, sums[r][1]);
    }
  }
  add_tile(sums, c, ldc, accumulate);
}

// The layout of vdpbf16ps without the instruction: both halves of a pair are widened and added to the same
// sum.
void micro_pairs(const void* a_any, const void* b_any, int64_t steps, float* c, int64_t ldc,
                 bool accumulate) {
  const D d;
  const DU du;
  const uint32_t* HWY_RESTRICT a = static_cast<const uint32_t*>(a_any);
  const uint32_t* HWY_RESTRICT b = static_cast<const uint32_t*>(b_any);
  const VU high = hn::Set(du, 0xFFFF0000u);
  V sums[kRows][2];
  DARKROOM_UNROLL
  for (int r = 0; r < kRows; ++r) sums[r][0] = sums[r][1] = hn::Zero(d);
  for (int64_t k = 0; k < steps; ++k, b += kCols) {
    const VU p0 = hn::Load(du, b), p1 = hn::Load(du, b + kLanes);
    for (int half = 0; half < 2; ++half) {
      const V b0 = hn::BitCast(d, half ? hn::And(p0, high) : hn::ShiftLeft<16>(p0));
      const V b1 = hn::BitCast(d, half ? hn::And(p1, high) : hn::ShiftLeft<16>(p1));
      DARKROOM_UNROLL
      for (int r = 0; r < kRows; ++r) {
        const uint32_t pair = a[r * kDepth + k];
        const V x = hn::BitCast(d, hn::Set(du, half ? pair & 0xFFFF0000u : pair << 16));
        sums[r][0] = hn::MulAdd(x, b0, sums[r][0]);
        sums[r][1] = hn::MulAdd(x, b1, sums[r][1]);
      }
    }
  }
  add_tile(sums, c, ldc, accumulate);
}

// Element i of T, in memory order, of the unit in each lane; widened.
template <typename T>
HWY_INLINE V widen_element(VU unit, int i) {
  const DU du;
  if constexpr (sizeof(T) == 4) {
    return hn::BitCast(D(), unit);
  } else if constexpr (std::is_same_v<T, BFloat16>) {
    return hn::BitCast(D(), i ? hn::And(unit, hn::Set(du, 0xFFFF0000u)) : hn::ShiftLeft<16>(unit));
  } else if constexpr (sizeof(T) == 2) {
    return from_bits<T>(i ? hn::ShiftRight<16>(unit) : hn::And(unit, hn::Set(du, 0xFFFFu)));
  } else {
    const VU shifted = i == 0   ? unit
                       : i == 1 ? hn::ShiftRight<8>(unit)
                       : i == 2 ? hn::ShiftRight<16>(unit)
                                : hn::ShiftRight<24>(unit);
    return from_bits<T>(hn::And(shifted, hn::Set(du, 0xFFu)));
  }
}

// 16 bytes of each of kCols rows -> rows of the strip at `out`, of which the first `steps` exist.
template <typename T, Form kForm>
HWY_INLINE void pack_sixteen_bytes(const uint8_t* const* rows, int64_t offset, int64_t steps, float* out) {
  constexpr int kPerUnit = static_cast<int>(4 / sizeof(T));
  const D d;
  const DU du;
  for (int vector = 0; vector < 2; ++vector) {
    VU units[4];
    transpose_units(rows + vector * kLanes, offset, units);
    float* column = out + vector * kLanes;
    const auto emit = [&](int64_t step, V v) HWY_ATTR {
      if (step < steps) hn::Store(v, d, column + step * kCols);
    };
    DARKROOM_UNROLL
    for (int u = 0; u < 4; ++u) {
      if constexpr (kForm == Form::kF32) {
        DARKROOM_UNROLL
        for (int i = 0; i < kPerUnit; ++i) emit(u * kPerUnit + i, widen_element<T>(units[u], i));
      } else if constexpr (std::is_same_v<T, BFloat16>) {
        emit(u, hn::BitCast(d, units[u]));
      } else {
        DARKROOM_UNROLL
        for (int i = 0; i < kPerUnit; i += 2) {
          const V low = widen_element<T>(units[u], i), high = widen_element<T>(units[u], i + 1);
          VU pair;
          if constexpr (std::is_same_v<T, Float16>) {
            pair = hn::Or(hn::ShiftLeft<16>(bfloat16_bits(high)), bfloat16_bits(low));
          } else {  // f8 and i8 fit the upper half of an f32
            pair = hn::Or(hn::BitCast(du, high), hn::ShiftRight<16>(hn::BitCast(du, low)));
          }
          emit((u * kPerUnit + i) / 2, hn::BitCast(d, pair));
        }
      }
    }
  }
}

template <Form kForm, typename T>
void pack_b_as(const T* begin, int64_t stride, int64_t rows, int64_t depth, float* out) {
  constexpr int64_t kSize = static_cast<int64_t>(sizeof(T)), kElements = 16 / kSize;
  constexpr int64_t kSteps = kForm == Form::kF32 ? kElements : kElements / 2;
  const uint8_t* pointers[kCols];
  for (int64_t r = 0; r < kCols; ++r) {
    pointers[r] = reinterpret_cast<const uint8_t*>(begin + std::min(r, rows - 1) * stride);
  }
  int64_t k = 0;
  if (rows == kCols) {
    for (; k + kElements <= depth; k += kElements, out += kSteps * kCols) {
      pack_sixteen_bytes<T, kForm>(pointers, k * kSize, kSteps, out);
    }
  }
  for (; k < depth; k += kElements, out += kSteps * kCols) {
    uint8_t padded[kCols][16] = {};
    const uint8_t* padded_pointers[kCols];
    const int64_t count = std::min(kElements, depth - k);
    for (int64_t r = 0; r < kCols; ++r) {
      padded_pointers[r] = padded[r];
      if (r < rows) std::memcpy(padded[r], pointers[r] + k * kSize, static_cast<std::size_t>(count * kSize));
    }
    pack_sixteen_bytes<T, kForm>(padded_pointers, 0, kForm == Form::kF32 ? count : (count + 1) / 2, out);
  }
}

void pack_b_f32(DType dtype, const void* begin, int64_t stride, int64_t rows, int64_t depth, float* out) {
  with_matrix_type(dtype, begin, [&](const auto* typed) HWY_ATTR {
    pack_b_as<Form::kF32>(typed, stride, rows, depth, out);
  });
}

void pack_b_pairs(DType dtype, const void* begin, int64_t stride, int64_t rows, int64_t depth, float* out) {
  const auto pack = [&](const auto* typed)
                        HWY_ATTR { pack_b_as<Form::kPairs>(typed, stride, rows, depth, out); };
  if (dtype == DType::kBF16) return pack(static_cast<const BFloat16*>(begin));
  if (dtype == DType::kF16) return pack(static_cast<const Float16*>(begin));
  if (dtype == DType::kF8E4M3) return pack(static_cast<const Float8E4M3*>(begin));
  if (dtype == DType::kF8E5M2) return pack(static_cast<const Float8E5M2*>(begin));
  if (dtype == DType::kI8) return pack(static_cast<const int8_t*>(begin));
}

void epilogue(const EpilogueArgs& e, const float* c, int64_t ldc, int64_t rows, int64_t cols) {
  with_activation_type(e.dtype, e.out, [&](auto* out) HWY_ATTR {
    using T = std::remove_pointer_t<decltype(out)>;
    const T* residual = static_cast<const T*>(e.residual);
    for (int64_t r = 0; r < rows; ++r, c += ldc, out += e.out_stride) {
      map(cols, out, [&](int64_t i, auto read) HWY_ATTR {
        V v = read(c + i);
        if (e.scale) v = hn::Mul(v, read(e.scale + i));
        if (e.bias) v = hn::Add(v, read(e.bias + i));
        v = activation_of(e.activation, v);
        if (e.gate) v = hn::Mul(v, read(e.gate + i));
        if (residual) v = hn::Add(v, read(residual + i));
        return v;
      });
      if (residual) residual += e.residual_stride;
    }
  });
}

constexpr int64_t kDotRows = 4;

// kDotRows rows of w against kM rows of x at once: each vector of w is widened once for kM products. ahead:
// bytes from these rows to the next ones, which the cache is told of, as processors do not look beyond a page;
// 0: not at all.
template <int kM, typename T>
HWY_INLINE void dot_group(const T* const (&w)[kDotRows], const float* x, int64_t x_stride, int64_t depth,
                          int64_t rows, float* out, int64_t out_stride, bool accumulate, std::size_t ahead) {
  const D d;
  V sums[kDotRows][kM];
  DARKROOM_UNROLL
  for (int r = 0; r < kDotRows; ++r) {
    DARKROOM_UNROLL
    for (int m = 0; m < kM; ++m) sums[r][m] = hn::Zero(d);
  }
  const auto step = [&](int64_t k, auto read) HWY_ATTR {
    V xs[kM];
    DARKROOM_UNROLL
    for (int m = 0; m < kM; ++m) xs[m] = read(x + m * x_stride + k);
    DARKROOM_UNROLL
    for (int r = 0; r < kDotRows; ++r) {
      const V wide = read(w[r] + k);
      DARKROOM_UNROLL
      for (int m = 0; m < kM; ++m) sums[r][m] = hn::MulAdd(wide, xs[m], sums[r][m]);
    }
  };
  constexpr int64_t kLine = 64 / static_cast<int64_t>(sizeof(T));
  int64_t k = 0;
  for (; ahead > 0 && k + kLine <= depth; k += kLine) {
    DARKROOM_UNROLL
    for (int r = 0; r < kDotRows; ++r) prefetch_l2(w[r] + k, ahead);
    for (int64_t i = 0; i < kLine; i += kLanes) step(k + i, ReadWhole());
  }
  for (; k + kLanes <= depth; k += kLanes) step(k, ReadWhole());
  if (k < depth) step(k, ReadPart{depth - k});
  for (int r = 0; r < kDotRows && r < rows; ++r) {
    for (int m = 0; m < kM; ++m) {
      float* cell = out + m * out_stride + r;
      const float sum = hn::GetLane(hn::SumOfLanes(d, sums[r][m]));
      *cell = accumulate ? *cell + sum : sum;
    }
  }
}

void dot(DType dtype, const void* w, int64_t w_stride, int64_t rows, const float* x, int64_t x_stride,
         int64_t m, int64_t depth, float* out, int64_t out_stride, bool accumulate) {
  with_matrix_type(dtype, w, [&](const auto* typed) HWY_ATTR {
    using T = std::remove_pointer_t<decltype(typed)>;
    for (int64_t first = 0; first < rows; first += kDotRows) {
      T* pointers[kDotRows];
      for (int64_t r = 0; r < kDotRows; ++r) {
        pointers[r] = typed + std::min(first + r, rows - 1) * w_stride;
      }
      const std::size_t group_bytes = static_cast<std::size_t>(kDotRows * w_stride) * sizeof(T);
      for_row_groups<2>(m, [&](int64_t i, auto count) HWY_ATTR {
        dot_group<count()>(pointers, x + i * x_stride, x_stride, depth, rows - first,
                           out + i * out_stride + first, out_stride, accumulate, i == 0 ? group_bytes : 0);
      });
    }
  });
}

void set_gemm_kernels(KernelTable& table) {
  table.gemm = {kRows, kCols, Form::kF32, micro_f32, pack_b_f32, nullptr};
  table.emulated_bf16 = {kRows, kCols, Form::kPairs, micro_pairs, pack_b_pairs, nullptr};
  table.epilogue = epilogue;
  table.dot = dot;
}

}  // namespace darkroom::cpu::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace darkroom::cpu {
void add_gemm_kernels(CpuIsa isa, KernelTable& table) { DARKROOM_FOR_ISA(isa, set_gemm_kernels(table)); }
}  // namespace darkroom::cpu
#endif
