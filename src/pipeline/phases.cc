#include "pipeline/phases.h"

#include <algorithm>
#include <cmath>

#include "sampling/guidance.h"
#include "sampling/latents.h"
#include "weights/smoothing.h"

namespace darkroom {
namespace {

constexpr int64_t kValuesPerChannel = 4;  // of a token: a 2×2 square

std::vector<float> to_host(const Context& ctx, const Tensor& x) {
  std::vector<float> host(ctx.counts_only() ? 0 : static_cast<std::size_t>(x.shape.numel()));
  ops::download(ctx, x, host);
  return host;
}

// Weights that are all needed at once: read, and kept as long as this lives. Nothing on the dry-run backend,
// where the fields are only described.
class Loaded {
 public:
  Loaded(const Context& ctx, WeightSource& source, std::vector<memory::WeightUnit> units) {
    if (ctx.counts_only()) return;
    memory::Placement all = memory::all_resident(memory::sizes_of(units));
    residency_ = std::make_unique<memory::Residency>(ctx.backend, source, std::move(units), std::move(all));
    lease_ = std::make_unique<memory::Residency::Lease>(residency_->lease(0));
  }

 private:
  std::unique_ptr<memory::Residency> residency_;
  std::unique_ptr<memory::Residency::Lease> lease_;
};

// Weights that are used once, one unit after the other. Nothing on the dry-run backend.
std::unique_ptr<memory::Residency> pass_through(const Context& ctx, WeightSource& source,
                                                std::vector<memory::WeightUnit> units) {
  if (ctx.counts_only()) return nullptr;
  memory::Placement once = memory::all_streamed(memory::sizes_of(units));
  return std::make_unique<memory::Residency>(ctx.backend, source, std::move(units), std::move(once));
}

LeaseFn leases_of(memory::Residency* residency) {
  if (!residency) return {};
  return [residency](int64_t unit) -> std::shared_ptr<void> {
    return std::make_shared<memory::Residency::Lease>(residency->lease(static_cast<std::size_t>(unit)));
  };
}

template <typename Weights, typename Config>
auto visitor_of(Weights& weights, const Config& config) {
  return [&weights, &config](const VisitFn& visit) { weights.visit(config, visit); };
}

Tensor upload_latents(const Context& ctx, const vae::Config& config, std::span<const float> packed,
                      int64_t height, int64_t width) {
  std::vector<float> z;
  if (!ctx.counts_only()) {
    z = unpack_latents_to_pixels(packed,
                                 {.channels = config.latent_channels, .height = height, .width = width});
    vae::unscale_latents(config, z);
  }
  return ops::upload(ctx, z, ctx.activation, {height, width, config.latent_channels});
}

// Tells of what a model's layers multiply by its name.
class NamedInputs final : public InputWatcher {
 public:
  using Use = std::function<void(const std::string& name, const Tensor& x)>;
  NamedInputs(std::map<const Tensor*, std::string> names, Use use)
      : names_(std::move(names)), use_(std::move(use)) {}
  void on_input(const Linear& first, const Tensor& x) override { use_(names_.at(&first.weight), x); }

 private:
  std::map<const Tensor*, std::string> names_;
  Use use_;
};

// Two with the negative prompt, where guidance combines both answers.
std::size_t prompts_at(const Job& job, int level) {
  return job.true_cfg && job.cfg_scales[static_cast<std::size_t>(level)] != 1.0f ? 2 : 1;
}

}  // namespace

std::vector<memory::WeightUnit> t5_layer_units(t5::Weights& weights, const t5::Config& config,
                                               WeightSource& source) {
  return memory::group_units(Stage::kBlock, static_cast<std::size_t>(config.num_layers),
                             visitor_of(weights, config), source);
}

std::vector<memory::WeightUnit> transformer_units(flux::Weights& weights, const flux::Config& config,
                                                  WeightSource& source, Stage stage) {
  const int64_t count = stage == Stage::kEnds    ? 1
                        : stage == Stage::kBlock ? config.num_blocks()
                                                 : flux::modulation_units(config);
  return memory::group_units(stage, static_cast<std::size_t>(count), visitor_of(weights, config), source);
}

std::vector<std::vector<float>> encode_clip(const Context& ctx, const ModelConfig& config,
                                            WeightSource& source,
                                            std::span<const std::vector<int32_t>> prompts) {
  clip::Weights weights;
  const Loaded loaded(ctx, source, memory::one_unit(visitor_of(weights, config.clip), source));
  std::vector<std::vector<float>> pooled;
  for (const std::vector<int32_t>& ids : prompts) {
    const Arena::Scope scope(ctx.arena);
    pooled.push_back(to_host(ctx, clip::encode_pooled(ctx, config.clip, weights, ids)));
  }
  return pooled;
}

std::vector<std::vector<float>> encode_t5(const Context& plain, const ModelConfig& config,
                                          WeightSource& source, const Job& job,
                                          std::span<const std::vector<int32_t>> prompts) {
  Context ctx = plain;
  ctx.int8 = job.text_int8;
  t5::Weights weights;
  std::vector<memory::WeightUnit> layers = t5_layer_units(weights, config.t5, source);
  const Loaded ends(ctx, source,
                    memory::group_units(Stage::kEnds, 1, visitor_of(weights, config.t5), source));
  const std::unique_ptr<memory::Residency> residency = pass_through(ctx, source, std::move(layers));
  const Arena::Scope scope(ctx.arena);
  std::vector<std::vector<float>> states;
  for (const Tensor& state : t5::encode(ctx, config.t5, weights, prompts, leases_of(residency.get()))) {
    states.push_back(to_host(ctx, state));
  }
  return states;
}

DenoisePhase::DenoisePhase(const Context& ctx, const ModelConfig& config, WeightSource& source,
                           const Job& job, std::span<const Conditioning> prompts,
                           const memory::Placement* blocks)
    : ctx_(ctx), config_(config.transformer), source_(source), job_(job), placement_(blocks) {
  modulate(prompts);
  make_room_for_cache();
  rope_ = flux::rope_tables(ctx, config_, job.max_text_tokens, job.token_rows, job.token_cols);
  ends_units_ = transformer_units(weights_, config_, source, Stage::kEnds);
  block_units_ = transformer_units(weights_, config_, source, Stage::kBlock);
}

// Reading begins: not before the modulation's weights are gone.
void DenoisePhase::open_weights() {
  if (blocks_) return;
  memory::Placement all = memory::all_resident(memory::sizes_of(ends_units_));
  ends_ = std::make_unique<memory::Residency>(ctx_.backend, source_, std::move(ends_units_), std::move(all));
  const uint64_t passes = static_cast<uint64_t>(job_.passes() * job_.count);
  blocks_ = std::make_unique<memory::Residency>(ctx_.backend, source_, std::move(block_units_), *placement_,
                                                passes);
}

DenoisePhase::~DenoisePhase() = default;

void DenoisePhase::modulate(std::span<const Conditioning> prompts) {
  const std::unique_ptr<memory::Residency> units =
      pass_through(ctx_, source_, transformer_units(weights_, config_, source_, Stage::kModulation));
  std::vector<float> pooled;
  for (const Conditioning& prompt : prompts)
    pooled.insert(pooled.end(), prompt.pooled.begin(), prompt.pooled.end());
  const int64_t count = static_cast<int64_t>(prompts.size()), steps = job_.steps();
  const Tensor texts = ops::upload(ctx_, pooled, ctx_.activation, {count, config_.pooled_projection_dim});
  const Tensor vectors = flux::modulation_vectors(ctx_, config_, weights_, job_.schedule.timesteps,
                                                  job_.guidances, texts, leases_of(units.get()));
  const Shape states{job_.max_text_tokens, config_.joint_attention_dim};
  for (int64_t i = 0; i < count; ++i) {
    Guide& guide = guides_.emplace_back();
    guide.modulation = vectors.slice_rows(i * steps, steps);
    guide.states = ops::upload(ctx_, prompts[static_cast<std::size_t>(i)].states, ctx_.activation, states);
  }
  if (units) modulation_totals_ = units->totals();
}

void DenoisePhase::make_room_for_cache() {
  if (job_.cache.method == CacheMethod::kOff) return;
  const int64_t img_tokens = job_.image_tokens(), d = config_.inner_dim();
  for (Guide& guide : guides_) {
    guide.signal = ctx_.allocate({img_tokens, d});
    for (int i = 0; i <= job_.cache.order; ++i) {
      guide.residuals.push_back(ctx_.allocate({job_.max_text_tokens + img_tokens, d}));
    }
  }
}

std::map<const Tensor*, std::string> DenoisePhase::names_of_inputs() {
  std::map<const Tensor*, std::string> names;
  weights_.visit(config_, [&](const Param& param, Tensor& field) {
    if (param.smooth && has_smoothed_input(param)) names[&field] = param.fed_by;
  });
  return names;
}

void DenoisePhase::run_blocks(Pass& pass, int64_t first, int64_t last, bool skipping) {
  const LeaseFn lease = leases_of(blocks_.get());
  if (skipping && std::ranges::all_of(pass.skips, [](bool skips) { return skips; })) return;
  Context ctx = ctx_;
  ctx.int8 = job_.int8;
  std::optional<NamedInputs> watcher;
  if (pass.hooks.on_input) {
    watcher.emplace(names_of_inputs(), [&](const std::string& name, const Tensor& x) {
      pass.hooks.on_input(pass.level, name, x);
    });
    ctx.watcher = &*watcher;
  }
  ctx.int8_attention = job_.int8_attention;
  for (int64_t block = first; block < last; ++block) {
    const auto leased = take(lease, block);
    for (std::size_t i = 0; i < pass.hidden.size(); ++i) {
      if (skipping && pass.skips[i]) continue;
      const Tensor modulation = guides_[i].modulation.slice_rows(pass.level, 1);
      flux::run_blocks(ctx, config_, weights_, modulation, rope_, pass.hidden[i], block, block + 1);
    }
    if (pass.hooks.on_block && block + 1 < config_.num_blocks()) {
      pass.hooks.on_block(pass.number, static_cast<int>(block) + 1, static_cast<int>(config_.num_blocks()));
    }
  }
}

void DenoisePhase::decide_skips(Pass& pass, std::span<const Tensor> signals) {
  for (std::size_t i = 0; i < signals.size(); ++i) {
    Guide& guide = guides_[i];
    bool skips = false;
    // The plan is for steps that are computed.
    if (!ctx_.counts_only() && guide.has_signal && guide.cache->may_skip(pass.level)) {
      skips = guide.cache->decide(pass.level, ops::relative_distance(ctx_, signals[i], guide.signal));
    }
    pass.skips[i] = skips;
    if (!skips || job_.cache.method == CacheMethod::kTeaCache)
      ops::convert_into(ctx_, signals[i], guide.signal);
    guide.has_signal = true;
  }
}

// The first blocks give the signal; where it has moved little, the residuals of earlier steps
// replace the middle ones.
void DenoisePhase::run_cached(Pass& pass) {
  const bool by_blocks = job_.cache.method == CacheMethod::kBlocks;
  const int64_t count = config_.num_blocks(),
                front = by_blocks ? std::min<int64_t>(job_.cache.front, count) : 0,
                back = by_blocks ? std::min<int64_t>(job_.cache.back, count - front) : 0;
  std::vector<Tensor> signals;
  for (std::size_t i = 0; i < pass.hidden.size(); ++i) {
    const Tensor img = pass.hidden[i].img();
    signals.push_back(ctx_.allocate(img.shape));
    if (by_blocks) {
      ops::convert_into(ctx_, img, signals[i]);
    } else {
      flux::modulated_input(ctx_, config_, guides_[i].modulation.slice_rows(pass.level, 1), pass.hidden[i],
                            signals[i]);
    }
  }
  run_blocks(pass, 0, front, false);
  for (std::size_t i = 0; by_blocks && i < signals.size(); ++i) {
    ops::add_scaled_into(ctx_, pass.hidden[i].img(), -1, signals[i], 0, {}, signals[i]);
  }
  decide_skips(pass, signals);
  std::vector<Tensor> before;
  for (std::size_t i = 0; i < pass.hidden.size(); ++i) {
    const Tensor& x = pass.hidden[i].x;
    before.push_back(pass.skips[i] ? Tensor() : ctx_.allocate(x.shape));
    if (!pass.skips[i]) ops::convert_into(ctx_, x, before.back());
  }
  run_blocks(pass, front, count - back, true);
  for (std::size_t i = 0; i < pass.hidden.size(); ++i) {
    Guide& guide = guides_[i];
    const Tensor& x = pass.hidden[i].x;
    if (!pass.skips[i]) {
      std::rotate(guide.residuals.begin(), guide.residuals.end() - 1, guide.residuals.end());
      ops::add_scaled_into(ctx_, x, -1, before[i], 0, {}, guide.residuals.front());
      guide.cache->computed(pass.level);
      continue;
    }
    ++passes_.skipped;
    const std::vector<double> weights = guide.cache->forecast(pass.level);
    for (std::size_t k = 0; k < weights.size(); k += 2) {
      const bool two = k + 1 < weights.size();
      ops::add_scaled_into(ctx_, x, static_cast<float>(weights[k]), guide.residuals[k],
                           two ? static_cast<float>(weights[k + 1]) : 0.0f,
                           two ? guide.residuals[k + 1] : Tensor(), x);
    }
  }
  run_blocks(pass, count - back, count, false);
}

// One pass of the transformer under the first out.size() prompts.
void DenoisePhase::velocities(std::span<const float> x, int level, int number, const DenoiseHooks& hooks,
                              std::span<const std::span<float>> out) {
  const Arena::Scope scope(ctx_.arena);
  const auto ends = take(leases_of(ends_.get()), 0);
  const Tensor packed = ops::upload(ctx_, x, ctx_.activation, {job_.image_tokens(), config_.in_channels});
  Pass pass{.level = level, .number = number, .hooks = hooks};
  pass.skips.resize(out.size());
  for (std::size_t i = 0; i < out.size(); ++i) {
    pass.hidden.push_back(flux::embed(ctx_, config_, weights_, packed, guides_[i].states));
  }
  passes_.made += static_cast<int>(out.size());
  if (job_.cache.method == CacheMethod::kOff) {
    run_blocks(pass, 0, config_.num_blocks(), false);
  } else {
    run_cached(pass);
  }
  if (hooks.on_block) {
    const int blocks = static_cast<int>(config_.num_blocks());
    hooks.on_block(number, blocks, blocks);
  }
  for (std::size_t i = 0; i < out.size(); ++i) {
    const Tensor modulation = guides_[i].modulation.slice_rows(level, 1);
    ops::download(ctx_, flux::project(ctx_, config_, weights_, modulation, pass.hidden[i]), out[i]);
    if (hooks.on_answer) hooks.on_answer(number, out[i]);
  }
}

// Asks the sampler itself, with a picture of one value.
PassCounts count_passes(const Job& job) {
  PassCounts counts;
  std::vector<float> latents(1);
  const Denoiser denoise = [&](std::span<const float>, int level, float, std::span<float> velocity) {
    std::ranges::fill(velocity, 0.0f);
    ++(prompts_at(job, level) == 1 ? counts.one_prompt : counts.two_prompts);
  };
  sample(job.schedule.sigmas, latents, denoise,
         {.kind = job.sampler, .randn = [](std::span<float> noise) { std::ranges::fill(noise, 0.0f); }});
  return counts;
}

void DenoisePhase::forget_last_picture() {
  passes_ = {};
  for (Guide& guide : guides_) {
    guide.cache.emplace(job_.cache, job_.schedule.sigmas);
    guide.has_signal = false;
  }
}

void DenoisePhase::dry_pass(std::size_t prompts) {
  forget_last_picture();
  const std::vector<std::span<float>> nowhere(prompts);
  velocities({}, 0, 0, {}, nowhere);
}

std::vector<float> DenoisePhase::run(std::vector<float> latents, const DenoiseHooks& hooks,
                                     SamplerOptions options) {
  std::vector<float> negative(job_.true_cfg ? latents.size() : 0);
  Guidance guidance(job_.cfg_rule, config_.in_channels / kValuesPerChannel, kValuesPerChannel);
  int pass = 0;
  forget_last_picture();
  open_weights();
  const Denoiser denoise = [&](std::span<const float> x, int level, float sigma, std::span<float> velocity) {
    const std::span<float> both[2] = {velocity, negative};
    const bool opens = opens_step(job_.sampler, pass);
    const std::size_t prompts = prompts_at(job_, level);
    velocities(x, level, pass++, hooks, {both, prompts});
    if (prompts == 2) {
      const float scale = job_.cfg_scales[static_cast<std::size_t>(level)];
      guidance.combine(x, sigma, negative, velocity, scale, velocity);
    }
    if (opens && hooks.on_velocity) hooks.on_velocity(level, x, sigma, velocity);
  };
  options.kind = job_.sampler;
  sample(job_.schedule.sigmas, latents, denoise, options);
  return latents;
}

memory::Residency::Totals DenoisePhase::totals() const {
  memory::Residency::Totals sum = modulation_totals_;
  for (const auto* residency : {ends_.get(), blocks_.get()}) {
    if (!residency) continue;
    const memory::Residency::Totals one = residency->totals();
    sum.bytes_read += one.bytes_read;
    sum.read_seconds += one.read_seconds;
    sum.wait_seconds += one.wait_seconds;
  }
  return sum;
}

PictureMoments encode_picture(const Context& ctx, const ModelConfig& config, WeightSource& source,
                              const Job& job, std::span<const float> pixels, const vae::StripPlan& strips,
                              const ScratchFile* scratch) {
  vae::EncoderWeights weights;
  const Loaded loaded(ctx, source, memory::one_unit(visitor_of(weights, config.vae), source));
  const Tensor picture =
      ops::upload(ctx, pixels, ctx.activation, {job.height, job.width, config.vae.out_channels});
  const std::vector<float> moments =
      to_host(ctx, vae::encode(ctx, config.vae, weights, picture, strips, scratch));
  if (ctx.counts_only()) return {};
  const LatentSize size{config.vae.latent_channels, 2 * job.token_rows, 2 * job.token_cols};
  std::vector<float> mean, deviation;
  const std::size_t channels = static_cast<std::size_t>(size.channels);
  for (std::size_t at = 0; at < moments.size(); at += 2 * channels) {
    for (std::size_t c = 0; c < channels; ++c) {
      mean.push_back(moments[at + c]);
      // diffusers' DiagonalGaussianDistribution.
      deviation.push_back(std::exp(0.5f * std::clamp(moments[at + channels + c], -30.0f, 20.0f)));
    }
  }
  return {pack_latents_from_pixels(mean, size), pack_latents_from_pixels(deviation, size)};
}

Image decode(const Context& ctx, const ModelConfig& config, WeightSource& source, const Job& job,
             std::span<const float> latents, const vae::StripPlan& strips, const ScratchFile* scratch) {
  vae::DecoderWeights weights;
  const Loaded loaded(ctx, source, memory::one_unit(visitor_of(weights, config.vae), source));
  const Tensor z = upload_latents(ctx, config.vae, latents, 2 * job.token_rows, 2 * job.token_cols);
  Image image;
  if (!ctx.counts_only()) {
    image = {static_cast<int>(job.width), static_cast<int>(job.height),
             std::vector<uint8_t>(static_cast<std::size_t>(job.width * job.height * 3))};
  }
  vae::decode(ctx, config.vae, weights, z, strips, scratch, [&](int64_t first, const Tensor& rows) {
    if (!image.rgb.empty()) place_rows(to_host(ctx, rows), static_cast<int>(first), image);
  });
  return image;
}

}  // namespace darkroom
