// An opened model: its configs, its tokenizers and where its weights are. Weights themselves come part by
// part.
//
// Called by the pipeline, the planner and the API. Reading it is thread-safe; it holds no state of a run.
#pragma once

#include <array>
#include <filesystem>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <vector>

#include "models/clip/clip.h"
#include "models/flux/flux.h"
#include "models/t5/t5.h"
#include "models/vae/vae.h"
#include "pipeline/model_settings.h"
#include "sampling/schedule.h"
#include "weights/requantizing_source.h"

namespace darkroom {

class ClipTokenizer;
class T5Tokenizer;

// The parts of a FLUX.1 pipeline that have weights, in the order in which a run needs them.
enum class Part : uint8_t { kClip, kT5, kTransformer, kVae };
inline constexpr std::array<Part, 4> kParts = {Part::kClip, Part::kT5, Part::kTransformer, Part::kVae};

// The folder of a part in diffusers layout: "text_encoder", "text_encoder_2", "transformer", "vae".
std::string_view part_folder(Part part);

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

// The largest config.json that is read.
inline constexpr std::size_t kMaxConfigBytes = 1 << 20;

class Model {
 public:
  // Opens a folder in diffusers layout, or a repository in a cache of huggingface_hub
  // (pipeline/model_folder.h). Parts may be missing; using one then fails. Errors: kModel when `path` is no
  // such folder or holds no transformer, a config or darkroom.json is invalid, or the parts do not fit each
  // other.
  static Model open(const std::filesystem::path& path);
  // Weights and tokenizers from formulas: "tiny", or "dev" and "schnell" with the true sizes. Errors: kUsage.
  static Model dummy(const std::string& name);
  ~Model();
  Model(Model&&) noexcept;

  // The folder's own name, "pinhole-dev" for the folder dev/ inside the model pinhole/, the repository's name
  // for a snapshot of huggingface_hub, or "dummy-dev". Never a path.
  const std::string& name() const { return name_; }
  // Where it lies; empty for a dummy.
  const std::filesystem::path& folder() const { return folder_; }
  const ModelConfig& config() const { return config_; }
  // What the folder recommends; nothing for a dummy.
  const ModelSettings& settings() const { return settings_; }
  // Whether the part's config was found; without it config() holds FLUX.1's own sizes for that part.
  bool has_part(Part part) const { return present_[static_cast<std::size_t>(part)]; }
  // The dtype most of the part's weights are stored in, from the files' headers or, without files, from the
  // index.
  DType part_dtype(Part part) const { return dtypes_[static_cast<std::size_t>(part)]; }
  // What the user should know about the files.
  const std::vector<std::string>& notes() const { return notes_; }

  // Opens the weights of a part. The transformer's is_quantizable_weight() matrices come in `storage`.
  // Errors: kModel.
  std::unique_ptr<WeightSource> open_weights(Part part,
                                             WeightStorage storage = WeightStorage::kAsStored) const;

  // The same for sizes only: the files' headers where there are files, otherwise tensors without data in
  // part_dtype().
  std::unique_ptr<WeightSource> weights_for_planning(Part part,
                                                     WeightStorage storage = WeightStorage::kAsStored) const;

  // The files that say what a part computes: config.json, the index and the weight files. None for a dummy.
  // Errors: kModel when there are no weights, or some are missing.
  std::vector<std::filesystem::path> files(Part part) const;

  // Ids as the model sees them: CLIP padded to its positions, T5 padded to max_text_tokens. Errors: kModel
  // when the tokenizer files are missing or invalid.
  Tokens tokenize(const std::string& prompt, int64_t max_text_tokens) const;

  // About what the tokenizers hold in memory, from the sizes of their files; 0 for a dummy.
  std::size_t tokenizer_bytes() const;

  // Visits every tensor of a part as its model names it, with the shapes of config(). What is bound goes
  // nowhere: this is for counting and listing.
  void visit(Part part, const VisitFn& visit) const;
  // The same of the VAE's encoder, which only runs that start from a picture need; not all files have it.
  void visit_encoder(const VisitFn& visit) const;

 private:
  Model();
  std::filesystem::path folder_;
  std::string name_;
  bool dummy_ = false;
  ModelConfig config_;
  ModelSettings settings_;
  std::array<bool, 4> present_{};
  std::vector<std::string> notes_;
  std::array<DType, 4> dtypes_{DType::kBF16, DType::kBF16, DType::kBF16, DType::kBF16};
  // Loaded when first used.
  mutable std::unique_ptr<std::mutex> tokenizers_mutex_ = std::make_unique<std::mutex>();
  mutable std::unique_ptr<ClipTokenizer> clip_tokenizer_;
  mutable std::unique_ptr<T5Tokenizer> t5_tokenizer_;
};

}  // namespace darkroom
