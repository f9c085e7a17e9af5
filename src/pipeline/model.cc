#include "pipeline/model.h"

#include <algorithm>
#include <map>
#include <nlohmann/json.hpp>

#include "base/error.h"
#include "base/foreign_file.h"
#include "base/json.h"
#include "pipeline/model_folder.h"
#include "text/clip_tokenizer.h"
#include "text/t5_tokenizer.h"
#include "weights/catalog.h"

namespace darkroom {
namespace {

namespace fs = std::filesystem;

constexpr const char* kPartFolders[] = {"text_encoder", "text_encoder_2", "transformer", "vae"};

nlohmann::json read_config(const fs::path& path) { return read_json_file(path, kMaxConfigBytes); }

// What lies in a part's folder; nothing when there are configs but no weights.
std::optional<WeightFiles> find_files(const fs::path& folder) {
  try {
    return find_weight_files(folder);
  } catch (const Error&) {
    return std::nullopt;
  }
}

bool complete(const std::optional<WeightFiles>& files) { return files && files->missing.empty(); }

// The dtype that most bytes of a part are stored in, and notes on the files. Without weight files the index
// still tells their size.
DType stored_dtype(const fs::path& folder, int64_t parameters, std::vector<std::string>& notes) {
  const std::optional<WeightFiles> files = find_files(folder);
  if (files && !files->note.empty()) notes.push_back(folder.filename().string() + ": " + files->note);
  if (complete(files)) {
    const Catalog catalog(*files);
    std::map<DType, std::size_t> bytes;
    for (const std::string_view name : catalog.names()) {
      const StoredTensor* stored = catalog.stored(name);
      if (stored->dtype && is_matrix_storage(*stored->dtype)) bytes[*stored->dtype] += stored->bytes;
    }
    if (std::ranges::any_of(catalog.names(), is_input_scale_name)) {
      notes.push_back(
          fmt::format("{}: the file's scales for activations are not used, activations are never quantised",
                      folder.filename().string()));
    }
    const auto most = std::ranges::max_element(bytes, {}, [](const auto& entry) { return entry.second; });
    return most == bytes.end() ? DType::kBF16 : most->first;
  }
  if (!files || !files->index.total_size || parameters == 0) return DType::kBF16;
  switch ((*files->index.total_size + parameters / 2) / parameters) {
    case 1:
      return DType::kF8E4M3;
    case 4:
      return DType::kF32;
    default:
      return DType::kBF16;
  }
}

// Sizes that exercise every path in well under a second: a few heads and layers of everything.
ModelConfig tiny_config() {
  ModelConfig c;
  c.clip = {.vocab_size = 512, .hidden_size = 32, .intermediate_size = 64, .num_layers = 2, .num_heads = 2};
  c.t5 = {.vocab_size = 512, .d_model = 48, .d_kv = 16, .d_ff = 96, .num_layers = 2, .num_heads = 3};
  c.transformer.num_layers = 2;
  c.transformer.num_single_layers = 3;
  c.transformer.num_heads = 2;
  c.transformer.head_dim = 32;
  c.transformer.axes_dims_rope = {8, 12, 12};
  c.transformer.joint_attention_dim = c.t5.d_model;
  c.transformer.pooled_projection_dim = c.clip.hidden_size;
  c.transformer.guidance_embeds = true;
  c.vae.block_out_channels = {16, 16, 32, 32};
  c.vae.layers_per_block = 1;
  c.vae.norm_num_groups = 8;
  return c;
}

// Ids for a model without a tokenizer: one per byte, between the begin and end tokens that such a model would
// have.
std::vector<int32_t> byte_ids(const std::string& text, int64_t vocab, int64_t length, bool begin, int32_t end,
                              int32_t pad) {
  std::vector<int32_t> ids;
  if (begin) ids.push_back(static_cast<int32_t>(vocab - 2));
  for (const char byte : text) {
    if (static_cast<int64_t>(ids.size()) + 1 >= length) break;
    ids.push_back(3 + static_cast<unsigned char>(byte));
  }
  ids.push_back(end);
  ids.resize(static_cast<std::size_t>(length), pad);
  return ids;
}

std::string cut_note(const char* encoder, int64_t limit) {
  return fmt::format(
      "the prompt is longer than the {} tokens that {} takes; the rest of it is not seen by it", limit,
      encoder);
}

// The transformer's matrices in `storage`; all else as `source` has it.
std::unique_ptr<WeightSource> in_storage(std::unique_ptr<WeightSource> source, Part part,
                                         WeightStorage storage) {
  if (part != Part::kTransformer || storage == WeightStorage::kAsStored) return source;
  return std::make_unique<RequantizingSource>(std::move(source), storage, flux::is_quantizable_weight);
}

void require_folder(const fs::path& path) {
  std::error_code ignored;
  if (fs::is_directory(path, ignored)) return;
  if (const std::string link = dangling_link(path); !link.empty()) fail(ErrorCode::kModel, "{}", link);
  fail(ErrorCode::kModel,
       "{}: not a folder; expected a model in diffusers layout (transformer/, text_encoder/, ...)",
       path.string());
}

// A part that is a link to nowhere is broken, not absent.
bool has_config(const fs::path& model, Part part) {
  const fs::path folder = model / part_folder(part);
  if (const std::string link = dangling_link(folder); !link.empty()) fail(ErrorCode::kModel, "{}", link);
  return is_there(folder / "config.json");
}

// A part that is absent counts with FLUX.1's own sizes, which a smaller transformer does not fit.
void check_parts_fit(const Model& model, const fs::path& path) {
  const ModelConfig& c = model.config();
  const auto check = [&](Part part, const char* what, int64_t have, int64_t want,
                         const std::string& message) {
    if (have == want) return;
    require(
        model.has_part(part), ErrorCode::kModel,
        "{}: there is no {}/config.json, so this part of the model is missing; its transformer takes {} {}, "
        "and FLUX.1's own part, which has {}, does not fit",
        path.string(), part_folder(part), what, want, have);
    fail(ErrorCode::kModel, "{}: {}", path.string(), message);
  };
  const auto check_width = [&](Part part, const char* what, int64_t have, int64_t want) {
    check(part, fmt::format("{} of width", what).c_str(), have, want,
          fmt::format("the transformer takes {} of width {}, but the encoder gives {}", what, want, have));
  };
  check_width(Part::kClip, "pooled text", c.clip.hidden_size, c.transformer.pooled_projection_dim);
  check_width(Part::kT5, "text states", c.t5.d_model, c.transformer.joint_attention_dim);
  check(
      Part::kVae, "latent channels times four:", 4 * c.vae.latent_channels, c.transformer.in_channels,
      fmt::format("the VAE has {} latent channels and the transformer {} inputs; expected four times as many",
                  c.vae.latent_channels, c.transformer.in_channels));
}

}  // namespace

std::string_view part_folder(Part part) { return kPartFolders[static_cast<std::size_t>(part)]; }

Model::Model() = default;
Model::~Model() = default;
Model::Model(Model&&) noexcept = default;

Model Model::open(const fs::path& given) {
  require_folder(given);
  const fs::path path = find_model_folder(given);
  Model model;
  model.folder_ = path;
  model.name_ = model_name(path);
  ModelConfig& c = model.config_;
  const auto config_of = [&](Part part) { return path / part_folder(part) / "config.json"; };
  for (const Part part : kParts) model.present_[static_cast<std::size_t>(part)] = has_config(path, part);
  require(model.has_part(Part::kTransformer), ErrorCode::kModel,
          "{}: there is no transformer/config.json; expected a FLUX.1 folder in diffusers layout",
          path.string());
  const auto read = [&](Part part) { return read_config(config_of(part)); };
  const auto where = [&](Part part) { return config_of(part).string(); };
  if (model.has_part(Part::kClip)) c.clip = clip::config_from_json(read(Part::kClip), where(Part::kClip));
  if (model.has_part(Part::kT5)) c.t5 = t5::config_from_json(read(Part::kT5), where(Part::kT5));
  c.transformer = flux::config_from_json(read(Part::kTransformer), where(Part::kTransformer));
  if (model.has_part(Part::kVae)) c.vae = vae::config_from_json(read(Part::kVae), where(Part::kVae));
  const fs::path scheduler = path / "scheduler" / "scheduler_config.json";
  if (is_there(scheduler)) {
    c.scheduler = read_scheduler_config(read_config(scheduler), scheduler.string());
  } else {  // FLUX.1's own: dev shifts with the number of tokens, schnell does not
    c.scheduler.use_dynamic_shifting = c.is_dev();
  }
  check_parts_fit(model, path);
  model.settings_ = read_model_settings(path, c.token_pixels(), c.vae.latent_channels);
  for (const Part part : kParts) {
    if (!model.has_part(part)) continue;
    int64_t parameters = 0;
    model.visit(part, [&](const std::string&, Tensor&, const Shape& shape) { parameters += shape.numel(); });
    model.dtypes_[static_cast<std::size_t>(part)] =
        stored_dtype(path / part_folder(part), parameters, model.notes_);
  }
  return model;
}

Model Model::dummy(const std::string& name) {
  Model model;
  model.name_ = "dummy-" + name;
  model.dummy_ = true;
  model.present_.fill(true);
  if (name == "tiny") {
    model.config_ = tiny_config();
  } else {
    require(name == "dev" || name == "schnell", ErrorCode::kUsage,
            "there is no dummy model '{}'; there are tiny, dev and schnell", name);
    model.config_.transformer.guidance_embeds = name == "dev";
  }
  model.config_.scheduler.use_dynamic_shifting = model.config_.is_dev();
  return model;
}

std::unique_ptr<WeightSource> Model::open_weights(Part part, WeightStorage storage) const {
  if (dummy_) {
    return in_storage(std::make_unique<DummySource>(DummyOptions{.dtype = part_dtype(part)}), part, storage);
  }
  require(has_part(part), ErrorCode::kModel,
          "{}: there is no {}/config.json, so this part of the model is missing", folder_.string(),
          part_folder(part));
  return in_storage(std::make_unique<CatalogSource>(Catalog(folder_ / part_folder(part))), part, storage);
}

std::unique_ptr<WeightSource> Model::weights_for_planning(Part part, WeightStorage storage) const {
  if (!dummy_ && has_part(part) && complete(find_files(folder_ / part_folder(part))))
    return open_weights(part, storage);
  return in_storage(std::make_unique<PlanSource>(part_dtype(part)), part, storage);
}

std::vector<fs::path> Model::files(Part part) const {
  std::vector<fs::path> out;
  if (dummy_) return out;
  const fs::path folder = folder_ / part_folder(part);
  const WeightFiles files = find_weight_files(folder);
  require(files.missing.empty(), ErrorCode::kModel, "{}: weight files are missing", folder.string());
  out.push_back(folder / "config.json");
  if (!files.index_path.empty()) out.push_back(files.index_path);
  out.insert(out.end(), files.present.begin(), files.present.end());
  return out;
}

Tokens Model::tokenize(const std::string& prompt, int64_t max_text_tokens) const {
  Tokens tokens;
  const int64_t clip_length = config_.clip.max_positions;
  if (dummy_) {
    const int32_t end = static_cast<int32_t>(config_.clip.vocab_size - 1);
    tokens.clip = byte_ids(prompt, config_.clip.vocab_size, clip_length, true, end, end);
    tokens.t5 = byte_ids(prompt, config_.t5.vocab_size, max_text_tokens, false, 1, 0);
    return tokens;
  }
  const std::scoped_lock lock(*tokenizers_mutex_);
  if (!clip_tokenizer_)
    clip_tokenizer_ = std::make_unique<ClipTokenizer>(ClipTokenizer::load(folder_ / "tokenizer"));
  if (!t5_tokenizer_)
    t5_tokenizer_ = std::make_unique<T5Tokenizer>(T5Tokenizer::load(folder_ / "tokenizer_2"));
  TokenIds clip = clip_tokenizer_->encode(prompt, clip_length);
  TokenIds t5 = t5_tokenizer_->encode(prompt, max_text_tokens);
  if (clip.truncated) tokens.notes.push_back(cut_note("CLIP", clip_length));
  if (t5.truncated) tokens.notes.push_back(cut_note("T5", max_text_tokens));
  tokens.clip = std::move(clip.ids);
  tokens.t5 = std::move(t5.ids);
  return tokens;
}

std::size_t Model::tokenizer_bytes() const {
  // Loading them costs 0.3 s, so it is not done for a plan. Measured afterwards, tables and what the heap
  // keeps are 4.2 to 4.5 times the text that they are read from: 16 MiB for FLUX.1's own of 3.8 MiB.
  constexpr std::size_t kQuartersPerText = 17;
  std::size_t bytes = 0;
  if (dummy_) return bytes;
  for (const char* name : {"tokenizer/vocab.json", "tokenizer/merges.txt", "tokenizer/tokenizer.json",
                           "tokenizer_2/tokenizer.json"}) {
    std::error_code absent;
    const std::uintmax_t size = fs::file_size(folder_ / name, absent);
    if (!absent) bytes += size;
  }
  return kQuartersPerText * bytes / 4;
}

void Model::visit(Part part, const VisitFn& visit) const {
  switch (part) {
    case Part::kClip:
      return clip::Weights().visit(config_.clip, visit);
    case Part::kT5:
      return t5::Weights().visit(config_.t5, visit);
    case Part::kTransformer:
      return flux::Weights().visit(config_.transformer, visit);
    case Part::kVae:
      return vae::DecoderWeights().visit(config_.vae, visit);
  }
}

void Model::visit_encoder(const VisitFn& visit) const { vae::EncoderWeights().visit(config_.vae, visit); }

}  // namespace darkroom
