#include "pipeline/pipeline.h"

#include <algorithm>
#include <chrono>
#include <initializer_list>

#include "base/error.h"
#include "base/finite.h"
#include "base/version.h"
#include "image/sheet.h"
#include "memory/budget.h"
#include "memory/peak.h"
#include "pipeline/finite.h"
#include "pipeline/latents_file.h"
#include "pipeline/phases.h"
#include "pipeline/source_picture.h"
#include "sampling/guidance_text.h"
#include "sampling/latents.h"

namespace darkroom {
namespace {

// Memory of the size that a plan asks for, and a context over it.
struct Workspace {
  Workspace(Backend& backend, std::size_t bytes, DType precision, const std::atomic<bool>& cancel)
      : memory(backend.allocate(bytes)), arena(*memory), ctx{backend, arena, precision, &cancel} {}
  std::unique_ptr<Memory> memory;
  Arena arena;
  Context ctx;
};

// One run: what every phase needs, and its progress.
class Run {
 public:
  Run(const Checkpoint& model, Backend& backend, const Decision& decision, const Listeners& listeners,
      const std::atomic<bool>& cancel, const EmbedCacheOptions& embeddings)
      : model_(model),
        backend_(backend),
        job_(decision.job),
        listeners_(listeners),
        cancel_(cancel),
        embeddings_(embeddings),
        plan_(decision.plan) {
    forget_last_run();
    backend_.limit_memory(plan_.budget_bytes.value_or(SIZE_MAX));
    // Now, so that a disk without room shows before the long work begins.
    if (plan_.scratch_bytes > 0) scratch_.emplace(job_.scratch_folder, plan_.scratch_bytes);
    progress_.pictures = static_cast<int>(job_.count);
    progress_.steps = static_cast<int>(job_.passes());
  }

  // Reads the file of --noise, if there is one: what is wrong with it should show before
  // the long work begins.
  void read_noise();
  // The picture that the job starts from, if there is one: as with the noise, errors first.
  void read_picture();
  // The moments of the picture that the job starts from, if there is one.
  void encode_source();
  void draw();

 private:
  // What the encoders, or the cache, say of the prompt and, for true CFG, the negative prompt.
  std::vector<Conditioning> condition();
  std::vector<Conditioning> encode(const std::vector<Tokens>& texts);
  // Where a picture begins, and how its sampler goes on.
  struct Start {
    std::vector<float> latents;
    SamplerOptions options;
  };
  Start start(uint64_t seed) const;
  // Packed latents of the generator's next numbers.
  std::vector<float> draw_latents(const Randn& randn) const;
  struct Denoised {
    std::vector<float> latents;
    DenoisePhase::Passes passes;
  };
  // Denoises all pictures, and decodes each at once if the plan lets the transformer stay meanwhile. Returns
  // those that are still to be decoded.
  std::vector<Denoised> denoise(std::vector<Conditioning> prompts);
  void preview_with(DenoiseHooks& hooks);
  void decode(int index, Denoised denoised);
  Recipe recipe_of(uint64_t seed) const;
  Picture sheet_picture(Image image) const;

  // `what` they are. Errors: kModel for weights that are not finite, else kFailure.
  void require_finite(std::span<const float> values, Part part, const std::string& what,
                      bool vae_encoder = false) const {
    if (all_finite(values)) return;
    check_weights(model_, part, what, cancel_, vae_encoder);
    const bool text = part == Part::kClip || part == Part::kT5;
    const char* hint = (text ? job_.text_precision : job_.precision) == DType::kF32 ? ""
                       : text ? ": try --text-precision f32"
                              : ": try --precision f32";
    fail(ErrorCode::kFailure,
         "{} is not finite, although the weights are; it may overflow in this precision{}{}", what,
         job_.loras.empty() ? "" : ", or by the strength of a LoRA", hint);
  }
  std::unique_ptr<WeightSource> weights_of(Part part) const {
    return model_.open_weights(part, job_.storage(part, backend_.threads()), uses_of(job_.loras));
  }

  void begin(Phase phase) { begin(phase, {phase}); }
  void begin(Phase phase, std::initializer_list<Phase> planned);
  // What ops of a run that was stopped find out late is no error of this one.
  void forget_last_run() const try { backend_.wait(backend_.mark()); } catch (const Error&) {
  }
  void check_device() const;
  void end() { report(true); }
  void report(bool finished);
  void note(const std::string& text) const {
    if (listeners_.on_note) listeners_.on_note(text);
  }

  const Checkpoint& model_;
  Backend& backend_;
  const Job& job_;
  const Listeners& listeners_;
  const std::atomic<bool>& cancel_;
  const EmbedCacheOptions& embeddings_;
  const Plan& plan_;
  std::optional<ScratchFile> scratch_;
  std::optional<Sheet> sheet_;
  std::vector<float> given_noise_;  // packed; empty unless the request names a file
  std::vector<std::string> lora_digests_;
  std::optional<SourcePicture> picture_;  // to start from
  PictureMoments source_;                 // of that picture
  Progress progress_;
  memory::PeakWatch peak_;  // of the phase
  std::chrono::steady_clock::time_point phase_start_;
};

// `planned` are the phases of the plan that happen in this one.
void Run::begin(Phase phase, std::initializer_list<Phase> planned) {
  progress_.phase = phase;
  progress_.step = progress_.block = 0;
  progress_.bytes_read = 0;
  progress_.wait_seconds = 0;
  progress_.planned_bytes = 0;
  for (const Phase each : planned) {
    progress_.planned_bytes = std::max(progress_.planned_bytes, plan_.phase_bytes(plan_.phase(each)));
  }
  check_device();
  peak_.begin();
  backend_.begin_peak();
  phase_start_ = std::chrono::steady_clock::now();
  report(false);
}

// Others may have taken of the device's memory since the plan was made.
void Run::check_device() const {
  const std::optional<Backend::DeviceMemory> device = backend_.device_memory();
  if (!device) return;
  const std::size_t to_come = progress_.planned_bytes - std::min(progress_.planned_bytes, device->held_bytes);
  require(
      to_come <= device->free_bytes, ErrorCode::kOutOfMemory,
      "'{}' needs {} more of the device's memory, and {} is left; close what else uses it, or give a smaller "
      "budget",
      phase_name(progress_.phase), memory::byte_text(to_come), memory::byte_text(device->free_bytes));
}

void Run::report(bool finished) {
  progress_.finished = finished;
  progress_.phase_seconds =
      std::chrono::duration<double>(std::chrono::steady_clock::now() - phase_start_).count();
  peak_.look();
  const std::optional<Backend::DeviceMemory> device = backend_.device_memory();
  progress_.phase_peak_bytes = device ? device->peak_bytes : peak_.bytes();
  progress_.peak_bytes = std::max(progress_.peak_bytes, progress_.phase_peak_bytes);
  if (listeners_.on_progress) listeners_.on_progress(progress_);
}

void Run::read_noise() {
  if (job_.noise_path.empty()) return;
  given_noise_ = read_latents(job_.noise_path, job_.image_tokens(), 4 * model_.config().vae.latent_channels);
}

void Run::read_picture() {
  if (!job_.starts_from_picture()) return;
  picture_ = read_source_picture(job_);
  for (const std::string& text : notes_on(*picture_)) note(text);
}

void Run::encode_source() {
  if (!picture_) return;
  begin(Phase::kEncodePicture);
  {
    Workspace space(backend_, plan_.phase(Phase::kEncodePicture).activation_bytes, job_.precision, cancel_);
    source_ =
        encode_picture(space.ctx, model_.config(), *model_.open_weights(Part::kVae), job_,
                       source_pixels(picture_->image), plan_.encode_strips, scratch_ ? &*scratch_ : nullptr);
    peak_.look();  // while the workspace is there
  }
  for (const auto* moments : {&source_.mean, &source_.deviation})
    require_finite(*moments, Part::kVae, "the output of the VAE's encoder", true);
  end();
}

std::vector<Conditioning> Run::condition() {
  const EmbeddingCache cache(embeddings_, model_, job_, backend_.name(),
                             [this](const std::string& text) { note(text); });
  std::vector<Conditioning> prompts;
  std::vector<Tokens> unknown;
  std::vector<std::size_t> places;  // of the unknown among the prompts
  for (const std::string* text : {&job_.prompt, &job_.negative}) {
    if (text == &job_.negative && !job_.true_cfg) continue;
    Tokens tokens = model_.tokenize(*text, job_.max_text_tokens);
    for (const std::string& message : tokens.notes) note(message);
    std::optional<Conditioning> found = cache.find(tokens);
    if (!found) {
      places.push_back(prompts.size());
      unknown.push_back(std::move(tokens));
    }
    prompts.push_back(found ? std::move(*found) : Conditioning{});
  }
  progress_.prompts = static_cast<int>(prompts.size());
  progress_.cached_prompts = static_cast<int>(prompts.size() - unknown.size());
  if (unknown.empty()) return prompts;
  std::vector<Conditioning> encoded = encode(unknown);
  for (std::size_t i = 0; i < unknown.size(); ++i) {
    cache.store(unknown[i], encoded[i]);
    prompts[places[i]] = std::move(encoded[i]);
  }
  return prompts;
}

std::vector<Conditioning> Run::encode(const std::vector<Tokens>& texts) {
  std::vector<std::vector<int32_t>> clip_ids, t5_ids;
  for (const Tokens& tokens : texts) {
    clip_ids.push_back(tokens.clip);
    t5_ids.push_back(tokens.t5);
  }
  const ModelConfig& config = model_.config();
  std::vector<std::vector<float>> pooled, states;
  {
    Workspace space(backend_, plan_.phase(Phase::kEncodeClip).activation_bytes, job_.text_precision, cancel_);
    pooled = encode_clip(space.ctx, config, *weights_of(Part::kClip), clip_ids);
    peak_.look();
  }
  {
    Workspace space(backend_, plan_.phase(Phase::kEncodeT5).activation_bytes, job_.text_precision, cancel_);
    try {
      states = encode_t5(space.ctx, config, *weights_of(Part::kT5), job_, t5_ids);
    } catch (const Error& e) {
      // What is not finite cannot be quantised.
      if (e.code() == ErrorCode::kFailure && job_.text_int8) {
        check_weights(model_, Part::kT5, "what a layer multiplies", cancel_);
      }
      throw;
    }
    peak_.look();
  }
  for (const auto& values : pooled) require_finite(values, Part::kClip, "the output of CLIP");
  for (const auto& values : states) require_finite(values, Part::kT5, "the output of T5");
  std::vector<Conditioning> prompts;
  for (std::size_t i = 0; i < pooled.size(); ++i)
    prompts.push_back({std::move(pooled[i]), std::move(states[i])});
  return prompts;
}

std::vector<float> Run::draw_latents(const Randn& randn) const {
  const LatentSize size{model_.config().vae.latent_channels, 2 * job_.token_rows, 2 * job_.token_cols};
  std::vector<float> values(static_cast<std::size_t>(size.channels * size.height * size.width));
  randn(values);
  // A bf16 pipeline draws bf16 noise, which in torch >= 2.13 is the f32 noise rounded.
  if (job_.precision == DType::kBF16) {
    for (float& value : values) value = round_to_bfloat16(value);
  }
  return pack_latents(values, size);
}

// In diffusers' order: the generator's first numbers choose among the encoder's latents, the next are the
// noise; what follows is a stochastic sampler's.
Run::Start Run::start(uint64_t seed) const {
  const Randn randn = torch_randn(job_.noise, seed);
  std::vector<float> picture;
  if (picture_) {
    picture = draw_latents(randn);
    for (std::size_t i = 0; i < picture.size(); ++i) {
      picture[i] = source_.mean[i] + source_.deviation[i] * picture[i];
    }
    vae::scale_latents(model_.config().vae, picture);
  }
  std::vector<float> noise = draw_latents(randn);
  if (!given_noise_.empty()) noise = given_noise_;
  Start start{noise, {.randn = randn}};
  if (!picture_) return start;
  mix_noise(picture, noise, job_.schedule.sigmas.front(), start.latents);
  if (!picture_->mask.empty()) {
    start.options.constrain = [this, picture = std::move(picture), noise = std::move(noise)](
                                  float sigma, std::span<float> latents) {
      keep_outside_mask(picture_->mask, picture, noise, sigma, latents);
    };
  }
  return start;
}

void Run::preview_with(DenoiseHooks& hooks) {
  if (!listeners_.on_preview) return;
  const PreviewMap* map = preview_map(model_);
  if (!map) return note("no previews: the model has no map for them ('preview' in its darkroom.json)");
  hooks.on_velocity = [this, map](int level, std::span<const float> latents, float sigma,
                                  std::span<const float> velocity) {
    const int step = level + 1, steps = static_cast<int>(job_.steps());
    if (step % listeners_.preview_every != 0 && step != steps) return;
    listeners_.on_preview({progress_.picture, step, steps,
                           draw_preview(*map, latents, sigma, velocity, job_.token_rows, job_.token_cols)});
  };
}

std::vector<Run::Denoised> Run::denoise(std::vector<Conditioning> prompts) {
  DenoiseHooks hooks;
  hooks.on_block = [&](int step, int block, int blocks) {
    progress_.step = step + (block == blocks ? 1 : 0);
    progress_.block = block == blocks ? 0 : block;
    progress_.blocks = blocks;
    report(false);
  };
  bool explained = false;  // why a run ends
  hooks.on_answer = [&](int pass, std::span<const float> velocity) {
    if (all_finite(velocity)) return;
    explained = true;
    require_finite(velocity, Part::kTransformer,
                   fmt::format("the transformer's output in pass {}", pass + 1));
  };
  preview_with(hooks);
  hooks.on_input = listeners_.on_input;
  std::vector<Denoised> waiting;
  begin(Phase::kModulate);
  Workspace space(backend_, plan_.phase(Phase::kDenoise).activation_bytes, job_.precision, cancel_);
  const std::unique_ptr<WeightSource> weights = weights_of(Part::kTransformer);
  DenoisePhase denoiser(space.ctx, model_.config(), *weights, job_, prompts, &plan_.blocks);
  prompts = {};  // it has them on the device
  memory::Residency::Totals before;
  const auto end_with_totals = [&] {
    const memory::Residency::Totals now = denoiser.totals();
    progress_.bytes_read = now.bytes_read - before.bytes_read;
    progress_.wait_seconds = now.wait_seconds - before.wait_seconds;
    before = now;
    end();
  };
  end_with_totals();
  if (listeners_.on_modulation) {
    std::vector<float> vectors(static_cast<std::size_t>(denoiser.modulation().shape.numel()));
    ops::download(space.ctx, denoiser.modulation(), vectors);
    listeners_.on_modulation(vectors);
    return {};
  }
  for (int index = 0; index < static_cast<int>(job_.count); ++index) {
    progress_.picture = index;
    begin(Phase::kDenoise);
    const uint64_t seed = job_.seed + static_cast<uint64_t>(index);
    Start begin_with = start(seed);
    Denoised denoised;
    try {
      denoised.latents = denoiser.run(std::move(begin_with.latents), hooks, std::move(begin_with.options));
    } catch (const Error& e) {
      // What is not finite cannot be quantised.
      if (e.code() == ErrorCode::kFailure && (job_.int8 || job_.int8_attention) && !explained) {
        check_weights(model_, Part::kTransformer, "what a block multiplies", cancel_);
      }
      throw;
    }
    denoised.passes = denoiser.passes();
    progress_.passes = denoised.passes.made;
    progress_.skipped_passes = denoised.passes.skipped;
    end_with_totals();
    // All of them have been read by now.
    if (const std::string text = weights->note(); index == 0 && !text.empty()) note(text);
    if (!listeners_.on_picture && !sheet_) continue;
    if (plan_.decode_beside_denoise) {
      decode(index, std::move(denoised));
    } else {
      waiting.push_back(std::move(denoised));
    }
  }
  return waiting;
}

Recipe Run::recipe_of(uint64_t seed) const {
  Recipe recipe{job_.settled};
  recipe.seed = seed;
  recipe.weights = storage_name(job_.weights);  // what "auto" came to
  recipe.model = model_.name();
  recipe.engine = std::string("darkroom ") + kVersion;
  for (std::size_t i = 0; i < lora_digests_.size(); ++i) recipe.loras[i].sha256 = lora_digests_[i];
  return recipe;
}

// A sheet of one picture is that picture, and has its recipe.
Picture Run::sheet_picture(Image image) const {
  Picture picture;
  picture.image = std::move(image);
  picture.recipe = recipe_of(job_.seed);
  if (job_.count > 1) {
    picture.recipe.count = job_.count;
    picture.recipe.sheet_columns = job_.sheet->columns;
  }
  return picture;
}

void Run::decode(int index, Denoised denoised) {
  const uint64_t seed = job_.seed + static_cast<uint64_t>(index);
  progress_.picture = index;
  Picture picture;
  picture.index = index;
  picture.latents = std::move(denoised.latents);
  picture.latent_tokens = job_.image_tokens();
  picture.latent_channels = model_.config().transformer.in_channels;
  begin(Phase::kDecode);
  try {
    Workspace space(backend_, plan_.phase(Phase::kDecode).activation_bytes, job_.precision, cancel_);
    picture.image = darkroom::decode(space.ctx, model_.config(), *model_.open_weights(Part::kVae), job_,
                                     picture.latents, plan_.strips, scratch_ ? &*scratch_ : nullptr);
    peak_.look();
  } catch (const Error& e) {
    if (e.code() == ErrorCode::kFailure) check_weights(model_, Part::kVae, "the decoder's output", cancel_);
    throw;
  }
  end();
  picture.recipe = recipe_of(seed);
  if (job_.cache.method != CacheMethod::kOff) {
    picture.recipe.passes = denoised.passes.made;
    picture.recipe.skipped_passes = denoised.passes.skipped;
  }
  if (sheet_) sheet_->place(index, picture.image);
  if (listeners_.on_picture) listeners_.on_picture(picture);
}

void Run::draw() {
  if (!backend_.note().empty()) note(backend_.note());
  for (const std::string& text : job_.notes) note(text);
  for (const JobLora& lora : job_.loras) lora_digests_.push_back(hex(file_digest(lora.path)));
  read_noise();
  read_picture();
  if (job_.sheet) sheet_.emplace(*job_.sheet);
  encode_source();
  begin(Phase::kEncodeClip, {Phase::kEncodeClip, Phase::kEncodeT5});
  std::vector<Conditioning> prompts = condition();
  end();
  std::vector<Denoised> waiting = denoise(std::move(prompts));
  for (std::size_t i = 0; i < waiting.size(); ++i) decode(static_cast<int>(i), std::move(waiting[i]));
  if (sheet_ && listeners_.on_sheet) listeners_.on_sheet(sheet_picture(sheet_->take()));
}

}  // namespace

void generate(const Checkpoint& model, Backend& backend, const Decision& decision, const Listeners& listeners,
              const std::atomic<bool>& cancel, const EmbedCacheOptions& embeddings) {
  Run(model, backend, decision, listeners, cancel, embeddings).draw();
}

}  // namespace darkroom
