#include "calibrate/bounds.h"

#include <algorithm>

#include "base/error.h"
#include "calibrate/matrix_rows.h"
#include "weights/smoothing.h"

namespace darkroom {
namespace {

// Means and squared deviations of an input's channels, [steps, D] each.
struct Moments {
  std::vector<double> mean, variance;
};

Moments moments_of(const flux::ModulatedInput& input, std::span<const float> modulation, int64_t width,
                   int64_t d) {
  Moments out;
  for (std::size_t row = 0; row < modulation.size(); row += static_cast<std::size_t>(width)) {
    for (int64_t c = 0; c < d; ++c) {
      const std::size_t at = row + static_cast<std::size_t>(c);
      const double scale = 1 + static_cast<double>(modulation[at + static_cast<std::size_t>(input.scale)]);
      out.mean.push_back(static_cast<double>(modulation[at + static_cast<std::size_t>(input.shift)]));
      out.variance.push_back(scale * scale);
    }
  }
  return out;
}

// Mean over steps of mean² + variance.
std::vector<float> mean_squares(const Moments& moments, std::size_t channels) {
  std::vector<double> sums(channels);
  for (std::size_t i = 0; i < moments.mean.size(); ++i)
    sums[i % channels] += moments.mean[i] * moments.mean[i] + moments.variance[i];
  const double steps = static_cast<double>(moments.mean.size() / channels);
  std::vector<float> out;
  for (const double sum : sums) out.push_back(static_cast<float>(sum / steps));
  return out;
}

// What a linear layer makes of the input, its channels taken as independent: a row at a time.
Moments through(WeightSource& source, const Param& weight, const std::vector<float>& bias, const Moments& in,
                const std::atomic<bool>& cancel) {
  const std::size_t d = static_cast<std::size_t>(weight.cols()), steps = in.mean.size() / d;
  const std::size_t rows = static_cast<std::size_t>(weight.shape[0]);
  Moments out{std::vector<double>(steps * rows), std::vector<double>(steps * rows)};
  for_matrix_rows(source, weight, cancel, [&](int64_t row, std::span<const float> w) {
    const std::size_t r = static_cast<std::size_t>(row);
    for (std::size_t s = 0; s < steps; ++s) {
      double mean = bias.empty() ? 0 : static_cast<double>(bias[r]), variance = 0;
      for (std::size_t c = 0; c < d; ++c) {
        const double factor = static_cast<double>(w[c]);
        mean += factor * in.mean[s * d + c];
        variance += factor * factor * in.variance[s * d + c];
      }
      out.mean[s * rows + r] = mean;
      out.variance[s * rows + r] = variance;
    }
  });
  return out;
}

// Of a model's transformer, by name.
std::map<std::string, Param> params_of(const Checkpoint& model) {
  std::map<std::string, Param> out;
  model.visit(Part::kTransformer, [&](const Param& param, Tensor&) { out[param.name] = param; });
  return out;
}

void raise(std::vector<float>& to, const std::vector<float>& values) {
  for (std::size_t i = 0; i < values.size(); ++i) to[i] = std::max(to[i], values[i]);
}

}  // namespace

std::map<std::string, std::vector<float>> bound_squares(const Checkpoint& model,
                                                        std::span<const float> modulation,
                                                        const std::atomic<bool>& cancel) {
  const flux::Config& config = model.config().transformer;
  const int64_t d = config.inner_dim(), width = flux::modulation_width(config);
  const std::map<std::string, Param> params = params_of(model);
  const std::unique_ptr<WeightSource> source = model.open_weights(Part::kTransformer);
  std::map<std::string, std::vector<float>> out;
  for (const auto& [name, param] : params) {
    if (has_smoothed_input(param)) out[param.fed_by].resize(static_cast<std::size_t>(param.cols()));
  }
  for (const flux::ModulatedInput& input : flux::modulated_inputs(config)) {
    const Moments moments = moments_of(input, modulation, width, d);
    out.at(input.first) = mean_squares(moments, static_cast<std::size_t>(d));
    if (input.values.empty()) continue;
    const Param &weight = params.at(input.values + ".weight"), &bias = params.at(input.values + ".bias");
    const Moments values = through(*source, weight, read_vector(*source, bias), moments, cancel);
    // Attention mixes the values of both streams.
    for (const std::string& reader : input.attended)
      raise(out.at(reader), mean_squares(values, static_cast<std::size_t>(d)));
  }
  return out;
}

}  // namespace darkroom
