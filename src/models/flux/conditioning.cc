// What depends on time, guidance, the pooled text and positions, but not on the tokens.
#include <algorithm>
#include <cmath>

#include "models/flux/flux.h"

namespace darkroom::flux {
namespace {

constexpr int64_t kTimestepWidth = 256;
constexpr double kRopeTheta = 10000.0;

// The model multiplies by 1000 in the dtype of its hidden states, so bf16 rounds the product.
float times_1000(float value, DType dtype) {
  const auto round = [dtype](float x) { return dtype == DType::kBF16 ? round_to_bfloat16(x) : x; };
  return round(round(value) * 1000.0f);
}

// What the model is told: the timestep cast to the latents' dtype and divided by 1000 again, as the pipeline
// does it.
float model_time(float timestep, DType dtype) {
  const auto round = [dtype](float x) { return dtype == DType::kBF16 ? round_to_bfloat16(x) : x; };
  return round(round(timestep) / 1000.0f);
}

Tensor embed_scalars(const Context& ctx, const Mlp& w, std::span<const float> values) {
  std::vector<float> waves;
  for (const float value : ctx.counts_only() ? std::span<const float>() : values) {
    const std::vector<float> row = timestep_embedding(times_1000(value, ctx.activation), kTimestepWidth);
    waves.insert(waves.end(), row.begin(), row.end());
  }
  const Shape shape{static_cast<int64_t>(values.size()), kTimestepWidth};
  return mlp(ctx, ops::upload(ctx, waves, ctx.activation, shape), w, Activation::kSilu);
}

// silu(time + guidance + pooled) for every prompt and step: [prompts · steps, D].
Tensor conditioning(const Context& ctx, const Config& config, const Weights& weights,
                    std::span<const float> timesteps, std::span<const float> guidance, const Tensor& pooled) {
  std::vector<float> times;
  for (const float timestep : timesteps) times.push_back(model_time(timestep, ctx.activation));
  const int64_t steps = static_cast<int64_t>(times.size());
  const Tensor total = ctx.allocate({pooled.rows() * steps, config.inner_dim()});
  {
    const Arena::Scope scope(ctx.arena);
    const Tensor time = embed_scalars(ctx, weights.time, times);
    if (config.guidance_embeds) {
      require(guidance.size() == times.size(), ErrorCode::kFailure,
              "this model embeds guidance: {} values were given for {} steps", guidance.size(), times.size());
      Tensor vector;
      for (int64_t step = 0; step < steps; ++step) {
        const std::size_t i = static_cast<std::size_t>(step);
        if (i == 0 || guidance[i] != guidance[i - 1]) {
          vector = embed_scalars(ctx, weights.guidance, guidance.subspan(i, 1));
        }
        const Tensor row = time.slice_rows(step, 1);
        ops::add_into(ctx, row, vector, row);
      }
    }
    const Tensor texts = mlp(ctx, pooled, weights.pooled, Activation::kSilu);
    for (int64_t i = 0; i < total.rows(); ++i) {
      ops::add_into(ctx, time.slice_rows(i % steps, 1), texts.slice_rows(i / steps, 1),
                    total.slice_rows(i, 1));
    }
  }
  return ops::silu(ctx, total);
}

}  // namespace

std::vector<float> timestep_embedding(float t, int64_t dim) {
  const int64_t half = dim / 2;
  std::vector<float> out(static_cast<std::size_t>(dim));
  for (int64_t i = 0; i < half; ++i) {
    const float exponent =
        static_cast<float>(-std::log(10000.0)) * static_cast<float>(i) / static_cast<float>(half);
    const float angle = t * std::exp(exponent);
    out[static_cast<std::size_t>(i)] = std::cos(angle);
    out[static_cast<std::size_t>(half + i)] = std::sin(angle);
  }
  return out;
}

int64_t modulation_width(const Config& config) {
  return modulation_offset(config, config.num_blocks()) + 2 * config.inner_dim();
}

int64_t modulation_offset(const Config& config, int64_t block) {
  const int64_t doubles = std::min(block, config.num_layers);
  return (12 * doubles + 3 * (block - doubles)) * config.inner_dim();
}

Tensor modulation_vectors(const Context& ctx, const Config& config, const Weights& weights,
                          std::span<const float> timesteps, std::span<const float> guidance,
                          const Tensor& pooled, const LeaseFn& lease) {
  const int64_t rows = pooled.rows() * static_cast<int64_t>(timesteps.size());
  const Tensor all = ctx.arena.allocate(DType::kF32, {rows, modulation_width(config)});
  const Arena::Scope scope(ctx.arena);
  const Tensor c = [&] {
    const auto leased = take(lease, 0);
    return conditioning(ctx, config, weights, timesteps, guidance, pooled);
  }();
  int64_t column = 0;
  const auto append = [&](const Linear& w) {
    const Arena::Scope inner(ctx.arena);
    ctx.throw_if_cancelled();
    ops::convert_into(ctx, ops::linear(ctx, c, w), all.slice_cols(column, w.out_features()));
    column += w.out_features();
  };
  for (int64_t block = 0; block < config.num_blocks(); ++block) {
    const auto leased = take(lease, 1 + block);
    const std::size_t i = static_cast<std::size_t>(block);
    if (block < config.num_layers) {
      append(weights.double_blocks[i].img.modulation);
      append(weights.double_blocks[i].txt.modulation);
    } else {
      append(weights.single_blocks[i - static_cast<std::size_t>(config.num_layers)].modulation);
    }
  }
  const auto leased = take(lease, modulation_units(config) - 1);
  append(weights.norm_out);
  return all;
}

Rope rope_tables(const Context& ctx, const Config& config, int64_t txt_tokens, int64_t rows, int64_t cols) {
  const int64_t pairs = config.head_dim / 2, tokens = txt_tokens + rows * cols;
  const int64_t computed = ctx.counts_only() ? 0 : tokens;
  std::vector<float> cos(static_cast<std::size_t>(computed * pairs)), sin(cos.size());
  for (int64_t token = 0; token < computed; ++token) {
    const int64_t image = token - txt_tokens;
    const double positions[3] = {0.0, image < 0 ? 0.0 : static_cast<double>(image / cols),
                                 image < 0 ? 0.0 : static_cast<double>(image % cols)};
    std::size_t i = static_cast<std::size_t>(token * pairs);
    for (std::size_t axis = 0; axis < 3; ++axis) {
      const int64_t width = config.axes_dims_rope[axis];
      for (int64_t j = 0; j < width / 2; ++j, ++i) {
        const double frequency =
            std::pow(kRopeTheta, -2.0 * static_cast<double>(j) / static_cast<double>(width));
        cos[i] = static_cast<float>(std::cos(positions[axis] * frequency));
        sin[i] = static_cast<float>(std::sin(positions[axis] * frequency));
      }
    }
  }
  return {ops::upload(ctx, cos, DType::kF32, {tokens, pairs}),
          ops::upload(ctx, sin, DType::kF32, {tokens, pairs})};
}

}  // namespace darkroom::flux
