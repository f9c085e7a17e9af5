// GroupNorm in three parts. The moments of a row of pixels: sums per channel, each around the row's first
// value so that f32 does not cancel, combined in f64 channel by channel (Chan, Golub, LeVeque 1979); those of
// the rows are combined likewise, in their order.
#include <algorithm>
#include <cmath>

#include "backends/cpu/engine.h"

namespace darkroom::cpu {
namespace {

struct Moments {
  double count = 0, mean = 0, squares = 0;  // squares: Σ(x − mean)²

  // n values with this mean and these squares around it.
  void add(double n, double their_mean, double their_squares) {
    const double delta = their_mean - mean;
    squares += their_squares + delta * delta * count * n / (count + n);
    count += n;
    mean += delta * n / count;
  }
};

// sums: three rows of channels as the kernel `moments` leaves them for this many pixels.
Moments of_channels(const float* sums, int64_t channels, int64_t first, int64_t size, double pixels) {
  Moments m;
  for (int64_t c = first; c < first + size; ++c) {
    const double shift = static_cast<double>(sums[channels + c]) / pixels;
    m.add(pixels, static_cast<double>(sums[c]) + shift,
          static_cast<double>(sums[2 * channels + c]) - pixels * shift * shift);
  }
  return m;
}

}  // namespace

void row_moments(Engine& engine, const RowMomentsArgs& a) {
  const KernelTable& table = engine.kernels();
  const int64_t channels = a.x.cols(), pixels = a.x.shape[1], size = channels / a.groups;
  if (pixels == 0 || channels == 0) return;
  engine.reserve_scratch(static_cast<std::size_t>(3 * channels));
  engine.run(a.x.shape[0], [&](int64_t y, int worker) {
    float* sums = engine.scratch(worker);
    table.moments(a.x.dtype, element(a.x, y * pixels, 0), pixels, channels, sums, sums + channels,
                  sums + 2 * channels);
    float* out = a.out.row<float>(y);
    for (int64_t g = 0; g < a.groups; ++g) {
      const Moments m = of_channels(sums, channels, g * size, size, static_cast<double>(pixels));
      out[g] = static_cast<float>(m.mean);
      out[a.groups + g] = static_cast<float>(m.squares);
    }
  });
}

void group_statistics(Engine& engine, const GroupStatisticsArgs& a) {
  const int64_t groups = a.moments.cols() / 2, rows = a.moments.rows();
  if (rows == 0) return;
  engine.run(groups, [&](int64_t g, int) {
    Moments m;
    for (int64_t y = 0; y < rows; ++y) {
      const float* row = a.moments.row<float>(y);
      m.add(static_cast<double>(a.count), static_cast<double>(row[g]), static_cast<double>(row[groups + g]));
    }
    const double variance = m.squares < 0 ? 0 : m.squares / m.count;  // written so that NaN stays NaN
    a.out.row<float>(0)[g] = static_cast<float>(m.mean);
    a.out.row<float>(1)[g] = static_cast<float>(1.0 / std::sqrt(variance + static_cast<double>(a.epsilon)));
  });
}

void group_norm(Engine& engine, const GroupNormArgs& a) {
  const int64_t channels = a.x.cols(), pixels = a.x.rows(), size = channels / a.statistics.cols();
  if (pixels == 0 || channels == 0) return;
  engine.reset_shared(4 * Engine::shared_bytes(channels));
  const float* weight = engine.as_f32(a.weight);
  const float* bias = engine.as_f32(a.bias);
  float* mean = static_cast<float*>(engine.take_shared(Engine::shared_bytes(channels)));
  float* factor = static_cast<float*>(engine.take_shared(Engine::shared_bytes(channels)));
  for (int64_t c = 0; c < channels; ++c) {
    mean[c] = a.statistics.row<float>(0)[c / size];
    factor[c] = a.statistics.row<float>(1)[c / size] * weight[c];
  }
  engine.run_rows(pixels, channels, [&](int64_t first, int64_t last) {
    engine.kernels().scale_channels(a.x.dtype, element(a.x, first, 0), mutable_element(a.out, first, 0),
                                    last - first, channels, mean, factor, bias, a.silu);
  });
}

}  // namespace darkroom::cpu
