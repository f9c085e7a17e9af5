// Everything that runs along rows at the speed of memory: conversions, sums, activations and norms.
#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "backends/cpu/row_kernels.cc"
#include <hwy/foreach_target.h>
// After foreach_target.h, as Highway wants it.
#include <hwy/highway.h>

#include <algorithm>
#include <cmath>

#include "backends/cpu/kernels.h"
#include "backends/cpu/vec-inl.h"

HWY_BEFORE_NAMESPACE();
namespace darkroom::cpu::HWY_NAMESPACE {

void convert(DType in_dtype, const void* in_any, DType out_dtype, void* out_any, int64_t count) {
  with_type(in_dtype, in_any, [&](const auto* in) HWY_ATTR {
    with_activation_type(out_dtype, out_any, [&](auto* out) HWY_ATTR {
      map(count, out, [&](int64_t i, auto read) HWY_ATTR { return read(in + i); });
    });
  });
}

void add(DType dtype, const void* x_any, float y_scale, const void* y_any, float z_scale, const void* z_any,
         void* out_any, int64_t count) {
  const V by_y = hn::Set(D(), y_scale), by_z = hn::Set(D(), z_scale);
  with_activation_type(dtype, out_any, [&](auto* out) HWY_ATTR {
    using T = std::remove_pointer_t<decltype(out)>;
    const T *x = static_cast<const T*>(x_any), *y = static_cast<const T*>(y_any),
            *z = static_cast<const T*>(z_any);
    map(count, out, [&](int64_t i, auto read) HWY_ATTR {
      const V v = hn::MulAdd(by_y, read(y + i), read(x + i));
      return z ? hn::MulAdd(by_z, read(z + i), v) : v;
    });
  });
}

void distances(DType dtype, const void* x_any, const void* y_any, int64_t count, float* out) {
  with_activation_type(dtype, const_cast<void*>(x_any), [&](const auto* x) HWY_ATTR {
    const auto* y = static_cast<decltype(x)>(y_any);
    V difference = hn::Zero(D()), size = hn::Zero(D());
    const auto step = [&](int64_t i, auto read) HWY_ATTR {
      const V b = read(y + i);
      difference = hn::Add(difference, hn::Abs(hn::Sub(read(x + i), b)));
      size = hn::Add(size, hn::Abs(b));
    };
    int64_t i = 0;
    for (; i + kLanes <= count; i += kLanes) step(i, ReadWhole());
    if (i < count) step(i, ReadPart{count - i});
    out[0] = hn::GetLane(hn::SumOfLanes(D(), difference));
    out[1] = hn::GetLane(hn::SumOfLanes(D(), size));
  });
}

void activate(DType dtype, Activation activation, const void* x_any, void* out_any, int64_t count) {
  with_activation_type(dtype, out_any, [&](auto* out) HWY_ATTR {
    const auto* x = static_cast<const std::remove_pointer_t<decltype(out)>*>(x_any);
    map(count, out, [&](int64_t i, auto read) HWY_ATTR { return activation_of(activation, read(x + i)); });
  });
}

void gated_gelu(DType dtype, const void* gate_any, const void* up_any, void* out_any, int64_t count) {
  with_activation_type(dtype, out_any, [&](auto* out) HWY_ATTR {
    using T = std::remove_pointer_t<decltype(out)>;
    const T *gate = static_cast<const T*>(gate_any), *up = static_cast<const T*>(up_any);
    map(count, out,
        [&](int64_t i, auto read) HWY_ATTR { return hn::Mul(gelu_tanh(read(gate + i)), read(up + i)); });
  });
}

// Σ f(x[i]) for vectors x. Four sums, as an addition waits for the one before it; in f32 lane by lane, and
// across lanes in f64.
template <typename T, typename F>
HWY_INLINE double sum_of(const T* x, int64_t count, F f) {
  const D d;
  V sums[4] = {hn::Zero(d), hn::Zero(d), hn::Zero(d), hn::Zero(d)};
  int64_t i = 0;
  for (; i + 4 * kLanes <= count; i += 4 * kLanes) {
    DARKROOM_UNROLL
    for (int j = 0; j < 4; ++j) sums[j] = hn::Add(sums[j], f(load(x + i + j * kLanes)));
  }
  for (; i + kLanes <= count; i += kLanes) sums[0] = hn::Add(sums[0], f(load(x + i)));
  if (i < count) {
    const auto mask = hn::FirstN(d, static_cast<std::size_t>(count - i));
    sums[0] = hn::Add(sums[0], hn::IfThenElseZero(mask, f(load_part(x + i, count - i))));
  }
  double total = 0;
  for (const V& sum : sums) {
    float lanes[kLanes];
    store(sum, lanes);
    for (const float lane : lanes) total += static_cast<double>(lane);
  }
  return total;
}

struct RowMoments {
  float mean, inverse;  // 0 if not centred; 1/√(variance + epsilon)
};

// The variance is taken around the mean, in a second pass over a row that is in cache by then.
template <typename T>
HWY_INLINE RowMoments row_moments(const T* x, int64_t count, bool centred, float epsilon) {
  const double n = static_cast<double>(count);
  const float mean =
      centred ? static_cast<float>(sum_of(x, count, [](V v) HWY_ATTR { return v; }) / n) : 0.0f;
  const V m = hn::Set(D(), mean);
  const double squares = sum_of(x, count, [&](V v) HWY_ATTR {
    const V difference = hn::Sub(v, m);
    return hn::Mul(difference, difference);
  });
  return {mean, static_cast<float>(1.0 / std::sqrt(squares / n + static_cast<double>(epsilon)))};
}

void normalise(DType dtype, const void* x_any, void* out_any, int64_t count, bool centred, float epsilon,
               const float* weight, const float* bias) {
  with_activation_type(dtype, out_any, [&](auto* out) HWY_ATTR {
    const auto* x = static_cast<const std::remove_pointer_t<decltype(out)>*>(x_any);
    const RowMoments moments = row_moments(x, count, centred, epsilon);
    const V m = hn::Set(D(), moments.mean), s = hn::Set(D(), moments.inverse);
    map(count, out, [&](int64_t i, auto read) HWY_ATTR {
      const V v = hn::Mul(hn::Sub(read(x + i), m), s);
      return bias ? hn::MulAdd(v, read(weight + i), read(bias + i)) : hn::Mul(v, read(weight + i));
    });
  });
}

// Rotates pairs (even, odd) that lie side by side. Scalar code: at the speed of memory anyway.
HWY_INLINE void rotate_pairs(float* values, int64_t pairs, const float* cos, const float* sin) {
  for (int64_t j = 0; j < pairs; ++j) {
    const float even = values[2 * j], odd = values[2 * j + 1];
    values[2 * j] = even * cos[j] - odd * sin[j];
    values[2 * j + 1] = odd * cos[j] + even * sin[j];
  }
}

void norm_rope(DType dtype, void* x_any, int64_t heads, int64_t head_dim, float epsilon, const float* weight,
               const float* cos, const float* sin) {
  constexpr int64_t kChunk = 128;  // even; a head may be longer
  with_activation_type(dtype, x_any, [&](auto* x) HWY_ATTR {
    float normed[kChunk];
    for (int64_t head = 0; head < heads; ++head, x += head_dim) {
      const V s = hn::Set(D(), row_moments(x, head_dim, false, epsilon).inverse);
      for (int64_t first = 0; first < head_dim; first += kChunk) {
        const int64_t count = std::min(kChunk, head_dim - first);
        auto* values = x + first;
        map(count, normed, [&](int64_t i, auto read) HWY_ATTR {
          return hn::Mul(hn::Mul(read(values + i), s), read(weight + first + i));
        });
        rotate_pairs(normed, count / 2, cos + first / 2, sin + first / 2);
        map(count, values, [&](int64_t i, auto read) HWY_ATTR { return read(normed + i); });
      }
    }
  });
}

// One vector of channels over all pixels, so that the sums stay in registers; each line is read while it is
// hot.
template <typename T, typename Read>
HWY_INLINE void channel_moments(const T* x, int64_t pixels, int64_t stride, Read read, V& k, V& sum,
                                V& squares) {
  k = read(x);
  sum = squares = hn::Zero(D());
  for (int64_t p = 0; p < pixels; ++p, x += stride) {
    const V v = hn::Sub(read(x), k);
    sum = hn::Add(sum, v);
    squares = hn::MulAdd(v, v, squares);
  }
}

void moments(DType dtype, const void* x_any, int64_t pixels, int64_t channels, float* first, float* sum,
             float* squares) {
  with_type(dtype, x_any, [&](const auto* x) HWY_ATTR {
    V k, s, q;
    int64_t c = 0;
    for (; c + kLanes <= channels; c += kLanes) {
      channel_moments(x + c, pixels, channels, ReadWhole(), k, s, q);
      store(k, first + c);
      store(s, sum + c);
      store(q, squares + c);
    }
    if (const int64_t n = channels - c; n > 0) {
      channel_moments(x + c, pixels, channels, ReadPart{n}, k, s, q);
      store_part(k, first + c, n);
      store_part(s, sum + c, n);
      store_part(q, squares + c, n);
    }
  });
}

void scale_channels(DType dtype, const void* x_any, void* out_any, int64_t pixels, int64_t channels,
                    const float* mean, const float* weight, const float* bias, bool silu) {
  with_activation_type(dtype, out_any, [&](auto* out) HWY_ATTR {
    const auto* x = static_cast<const std::remove_pointer_t<decltype(out)>*>(x_any);
    for (int64_t p = 0; p < pixels; ++p, x += channels, out += channels) {
      map(channels, out, [&](int64_t i, auto read) HWY_ATTR {
        const V v = hn::MulAdd(hn::Sub(read(x + i), read(mean + i)), read(weight + i), read(bias + i));
        return silu ? gated_by_sigmoid(v, v) : v;
      });
    }
  });
}

void set_row_kernels(KernelTable& table) {
  table.convert = convert;
  table.add = add;
  table.distances = distances;
  table.activate = activate;
  table.gated_gelu = gated_gelu;
  table.normalise = normalise;
  table.norm_rope = norm_rope;
  table.moments = moments;
  table.scale_channels = scale_channels;
}

}  // namespace darkroom::cpu::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace darkroom::cpu {
void add_row_kernels(CpuIsa isa, KernelTable& table) { DARKROOM_FOR_ISA(isa, set_row_kernels(table)); }
}  // namespace darkroom::cpu
#endif
