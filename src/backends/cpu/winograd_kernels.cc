// The transforms of Winograd's convolutions: of a tile of pixels, of the weights, and of the sums of a tile.
//
// Each is one small matrix, applied to the columns of a tile and then to its rows, for a vector of channels
// at a time. The matrices follow Toom and Cook's way to multiply polynomials: evaluate at points, multiply,
// interpolate. Here the points are 0, ±1, ±2, ±1/2 and infinity, which keep f32's errors smallest among
// symmetric ones.
#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "backends/cpu/winograd_kernels.cc"
#include <hwy/foreach_target.h>
// After foreach_target.h, as Highway wants it.
#include <hwy/highway.h>

#include "backends/cpu/kernels.h"
#include "backends/cpu/vec-inl.h"

HWY_BEFORE_NAMESPACE();
namespace darkroom::cpu::HWY_NAMESPACE {

// F(6, 3): six results of three taps from eight inputs by eight products.
struct Plain {
  static constexpr int kInputs = 8, kData = 8, kProducts = 8, kResults = 6;
  static constexpr uint8_t kDataOf[kProducts] = {0, 1, 2, 3, 4, 5, 6, 7};

  // Points in the order 0, 1, −1, 2, −2, 1/2, −1/2, infinity: a pair shares its even and its odd part.
  static HWY_INLINE void data(const V (&x)[kInputs], V (&out)[kData]) {
    const D d;
    const V c525 = hn::Set(d, 5.25f);
    out[0] = hn::MulAdd(c525, hn::Sub(x[2], x[4]), hn::Sub(x[6], x[0]));
    out[7] = hn::MulAdd(c525, hn::Sub(x[3], x[5]), hn::Sub(x[7], x[1]));
    const V c425 = hn::Set(d, 4.25f);
    const V even1 = hn::NegMulAdd(c425, x[4], hn::Add(x[6], x[2]));
    const V odd1 = hn::NegMulAdd(c425, x[3], hn::Add(x[5], x[1]));
    out[1] = hn::Add(even1, odd1);
    out[2] = hn::Sub(even1, odd1);
    const V c125 = hn::Set(d, 1.25f), quarter = hn::Set(d, 0.25f), two = hn::Set(d, 2.0f);
    const V even2 = hn::MulAdd(quarter, x[2], hn::NegMulAdd(c125, x[4], x[6]));
    const V odd2 = hn::MulAdd(quarter, x[1], hn::NegMulAdd(c125, x[3], x[5]));
    out[3] = hn::MulAdd(two, odd2, even2);
    out[4] = hn::NegMulAdd(two, odd2, even2);
    const V five = hn::Set(d, 5.0f), four = hn::Set(d, 4.0f), half = hn::Set(d, 0.5f);
    const V even3 = hn::MulAdd(four, x[2], hn::NegMulAdd(five, x[4], x[6]));
    const V odd3 = hn::MulAdd(four, x[1], hn::NegMulAdd(five, x[3], x[5]));
    out[5] = hn::MulAdd(half, odd3, even3);
    out[6] = hn::NegMulAdd(half, odd3, even3);
  }

  static HWY_INLINE void weights(const V (&w)[3], V (&out)[kProducts]) {
    const D d;
    out[0] = hn::Neg(w[0]);
    out[7] = w[2];
    const auto pair = [&](float point, float factor, V& plus, V& minus) HWY_ATTR {
      const V even = hn::MulAdd(hn::Set(d, point * point), w[2], w[0]);
      const V scale = hn::Set(d, factor), p = hn::Set(d, point);
      plus = hn::Mul(scale, hn::MulAdd(p, w[1], even));
      minus = hn::Mul(scale, hn::NegMulAdd(p, w[1], even));
    };
    pair(1.0f, -2.0f / 9, out[1], out[2]);
    pair(2.0f, 1.0f / 90, out[3], out[4]);
    pair(0.5f, 32.0f / 45, out[5], out[6]);
  }

  static HWY_INLINE void results(const V (&m)[kProducts], V (&y)[kResults]) {
    const D d;
    const V even1 = hn::Add(m[1], m[2]), odd1 = hn::Sub(m[1], m[2]);
    const V even2 = hn::Add(m[3], m[4]), odd2 = hn::Sub(m[3], m[4]);
    const V even3 = hn::Add(m[5], m[6]), odd3 = hn::Sub(m[5], m[6]);
    const auto sum = [&](V first, V second, V third, float power) HWY_ATTR {
      return hn::MulAdd(hn::Set(d, power), second, hn::MulAdd(hn::Set(d, 1 / power), third, first));
    };
    y[0] = hn::Add(hn::Add(m[0], even1), hn::Add(even2, even3));
    y[1] = sum(odd1, odd2, odd3, 2);
    y[2] = sum(even1, even2, even3, 4);
    y[3] = sum(odd1, odd2, odd3, 8);
    y[4] = sum(even1, even2, even3, 16);
    y[5] = hn::Add(sum(odd1, odd2, odd3, 32), m[7]);
  }
};

// The same of pixels that are each there twice, from five that differ. Results 2i and 2i + 1 are x[i] and
// x[i + 1] by the taps (w0, w1 + w2), and x[i + 1] and x[i + 2] by (w0 + w1, w2). As three taps on x[i], x[i +
// 1], x[i + 2], one of them zero, both have five products, at the points 0, 1, −1, 2 and infinity; but one of
// each is zero, and at 1 they are the same: seven are left.
struct Upsampled {
  static constexpr int kInputs = 5, kData = 5, kProducts = 7, kResults = 6;
  static constexpr uint8_t kDataOf[kProducts] = {0, 1, 2, 2, 3, 3, 4};

  static HWY_INLINE void data(const V (&x)[kInputs], V (&out)[kData]) {
    const D d;
    const V two = hn::Set(d, 2.0f), three = hn::Set(d, 3.0f), difference = hn::Sub(x[3], x[1]);
    out[0] = hn::MulAdd(two, hn::Sub(x[0], x[2]), difference);
    out[1] = hn::NegMulAdd(two, x[1], hn::Sub(x[3], x[2]));
    out[2] = hn::MulAdd(two, x[1], hn::NegMulAdd(three, x[2], x[3]));
    out[3] = difference;
    out[4] = hn::NegMulAdd(two, difference, hn::Sub(x[4], x[2]));
  }

  static HWY_INLINE void weights(const V (&w)[3], V (&out)[kProducts]) {
    const D d;
    const V two = hn::Set(d, 2.0f), sixth = hn::Set(d, 1.0f / 6);
    const V even = hn::Add(w[1], w[2]), odd = hn::Add(w[0], w[1]);
    out[0] = hn::Mul(hn::Set(d, 0.5f), w[0]);
    out[1] = hn::Mul(hn::Set(d, -0.5f), hn::Add(w[0], even));
    out[2] = hn::Mul(sixth, hn::Sub(even, w[0]));
    out[3] = hn::Mul(sixth, hn::Sub(odd, w[2]));
    out[4] = hn::Mul(sixth, hn::MulAdd(two, even, w[0]));
    out[5] = hn::Mul(hn::Set(d, 1.0f / 3), hn::MulAdd(two, w[2], odd));
    out[6] = w[2];
  }

  static HWY_INLINE void results(const V (&m)[kProducts], V (&y)[kResults]) {
    const D d;
    const V two = hn::Set(d, 2.0f), four = hn::Set(d, 4.0f);
    const V even_sum = hn::Add(m[1], m[2]), odd_sum = hn::Add(m[1], m[3]);
    y[0] = hn::Add(hn::Add(m[0], m[4]), even_sum);
    y[1] = hn::Add(odd_sum, m[5]);
    y[2] = hn::MulAdd(two, m[4], hn::Sub(m[1], m[2]));
    y[3] = hn::MulAdd(two, m[5], hn::Sub(m[1], m[3]));
    y[4] = hn::MulAdd(four, m[4], even_sum);
    y[5] = hn::Add(hn::MulAdd(four, m[5], odd_sum), m[6]);
  }
};

// A vector of channels of a tile. Pixels are those of the first channel, `first` is that of the vector.
template <class Scheme, typename T, class Read>
HWY_INLINE void data_of(const T* const* pixels, int64_t first, Read read, float* HWY_RESTRICT out,
                        int64_t stride) {
  constexpr int kInputs = Scheme::kInputs, kData = Scheme::kData;
  const D d;
  V columns[kData][kInputs];
  for (int j = 0; j < kInputs; ++j) {
    V x[kInputs], t[kData];
    DARKROOM_UNROLL
    for (int i = 0; i < kInputs; ++i) {
      const T* pixel = pixels[i * kInputs + j];
      x[i] = pixel ? read(pixel + first) : hn::Zero(d);
    }
    Scheme::data(x, t);
    DARKROOM_UNROLL
    for (int i = 0; i < kData; ++i) columns[i][j] = t[i];
  }
  for (int i = 0; i < kData; ++i) {
    V t[kData];
    Scheme::data(columns[i], t);
    float* HWY_RESTRICT to = out + i * kData * stride + first;
    DARKROOM_UNROLL
    for (int j = 0; j < kData; ++j) hn::StoreU(t[j], d, to + j * stride);
  }
}

template <class Scheme, typename T>
HWY_INLINE void data_of_channels(const T* const* pixels, int64_t channels, float* out, int64_t stride) {
  int64_t c = 0;
  for (; c + kLanes <= channels; c += kLanes) data_of<Scheme>(pixels, c, ReadWhole(), out, stride);
  if (c < channels) data_of<Scheme>(pixels, c, ReadPart{channels - c}, out, stride);
}

template <class Scheme>
void transform_data(DType dtype, const void* const* pixels, int64_t channels, float* out, int64_t stride) {
  if (dtype == DType::kF32) {
    data_of_channels<Scheme>(reinterpret_cast<const float* const*>(pixels), channels, out, stride);
  } else {
    data_of_channels<Scheme>(reinterpret_cast<const BFloat16* const*>(pixels), channels, out, stride);
  }
}

template <class Scheme>
void transform_weights(const float* taps, int64_t channels, float* out, int64_t stride) {
  constexpr int kProducts = Scheme::kProducts;
  const D d;
  for (int64_t i = 0; i < 2 * channels; ++i) {  // two vectors are a row of a strip
    const float* from = taps + i / 2 * 9 * kCols + i % 2 * kLanes;
    float* to = out + i * kLanes;
    V columns[kProducts][3];
    for (int x = 0; x < 3; ++x) {
      const V w[3] = {hn::Load(d, from + x * kCols), hn::Load(d, from + (3 + x) * kCols),
                      hn::Load(d, from + (6 + x) * kCols)};
      V t[kProducts];
      Scheme::weights(w, t);
      DARKROOM_UNROLL
      for (int p = 0; p < kProducts; ++p) columns[p][x] = t[p];
    }
    for (int p = 0; p < kProducts; ++p) {
      V t[kProducts];
      Scheme::weights(columns[p], t);
      DARKROOM_UNROLL
      for (int q = 0; q < kProducts; ++q) hn::Store(t[q], d, to + (p * kProducts + q) * stride);
    }
  }
}

template <class Scheme, typename T>
HWY_INLINE void results_of(const WinogradResults& r) {
  constexpr int kProducts = Scheme::kProducts, kResults = Scheme::kResults;
  const D d;
  for (int64_t c = 0; c < r.channels; c += kLanes) {
    V columns[kResults][kProducts];
    for (int j = 0; j < kProducts; ++j) {
      V m[kProducts], y[kResults];
      DARKROOM_UNROLL
      for (int i = 0; i < kProducts; ++i) {
        m[i] = hn::LoadU(d, r.sums + (i * kProducts + j) * r.sums_stride + c);
      }
      Scheme::results(m, y);
      DARKROOM_UNROLL
      for (int i = 0; i < kResults; ++i) columns[i][j] = y[i];
    }
    const int64_t whole = r.channels - c;
    const auto finish = [&](int64_t i, auto read, auto write) HWY_ATTR {
      V y[kResults];
      Scheme::results(columns[i], y);
      const V bias = r.bias ? read(r.bias + c) : hn::Zero(d);
      DARKROOM_UNROLL
      for (int j = 0; j < kResults; ++j) {
        if (j >= r.cols) continue;
        const int64_t at = i * r.row_stride + j * r.pixel_stride + c;
        V v = hn::Add(y[j], bias);
        if (r.residual) v = hn::Add(v, read(static_cast<const T*>(r.residual) + at));
        write(v, static_cast<T*>(r.out) + at);
      }
    };
    for (int64_t i = r.first_row; i < r.end_row; ++i) {
      if (whole >= kLanes) {
        finish(i, ReadWhole(), [](V v, T* to) HWY_ATTR { store(v, to); });
      } else {
        finish(i, ReadPart{whole}, [whole](V v, T* to) HWY_ATTR { store_part(v, to, whole); });
      }
    }
  }
}

template <class Scheme>
void transform_results(const WinogradResults& r) {
  if (r.dtype == DType::kF32) {
    results_of<Scheme, float>(r);
  } else {
    results_of<Scheme, BFloat16>(r);
  }
}

template <class Scheme>
WinogradKernels winograd_kernels() {
  static_assert(Scheme::kResults == kWinogradTile);
  return {Scheme::kInputs,          Scheme::kData,          Scheme::kProducts,
          Scheme::kDataOf,          transform_data<Scheme>, transform_weights<Scheme>,
          transform_results<Scheme>};
}

void set_winograd_kernels(KernelTable& table) {
  table.winograd = winograd_kernels<Plain>();
  table.winograd_upsampled = winograd_kernels<Upsampled>();
}

}  // namespace darkroom::cpu::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace darkroom::cpu {
void add_winograd_kernels(CpuIsa isa, KernelTable& table) {
  DARKROOM_FOR_ISA(isa, set_winograd_kernels(table));
}
}  // namespace darkroom::cpu
#endif
