#include "pipeline/pipeline.h"

#include <chrono>

#include "base/version.h"
#include "image/sheet.h"
#include "pipeline/latents_file.h"
#include "pipeline/phases.h"
#include "pipeline/plan.h"
#include "sampling/latents.h"

namespace darkroom {
namespace {

// One run: what every phase needs, and its progress.
class Run {
 public:
  Run(const Model& model, Backend& backend, const Job& job, const Listeners& listeners,
      const std::atomic<bool>& cancel)
      : model_(model), backend_(backend), job_(job), listeners_(listeners), cancel_(cancel) {
    progress_.pictures = static_cast<int>(job.count);
    progress_.steps = static_cast<int>(job.steps());
  }

  // Reads the file of --noise, if there is one: what is wrong with it should show before the long work
  // begins.
  void read_noise();
  std::vector<Conditioning> encode_text();
  std::vector<float> initial_latents(uint64_t seed) const;
  std::vector<float> denoise_from(std::vector<float> latents, std::span<const Conditioning> prompts);
  Image decode_picture(std::span<const float> latents);

  void begin(Phase phase) {
    progress_.phase = phase;
    progress_.step = progress_.block = 0;
    phase_start_ = std::chrono::steady_clock::now();
    report(false);
  }
  void end() { report(true); }
  void set_picture(int picture) { progress_.picture = picture; }
  void note(const std::string& text) const {
    if (listeners_.on_note) listeners_.on_note(text);
  }

 private:
  // Runs a phase on a part's weights, in memory of exactly the size that its dry run asks for. The weights
  // and the memory are gone when it returns.
  template <typename Work>
  auto on_part(Part part, Work work) {
    const Buffer memory(dry_run(model_, part, job_.precision, work).activation_bytes);
    Arena arena(memory);
    const Context ctx{backend_, arena, job_.precision, &cancel_};
    const std::unique_ptr<WeightSource> weights = model_.open_weights(part);
    return work(ctx, *weights);
  }

  void report(bool finished) {
    progress_.finished = finished;
    progress_.phase_seconds =
        std::chrono::duration<double>(std::chrono::steady_clock::now() - phase_start_).count();
    if (listeners_.on_progress) listeners_.on_progress(progress_);
  }

  const Model& model_;
  Backend& backend_;
  const Job& job_;
  const Listeners& listeners_;
  const std::atomic<bool>& cancel_;
  std::vector<float> given_noise_;  // packed; empty unless the request names a file
  Progress progress_;
  std::chrono::steady_clock::time_point phase_start_;
};

void Run::read_noise() {
  if (job_.noise_path.empty()) return;
  given_noise_ = read_latents(job_.noise_path, job_.image_tokens(), 4 * model_.config().vae.latent_channels);
}

std::vector<Conditioning> Run::encode_text() {
  std::vector<std::vector<int32_t>> clip_ids, t5_ids;
  for (const std::string* text : {&job_.prompt, &job_.negative}) {
    if (text == &job_.negative && !job_.true_cfg) continue;
    Tokens tokens = model_.tokenize(*text, job_.max_text_tokens);
    for (const std::string& message : tokens.notes) note(message);
    clip_ids.push_back(std::move(tokens.clip));
    t5_ids.push_back(std::move(tokens.t5));
  }
  const ModelConfig& config = model_.config();
  auto pooled = on_part(Part::kClip, [&](const Context& ctx, WeightSource& weights) {
    return encode_clip(ctx, config, weights, clip_ids);
  });
  auto states = on_part(Part::kT5, [&](const Context& ctx, WeightSource& weights) {
    return encode_t5(ctx, config, weights, t5_ids);
  });
  std::vector<Conditioning> prompts;
  for (std::size_t i = 0; i < pooled.size(); ++i)
    prompts.push_back({std::move(pooled[i]), std::move(states[i])});
  return prompts;
}

std::vector<float> Run::initial_latents(uint64_t seed) const {
  if (!given_noise_.empty()) return given_noise_;
  const LatentSize size{model_.config().vae.latent_channels, 2 * job_.token_rows, 2 * job_.token_cols};
  std::vector<float> noise = latent_noise({.kind = job_.noise,
                                           .seed = seed,
                                           .channels = size.channels,
                                           .height = size.height,
                                           .width = size.width,
                                           .cuda = {}});
  // A bf16 pipeline draws bf16 noise, which in torch >= 2.13 is the f32 noise rounded.
  if (job_.precision == DType::kBF16) {
    for (float& value : noise) value = round_to_bfloat16(value);
  }
  return pack_latents(noise, size);
}

std::vector<float> Run::denoise_from(std::vector<float> latents, std::span<const Conditioning> prompts) {
  DenoiseHooks hooks;
  hooks.on_modulated = [&] {
    end();
    begin(Phase::kDenoise);
  };
  hooks.on_block = [&](int step, int block, int blocks) {
    progress_.step = step + (block == blocks ? 1 : 0);
    progress_.block = block == blocks ? 0 : block;
    progress_.blocks = blocks;
    report(false);
  };
  begin(Phase::kModulate);
  latents = on_part(Part::kTransformer, [&](const Context& ctx, WeightSource& weights) {
    const bool dry = ctx.backend.device() == Device::kNone;
    return denoise(ctx, model_.config(), weights, job_, prompts, latents, dry ? DenoiseHooks{} : hooks);
  });
  end();
  return latents;
}

Image Run::decode_picture(std::span<const float> latents) {
  return on_part(Part::kVae, [&](const Context& ctx, WeightSource& weights) {
    return decode(ctx, model_.config(), weights, job_, latents);
  });
}

Recipe recipe_of(const Model& model, const Job& job, uint64_t seed) {
  Recipe recipe;
  recipe.prompt = job.prompt;
  recipe.negative = job.negative;
  recipe.width = static_cast<int>(job.width);
  recipe.height = static_cast<int>(job.height);
  recipe.steps = static_cast<int>(job.steps());
  if (job.guidance) recipe.guidance = *job.guidance;
  recipe.cfg = job.cfg;
  recipe.seed = seed;
  recipe.sigmas = job.custom_sigmas;
  recipe.max_text_tokens = static_cast<int>(job.max_text_tokens);
  recipe.precision = dtype_name(job.precision);
  recipe.rng = job.noise == NoiseKind::kTorchCpu ? "torch-cpu" : "torch-cuda";
  recipe.noise = job.noise_path.string();
  recipe.model = model.name();
  recipe.engine = std::string("darkroom ") + kVersion;
  return recipe;
}

// A sheet of one picture is that picture, and has its recipe.
Picture sheet_picture(const Model& model, const Job& job, Image image) {
  Picture picture;
  picture.image = std::move(image);
  picture.recipe = recipe_of(model, job, job.seed);
  if (job.count > 1) {
    picture.recipe.pictures = static_cast<int>(job.count);
    picture.recipe.columns = static_cast<int>(job.sheet->columns);
  }
  return picture;
}

}  // namespace

void generate(const Model& model, Backend& backend, const Job& job, const Listeners& listeners,
              const std::atomic<bool>& cancel) {
  Run run(model, backend, job, listeners, cancel);
  for (const std::string& note : job.notes) run.note(note);
  run.read_noise();
  std::optional<Sheet> sheet;
  if (job.sheet) sheet.emplace(*job.sheet);
  run.begin(Phase::kEncodeText);
  const std::vector<Conditioning> prompts = run.encode_text();
  run.end();
  for (int index = 0; index < static_cast<int>(job.count); ++index) {
    run.set_picture(index);
    const uint64_t seed = job.seed + static_cast<uint64_t>(index);
    Picture picture;
    picture.index = index;
    picture.latents = run.denoise_from(run.initial_latents(seed), prompts);
    picture.latent_tokens = job.image_tokens();
    picture.latent_channels = model.config().transformer.in_channels;
    run.begin(Phase::kDecode);
    picture.image = run.decode_picture(picture.latents);
    run.end();
    picture.recipe = recipe_of(model, job, seed);
    if (sheet) sheet->place(index, picture.image);
    if (listeners.on_picture) listeners.on_picture(picture);
  }
  if (sheet && listeners.on_sheet) listeners.on_sheet(sheet_picture(model, job, sheet->take()));
}

}  // namespace darkroom
