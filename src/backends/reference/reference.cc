#include "backends/reference/reference.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <vector>

#include "backends/reference/int8_attention.h"
#include "base/half.h"
#include "tensor/blocks.h"

namespace darkroom {
namespace {

using Floats = std::vector<float>;

// All elements of a tensor as they are stored, as f32, row by row.
Floats load(const Tensor& t) {
  Floats out(static_cast<std::size_t>(t.shape.numel()));
  if (is_block(t.dtype)) {
    for (int64_t r = 0; r < t.rows(); ++r) {
      dequantize_blocks(t.dtype, t.row_data(r), t.cols(), out.data() + r * t.cols());
    }
    return out;
  }
  dispatch_matrix_storage(t.dtype, [&]<typename T>() {
    std::size_t i = 0;
    for (int64_t r = 0; r < t.rows(); ++r) {
      for (int64_t c = 0; c < t.cols(); ++c) out[i++] = to_float(t.row<T>(r)[c]);
    }
  });
  return out;
}

void store(const Floats& values, const Tensor& t) {
  std::size_t i = 0;
  for (int64_t r = 0; r < t.rows(); ++r) {
    for (int64_t c = 0; c < t.cols(); ++c) {
      const float v = values[i++];
      if (t.dtype == DType::kF32) t.row<float>(r)[c] = v;
      if (t.dtype == DType::kBF16) t.row<BFloat16>(r)[c] = to_bfloat16(v);
    }
  }
}

float activate_one(float x, Activation activation) {
  switch (activation) {
    case Activation::kNone:
      return x;
    case Activation::kGeluTanh:
      return 0.5f * x * (1.0f + std::tanh(0.7978845608028654f * (x + 0.044715f * x * x * x)));
    case Activation::kQuickGelu:
      return x / (1.0f + std::exp(-1.702f * x));
    case Activation::kSilu:
      return x / (1.0f + std::exp(-x));
    case Activation::kRelu:
      return x < 0 ? 0.0f : x;
  }
  return x;
}

// Index helper for row-major matrices.
std::size_t at(int64_t row, int64_t col, int64_t cols) { return static_cast<std::size_t>(row * cols + col); }

// Row i of quantised activations times row j of i8 weights, without the weights' scale.
float sum_of_runs(const Tensor& x, int64_t i, const Tensor& w, int64_t j) {
  const int64_t runs = x.scales_per_row(), run = x.scale_cols == 0 ? x.cols() : x.scale_cols;
  float total = 0;
  for (int64_t r = 0; r < runs; ++r) {
    int32_t sum = 0;
    for (int64_t p = r * run; p < std::min(x.cols(), (r + 1) * run); ++p) {
      sum += int32_t{x.row<int8_t>(i)[p]} * w.row<int8_t>(j)[p];
    }
    total += static_cast<float>(sum) * x.scales[i * runs + r];
  }
  return total;
}

// What the levels of weights promise.
void check_levels(const Tensor& w) {
  if (w.levels == 0) return;
  for (int64_t r = 0; r < w.rows(); ++r) {
    for (int64_t c = 0; c < w.cols(); ++c) {
      require(std::abs(int{w.row<int8_t>(r)[c]}) <= w.levels, ErrorCode::kFailure,
              "linear: weight {} has numbers beyond ±{}, its levels, in row {}", w, w.levels, r);
    }
  }
}

class ReferenceBackend final : public Backend {
 public:
  std::string name() const override { return "reference"; }
  Device device() const override { return Device::kHost; }

  void linear(const LinearArgs& a) override {
    const int64_t m = a.x.rows(), k = a.x.cols(), n = a.out.cols();
    if (a.x.dtype == DType::kI8) check_levels(a.weight);
    const Floats x = load(a.x), w = load(a.weight), bias = load(a.bias), gate = load(a.gate),
                 residual = load(a.residual), hidden = load(a.lora_hidden), up = load(a.lora_up);
    const int64_t rank = a.lora_up.present() ? a.lora_up.cols() : 0;
    Floats out(static_cast<std::size_t>(m * n));
    for (int64_t i = 0; i < m; ++i) {
      for (int64_t j = 0; j < n; ++j) {
        double sum = 0;
        if (a.x.dtype == DType::kI8) {
          sum = static_cast<double>(sum_of_runs(a.x, i, a.weight, j));
        } else {
          for (int64_t p = 0; p < k; ++p) sum += static_cast<double>(x[at(i, p, k)]) * w[at(j, p, k)];
        }
        if (a.weight.scale_count > 0) sum *= a.weight.scales[a.weight.scale_count == 1 ? 0 : j];
        for (int64_t p = 0; p < rank; ++p)
          sum += static_cast<double>(hidden[at(i, p, rank)]) * up[at(j, p, rank)];
        float y = static_cast<float>(sum);
        if (a.bias.present()) y += bias[at(0, j, n)];
        y = activate_one(y, a.activation);
        if (a.gate.present()) y *= gate[at(0, j, n)];
        if (a.residual.present()) y += residual[at(i, j, n)];
        out[at(i, j, n)] = y;
      }
    }
    store(out, a.out);
  }

  void quantize_rows(const QuantizeRowsArgs& a) override {
    Floats x = load(a.x);
    const int64_t cols = a.x.cols();
    const float levels = static_cast<float>(a.out.levels);
    if (a.smooth.present()) {
      const Floats smooth = load(a.smooth);
      for (std::size_t i = 0; i < x.size(); ++i) x[i] *= smooth[i % smooth.size()];
    }
    for (int64_t r = 0; r < a.x.rows(); ++r) {
      for (int64_t first = 0; first < cols; first += a.group) {
        const float* values = &x[at(r, first, cols)];
        const int64_t count = std::min(a.group, cols - first);
        float largest = 0;
        for (int64_t c = 0; c < count; ++c) {
          if (!std::isfinite(values[c])) fail_not_finite(a.x, r);
          largest = std::max(largest, std::fabs(values[c]));
        }
        const float scale = largest < kLeastQuantised ? 1.0f : largest / levels, inverse = 1.0f / scale;
        a.scales.row<float>(r)[first / a.group] = scale;
        for (int64_t c = 0; c < count; ++c) {
          a.out.row<int8_t>(r)[first + c] = static_cast<int8_t>(std::nearbyintf(values[c] * inverse));
        }
      }
    }
  }

  void layer_norm(const LayerNormArgs& a) override {
    const Floats weight = load(a.weight), bias = load(a.bias);
    normalise_rows(a.x, a.out, a.epsilon, true,
                   [&](float v, std::size_t c) { return v * weight[c] + bias[c]; });
  }

  void norm_modulate(const NormModulateArgs& a) override {
    const Floats scale = load(a.scale), shift = load(a.shift);
    normalise_rows(a.x, a.out, a.epsilon, true,
                   [&](float v, std::size_t c) { return v * (1.0f + scale[c]) + shift[c]; });
  }

  void rms_norm(const RmsNormArgs& a) override {
    const Floats weight = load(a.weight);
    normalise_rows(a.x, a.out, a.epsilon, false, [&](float v, std::size_t c) { return v * weight[c]; });
  }

  void qk_norm_rope(const QkNormRopeArgs& a) override {
    Floats x = load(a.x);
    const Floats weight = load(a.weight), cos = load(a.cos), sin = load(a.sin);
    const int64_t d = a.weight.shape.numel(), cols = a.x.cols();
    for (int64_t r = 0; r < a.x.rows(); ++r) {
      for (int64_t first = 0; first < cols; first += d) {
        float* head = &x[at(r, first, cols)];
        double squares = 0;
        for (int64_t c = 0; c < d; ++c) squares += static_cast<double>(head[c]) * head[c];
        const float inverse =
            1.0f / std::sqrt(static_cast<float>(squares / static_cast<double>(d)) + a.epsilon);
        for (int64_t c = 0; c < d; ++c) head[c] *= inverse * weight[static_cast<std::size_t>(c)];
        for (int64_t j = 0; j < d / 2; ++j) {
          const float co = cos[at(r, j, d / 2)], si = sin[at(r, j, d / 2)];
          const float even = head[2 * j], odd = head[2 * j + 1];
          head[2 * j] = even * co - odd * si;
          head[2 * j + 1] = odd * co + even * si;
        }
      }
    }
    store(x, a.x);
  }

  void attention(const AttentionArgs& a) override {
    if (a.int8_memory.present())
      return store(reference::int8_attention(a, load(a.q), load(a.k), load(a.v)), a.out);
    const int64_t lq = a.q.rows(), lk = a.k.rows(), width = a.q.cols(), d = width / a.heads;
    const Floats q = load(a.q), k = load(a.k), v = load(a.v), bias = load(a.relative_bias);
    Floats out(static_cast<std::size_t>(lq * width)), scores(static_cast<std::size_t>(lk)),
        state = load(a.state);
    const int64_t state_width = width + 2 * a.heads;
    for (int64_t h = 0; h < a.heads; ++h) {
      for (int64_t i = 0; i < lq; ++i) {
        const int64_t keys = a.causal ? std::min(i + 1, lk) : lk;
        float* before = a.state.present() ? &state[at(i, h * (d + 2), state_width)] : nullptr;
        float largest = a.first ? -std::numeric_limits<float>::infinity() : before[d];
        for (int64_t j = 0; j < keys; ++j) {
          double dot = 0;
          for (int64_t c = 0; c < d; ++c) {
            dot += static_cast<double>(q[at(i, h * d + c, width)]) * k[at(j, h * d + c, width)];
          }
          float score = static_cast<float>(dot) * a.scale;
          if (a.relative_bias.present()) score += bias[at(h, j - i + lq - 1, lq + lk - 1)];
          scores[static_cast<std::size_t>(j)] = score;
          largest = std::max(largest, score);
        }
        const double correction = a.first ? 0 : std::exp(static_cast<double>(before[d]) - largest);
        double total = a.first ? 0 : before[d + 1] * correction;
        for (int64_t j = 0; j < keys; ++j) {
          float& s = scores[static_cast<std::size_t>(j)];
          s = std::exp(s - largest);
          total += s;
        }
        for (int64_t c = 0; c < d; ++c) {
          double sum = a.first ? 0 : before[c] * correction;
          for (int64_t j = 0; j < keys; ++j) {
            sum += static_cast<double>(scores[static_cast<std::size_t>(j)]) * v[at(j, h * d + c, width)];
          }
          if (!a.last) before[c] = static_cast<float>(sum);
          out[at(i, h * d + c, width)] = static_cast<float>(sum / total);
        }
        if (!a.last) {
          before[d] = largest;
          before[d + 1] = static_cast<float>(total);
        }
      }
    }
    a.last ? store(out, a.out) : store(state, a.state);
  }

  void gated_gelu(const GatedGeluArgs& a) override {
    Floats gate = load(a.gate);
    const Floats up = load(a.up);
    for (std::size_t i = 0; i < gate.size(); ++i)
      gate[i] = activate_one(gate[i], Activation::kGeluTanh) * up[i];
    store(gate, a.out);
  }

  void add(const AddArgs& a) override {
    Floats x = load(a.x);
    const Floats y = load(a.y), z = a.z.present() ? load(a.z) : Floats();
    for (std::size_t i = 0; i < x.size(); ++i) {
      x[i] = std::fma(a.y_scale, y[i], x[i]);
      if (!z.empty()) x[i] = std::fma(a.z_scale, z[i], x[i]);
    }
    store(x, a.out);
  }

  void column_magnitudes(const ColumnMagnitudesArgs& a) override {
    const Floats x = load(a.x);
    Floats out = load(a.out);
    const std::size_t cols = static_cast<std::size_t>(a.x.cols());
    for (std::size_t i = 0; i < x.size(); ++i) {
      if (!std::isfinite(x[i])) fail_not_finite(a.x, static_cast<int64_t>(i / cols));
      float& largest = out[i % cols];
      largest = std::max(largest, std::fabs(x[i]));
      out[cols + i % cols] += x[i] * x[i];
    }
    store(out, a.out);
  }

  void row_distances(const RowDistancesArgs& a) override {
    const Floats x = load(a.x), y = load(a.y);
    const std::size_t cols = static_cast<std::size_t>(a.x.cols());
    Floats sums(x.size() / cols * 2);
    for (std::size_t row = 0; row < x.size() / cols; ++row) {
      double difference = 0, size = 0;
      for (std::size_t i = row * cols; i < (row + 1) * cols; ++i) {
        difference += std::fabs(static_cast<double>(x[i] - y[i]));
        size += std::fabs(static_cast<double>(y[i]));
      }
      sums[2 * row] = static_cast<float>(difference);
      sums[2 * row + 1] = static_cast<float>(size);
    }
    store(sums, a.out);
  }

  void activate(const ActivateArgs& a) override {
    Floats x = load(a.x);
    for (float& value : x) value = activate_one(value, a.activation);
    store(x, a.out);
  }

  void embed(const EmbedArgs& a) override {
    for (std::size_t i = 0; i < a.ids.size(); ++i) {
      store(load(a.table.slice_rows(a.ids[i], 1)), a.out.slice_rows(static_cast<int64_t>(i), 1));
    }
  }

  void row_moments(const RowMomentsArgs& a) override {
    const Floats x = load(a.x);
    const int64_t channels = a.x.cols(), pixels = a.x.shape[1], size = channels / a.groups;
    Floats out(static_cast<std::size_t>(a.out.shape.numel()));
    for (int64_t y = 0; y < a.x.shape[0]; ++y) {
      for (int64_t g = 0; g < a.groups; ++g) {
        const auto sum_over = [&](auto f) {
          double sum = 0;
          for (int64_t p = y * pixels; p < (y + 1) * pixels; ++p) {
            for (int64_t c = g * size; c < (g + 1) * size; ++c)
              sum += f(static_cast<double>(x[at(p, c, channels)]));
          }
          return sum;
        };
        const double mean = sum_over([](double v) { return v; }) / static_cast<double>(pixels * size);
        out[at(y, g, 2 * a.groups)] = static_cast<float>(mean);
        out[at(y, a.groups + g, 2 * a.groups)] =
            static_cast<float>(sum_over([&](double v) { return (v - mean) * (v - mean); }));
      }
    }
    store(out, a.out);
  }

  void group_statistics(const GroupStatisticsArgs& a) override {
    const Floats moments = load(a.moments);
    const int64_t rows = a.moments.rows(), groups = a.moments.cols() / 2;
    const double count = static_cast<double>(a.count);
    Floats out(static_cast<std::size_t>(2 * groups));
    for (int64_t g = 0; g < groups; ++g) {
      double mean = 0, squares = 0;
      for (int64_t y = 0; y < rows; ++y) mean += moments[at(y, g, 2 * groups)] / static_cast<double>(rows);
      for (int64_t y = 0; y < rows; ++y) {
        squares += moments[at(y, groups + g, 2 * groups)] +
                   count * std::pow(moments[at(y, g, 2 * groups)] - mean, 2);
      }
      out[at(0, g, groups)] = static_cast<float>(mean);
      out[at(1, g, groups)] = static_cast<float>(
          1.0 / std::sqrt(squares / (count * static_cast<double>(rows)) + static_cast<double>(a.epsilon)));
    }
    store(out, a.out);
  }

  void group_norm(const GroupNormArgs& a) override {
    Floats x = load(a.x);
    const Floats statistics = load(a.statistics), weight = load(a.weight), bias = load(a.bias);
    const int64_t channels = a.x.cols(), groups = a.statistics.cols(), size = channels / groups;
    for (int64_t p = 0; p < a.x.rows(); ++p) {
      for (int64_t c = 0; c < channels; ++c) {
        const std::size_t i = static_cast<std::size_t>(c);
        const float mean = statistics[at(0, c / size, groups)], inverse = statistics[at(1, c / size, groups)];
        float& value = x[at(p, c, channels)];
        value = (value - mean) * inverse * weight[i] + bias[i];
        if (a.silu) value = activate_one(value, Activation::kSilu);
      }
    }
    store(x, a.out);
  }

  void conv2d(const Conv2dArgs& a) override {
    const Floats x = load(a.x), w = load(a.weight), bias = load(a.bias), residual = load(a.residual);
    const int64_t u = a.upsample, d = a.downsample, co = a.out.shape[2];
    const int64_t height = a.x.shape[0] * u, width = a.x.shape[1] * u, columns = a.out.shape[1];
    const int64_t ci = a.x.shape[2], kh = a.weight.shape[2], kw = a.weight.shape[3];
    Floats out(static_cast<std::size_t>(a.out.shape.numel()));
    for (int64_t row = 0; row < a.out.shape[0]; ++row) {
      for (int64_t column = 0; column < columns; ++column) {
        const int64_t y = (row + a.first_row) * d + d - 1, z = column * d + d - 1;
        for (int64_t o = 0; o < co; ++o) {
          double sum = 0;
          for (int64_t i = 0; i < kh; ++i) {
            for (int64_t j = 0; j < kw; ++j) {
              const int64_t py = y + i - (kh - 1) / 2, pz = z + j - (kw - 1) / 2;
              if (py < 0 || py >= height || pz < 0 || pz >= width) continue;
              for (int64_t c = 0; c < ci; ++c) {
                sum += static_cast<double>(x[at((py / u) * (width / u) + pz / u, c, ci)]) *
                       w[static_cast<std::size_t>(((o * ci + c) * kh + i) * kw + j)];
              }
            }
          }
          const std::size_t index = at(row * columns + column, o, co);
          float value = static_cast<float>(sum);
          if (a.bias.present()) value += bias[static_cast<std::size_t>(o)];
          if (a.residual.present()) value += residual[index];
          out[index] = value;
        }
      }
    }
    store(out, a.out);
  }

  void convert(const ConvertArgs& a) override { store(load(a.x), a.out); }
  void upload(std::span<const float> host, const Tensor& out) override {
    store({host.begin(), host.end()}, out);
  }
  void download(const Tensor& x, std::span<float> host) override { std::ranges::copy(load(x), host.begin()); }

 private:
  // Each row less its mean (if centred), over its root mean square, then finish(value, column).
  template <typename Finish>
  static void normalise_rows(const Tensor& x_tensor, const Tensor& out, float epsilon, bool centred,
                             Finish finish) {
    Floats x = load(x_tensor);
    const int64_t cols = x_tensor.cols();
    for (int64_t r = 0; r < x_tensor.rows(); ++r) {
      float* row = &x[at(r, 0, cols)];
      double mean = 0, squares = 0;
      if (centred) {
        for (int64_t c = 0; c < cols; ++c) mean += row[c];
        mean /= static_cast<double>(cols);
      }
      for (int64_t c = 0; c < cols; ++c) squares += (row[c] - mean) * (row[c] - mean);
      const double inverse =
          1.0 / std::sqrt(squares / static_cast<double>(cols) + static_cast<double>(epsilon));
      for (int64_t c = 0; c < cols; ++c) {
        row[c] = finish(static_cast<float>((row[c] - mean) * inverse), static_cast<std::size_t>(c));
      }
    }
    store(x, out);
  }
};

}  // namespace

std::unique_ptr<Backend> make_reference_backend() { return std::make_unique<ReferenceBackend>(); }

}  // namespace darkroom
