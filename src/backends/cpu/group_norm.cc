// group_norm: sums per channel over fixed chunks of pixels, each around the chunk's first value so that f32
// does not cancel, combined in f64 in the order of the chunks (Chan, Golub, LeVeque 1979). Two passes over
// the image.
#include <algorithm>
#include <cmath>

#include "backends/cpu/engine.h"

namespace darkroom::cpu {
namespace {

// Chunks depend on the image only; at most 256 of them.
struct Chunks {
  explicit Chunks(int64_t pixels_in)
      : pixels(pixels_in),
        size(std::max<int64_t>(64, ceil_div(pixels_in, 256))),
        count(ceil_div(pixels_in, size)) {}
  int64_t pixels_in(int64_t i) const { return std::min(size, pixels - i * size); }
  int64_t pixels, size, count;
};

struct Moments {
  double count = 0, mean = 0, squares = 0;  // squares: Σ(x − mean)²

  // n values whose sum around `first` is `sum` and whose squares around it add up to `sum_squares`.
  void add(double n, double first, double sum, double sum_squares) {
    const double shift = sum / n, delta = first + shift - mean;
    squares += sum_squares - n * shift * shift + delta * delta * count * n / (count + n);
    count += n;
    mean += delta * n / count;
  }
};

// sums: per chunk three rows of channels, as the kernel `moments` leaves them.
Moments combine(const float* sums, const Chunks& chunks, int64_t channels, int64_t first, int64_t size) {
  Moments m;
  for (int64_t i = 0; i < chunks.count; ++i) {
    for (int64_t c = first; c < first + size; ++c) {
      const float* at = sums + 3 * i * channels + c;
      m.add(static_cast<double>(chunks.pixels_in(i)), static_cast<double>(at[0]),
            static_cast<double>(at[channels]), static_cast<double>(at[2 * channels]));
    }
  }
  return m;
}

}  // namespace

void group_norm(Engine& engine, const GroupNormArgs& a) {
  const KernelTable& table = engine.kernels();
  const int64_t channels = a.x.cols(), pixels = a.x.rows(), size = channels / a.groups;
  if (pixels == 0 || channels == 0) return;
  const Chunks chunks(pixels);
  const std::size_t sums_bytes = Engine::shared_bytes(3 * chunks.count * channels);
  engine.reset_shared(sums_bytes + 4 * Engine::shared_bytes(channels));
  float* sums = static_cast<float*>(engine.take_shared(sums_bytes));
  engine.run(chunks.count, [&](int64_t i, int) {
    float* out = sums + 3 * i * channels;
    table.moments(a.x.dtype, element(a.x, i * chunks.size, 0), chunks.pixels_in(i), channels, out,
                  out + channels, out + 2 * channels);
  });
  const float* weight = engine.as_f32(a.weight);
  const float* bias = engine.as_f32(a.bias);
  float* mean = static_cast<float*>(engine.take_shared(Engine::shared_bytes(channels)));
  float* factor = static_cast<float*>(engine.take_shared(Engine::shared_bytes(channels)));
  for (int64_t first = 0; first < channels; first += size) {
    const Moments m = combine(sums, chunks, channels, first, size);
    const double variance = m.squares < 0 ? 0 : m.squares / m.count;  // written so that NaN stays NaN
    const double inverse = 1.0 / std::sqrt(variance + static_cast<double>(a.epsilon));
    for (int64_t c = first; c < first + size; ++c) {
      mean[c] = static_cast<float>(m.mean);
      factor[c] = static_cast<float>(inverse) * weight[c];
    }
  }
  engine.run_rows(pixels, channels, [&](int64_t first, int64_t last) {
    table.scale_channels(a.x.dtype, element(a.x, first, 0), mutable_element(a.out, first, 0), last - first,
                         channels, mean, factor, bias, a.silu);
  });
}

}  // namespace darkroom::cpu
