// An opened model: its sizes, its tokenizers and where its weights are, whatever files they lie in. Weights
// themselves come part by part. Reading it is thread-safe; it holds no state of a run.
#pragma once

#include <array>
#include <filesystem>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "checkpoint/lora.h"
#include "checkpoint/model_settings.h"
#include "checkpoint/part.h"
#include "checkpoint/part_files.h"
#include "models/clip/clip.h"
#include "models/flux/flux.h"
#include "models/t5/t5.h"
#include "models/vae/vae.h"
#include "sampling/schedule.h"
#include "weights/requantizing_source.h"

namespace darkroom {

class Tokenizers;

struct ModelConfig {
  clip::Config clip;
  t5::Config t5;
  flux::Config transformer;
  vae::Config vae;
  SchedulerConfig scheduler;

  bool is_dev() const { return transformer.guidance_embeds; }
  // Narrower transformers are other models, with pictures and a VAE of their own.
  bool has_flux_width() const { return transformer.inner_dim() >= 1024; }
  // Pixels along one edge of a token: the VAE's factor times the 2x2 packing.
  int64_t token_pixels() const { return 2 * vae.upscale(); }
};

// Token ids, and what the user should know about them.
struct Tokens {
  std::vector<int32_t> clip, t5;
  std::vector<std::string> notes;  // e.g. that the prompt was cut
};

// Where a model is. Each of clip, t5 and vae names or replaces a part; one that is not named comes from the
// model, or is searched for (checkpoint/search.h).
struct CheckpointPaths {
  std::string model;
  std::optional<std::filesystem::path> clip = {}, t5 = {}, vae = {};
  std::filesystem::path hub_cache = {};  // of huggingface_hub; empty: not looked at

  const std::optional<std::filesystem::path>& of(Part part) const;
};

class Checkpoint {
 public:
  // Opens a folder in diffusers layout, a repository of huggingface_hub's cache (by its path, or by its name
  // ORG/NAME), a file with a transformer, or a folder with such a file. Parts may be missing; using one then
  // fails. Errors: kModel when there is no FLUX.1 transformer, something is invalid, or the parts do not fit
  // each other.
  static Checkpoint open(const CheckpointPaths& paths);
  static Checkpoint open(const std::filesystem::path& model) {
    return open(CheckpointPaths{.model = model.string()});
  }
  // Weights and tokenizers from formulas: "tiny", or "dev" and "schnell" with the true sizes. Errors: kUsage.
  static Checkpoint dummy(const std::string& name);
  ~Checkpoint();
  Checkpoint(Checkpoint&&) noexcept;

  // The folder's own name, "pinhole-dev" for the folder dev/ inside the model pinhole/, the repository's name
  // for a snapshot of huggingface_hub, or "dummy-dev". Never a path.
  const std::string& name() const { return name_; }
  // The folder in diffusers layout, or that of the transformer's file; empty for a dummy.
  const std::filesystem::path& folder() const { return folder_; }
  bool is_dummy() const { return dummy_; }
  // Whether folder() is a model in diffusers layout.
  bool is_diffusers() const { return diffusers_; }
  const ModelConfig& config() const { return config_; }
  // What the folder recommends; nothing for a dummy.
  const ModelSettings& settings() const { return settings_; }
  // Whether the part was found; without it config() holds FLUX.1's own sizes for that part.
  bool has_part(Part part) const { return dummy_ || files_[index(part)].has_value(); }
  // The part's files; null for a dummy, or when it was not found.
  const PartFiles* part_files(Part part) const {
    return files_[index(part)] ? &*files_[index(part)] : nullptr;
  }
  // Where it was looked for and which flag names it; empty for a part that was found.
  const std::string& missing(Part part) const { return missing_[index(part)]; }
  // The dtype most of the part's weights are stored in, from the files' headers or, without files, from the
  // index.
  DType part_dtype(Part part) const { return dtypes_[index(part)]; }
  // Whether smoothing factors lie beside the transformer's weights, which are divided by them.
  bool is_smoothed() const { return smoothed_; }
  // What the user should know about the files.
  const std::vector<std::string>& notes() const { return notes_; }

  // The weights of a part, with LoRAs on them, which are never quantised. Its quantizable() matrices come in
  // `storage`. Errors: kModel.
  std::unique_ptr<WeightSource> open_weights(Part part, StorageChoice storage = {},
                                             const LoraUses& loras = {}) const;

  // The same for sizes only: the files' headers where there are files, otherwise tensors without data in
  // part_dtype().
  std::unique_ptr<WeightSource> weights_for_planning(Part part, StorageChoice storage = {},
                                                     const LoraUses& loras = {}) const;

  // Where a parameter lies, for messages: "FILE: tensor 'NAME'"; its own name for a dummy. Errors: kModel.
  std::string place_of(Part part, const Param& param) const;

  // The files that say what a part computes: config.json, the index and the weight files. None for a dummy.
  // Errors: kModel when there are no weights, or some are missing.
  std::vector<std::filesystem::path> files(Part part) const;

  // Ids as the model sees them: CLIP padded to its positions, T5 padded to max_text_tokens. By which tokenizers
  // says checkpoint/tokenizers.h. Errors: kModel when their files are invalid, or the built-in ones do not fit the
  // encoder.
  Tokens tokenize(const std::string& prompt, int64_t max_text_tokens) const;

  // Visits every tensor of a part as its model names it, with the shapes of config(). What is bound goes
  // nowhere: this is for counting and listing.
  void visit(Part part, const VisitFn& visit) const;
  // The same of the VAE's encoder, which only runs that start from a picture need; not all files have it.
  void visit_encoder(const VisitFn& visit) const;

  // What other programs' spellings need to know of this model.
  SpellingSizes spelling_sizes() const;

 private:
  Checkpoint();
  static constexpr std::size_t index(Part part) { return static_cast<std::size_t>(part); }
  void open_parts(const CheckpointPaths& paths);
  void search(Part part, const std::filesystem::path& hub_cache);
  void read_configs();
  std::string why_not(Part part, const PartFiles& files) const;

  std::filesystem::path folder_;
  std::string name_;
  bool dummy_ = false;
  bool diffusers_ = false;
  bool smoothed_ = false;
  ModelConfig config_;
  ModelSettings settings_;
  std::array<std::optional<PartFiles>, 4> files_;
  std::array<std::string, 4> missing_;
  std::vector<std::string> notes_;
  std::array<DType, 4> dtypes_{DType::kBF16, DType::kBF16, DType::kBF16, DType::kBF16};
  std::unique_ptr<Tokenizers> tokenizers_;
};

}  // namespace darkroom
