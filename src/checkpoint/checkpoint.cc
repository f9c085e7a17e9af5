#include "checkpoint/checkpoint.h"

#include <algorithm>
#include <map>
#include <nlohmann/json.hpp>

#include "base/error.h"
#include "base/foreign_file.h"
#include "base/json.h"
#include "base/printable.h"
#include "checkpoint/lora_source.h"
#include "checkpoint/model_folder.h"
#include "checkpoint/own_config.h"
#include "checkpoint/search.h"
#include "checkpoint/tokenizers.h"
#include "weights/catalog.h"

namespace darkroom {
namespace {

namespace fs = std::filesystem;

constexpr const char* kPartFolders[] = {"text_encoder", "text_encoder_2", "transformer", "vae"};

// The flag that names a part.
constexpr const char* kPartFlags[] = {"--clip", "--t5", "--model", "--vae"};

// The dtype that most bytes of a part are stored in. Without weight files the index still tells their size.
DType stored_dtype(const PartFiles& files, int64_t parameters) {
  if (files.catalog) {
    const Catalog& catalog = *files.catalog;
    std::map<DType, std::size_t> bytes;
    for (const std::string_view name : catalog.names()) {
      const StoredTensor* stored = catalog.stored(name);
      if (stored->dtype && is_matrix_storage(*stored->dtype)) bytes[*stored->dtype] += stored->bytes;
      if (name.ends_with("bitsandbytes__nf4") || name.ends_with("bitsandbytes__fp4")) {
        const DType packed = name.ends_with("nf4") ? DType::kNF4 : DType::kFP4;
        bytes[packed] += catalog.stored(name.substr(0, name.find(".quant_state")))->bytes;
      }
    }
    const auto most = std::ranges::max_element(bytes, {}, [](const auto& entry) { return entry.second; });
    return most == bytes.end() ? DType::kBF16 : most->first;
  }
  if (!files.total_size || parameters == 0) return DType::kBF16;
  switch ((*files.total_size + parameters / 2) / parameters) {
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

// With LoRAs, and matrices in `storage`.
std::unique_ptr<WeightSource> in_storage(std::unique_ptr<WeightSource> plain, Part part, bool smoothed,
                                         StorageChoice storage, const LoraUses& loras) {
  std::unique_ptr<WeightSource> source = with_loras(std::move(plain), part, loras);
  if (storage.changes_nothing() && !smoothed) return source;
  return std::make_unique<RequantizingSource>(std::move(source), storage);
}

// Whether smoothing factors lie beside the transformer's weights, for all or some of its inputs. Errors: kModel for
// factors that cannot be.
bool has_factors(const Checkpoint& model) {
  const std::vector<std::string_view> names = model.part_files(Part::kTransformer)->catalog->names();
  if (std::ranges::none_of(names, [](std::string_view name) { return name.ends_with(kSmoothEnding); }))
    return false;
  const std::unique_ptr<WeightSource> source = model.open_weights(Part::kTransformer);
  bool any = false;
  model.visit(Part::kTransformer, [&](const Param& param, Tensor&) {
    const std::optional<Param> smooth = param.smooth ? source->smooth_of(param) : std::nullopt;
    if (!smooth) return;
    any = true;
    const std::string place = model.place_of(Part::kTransformer, *smooth);
    const Tensor stored = source->describe(*smooth);
    require(stored.dtype == DType::kF32, ErrorCode::kModel, "{} is {}, smoothing factors are F32", place,
            stored);
    std::vector<float> factors(static_cast<std::size_t>(param.cols()));
    source->read(*smooth, std::as_writable_bytes(std::span(factors)));
    require_factors(factors, place);
  });
  return any;
}

bool is_folder(const fs::path& path) {
  std::error_code ignored;
  return fs::is_directory(path, ignored);
}

bool is_diffusers_model(const fs::path& path) {
  return is_folder(path) &&
         (is_there(path / "transformer" / "config.json") || is_there(path / "model_index.json"));
}

// The path that `given` means: itself, or a repository of huggingface_hub's cache. Errors: kModel.
fs::path resolve_model(const CheckpointPaths& paths) {
  const std::string& given = paths.model;
  const fs::path path = given;
  if (const std::string link = dangling_link(path); !link.empty()) fail(ErrorCode::kModel, "{}", link);
  if (is_there(path)) return find_model_folder(path);
  if (const std::optional<fs::path> repository = find_hub_repository(paths.hub_cache, given))
    return find_model_folder(*repository);
  if (is_hub_name(given) && !paths.hub_cache.empty()) {
    fail(ErrorCode::kModel,
         "{}: there is no such file or folder, and no model of that name in {}; nothing is downloaded by "
         "darkroom: `hf download {}` brings it there",
         given, paths.hub_cache.string(), given);
  }
  fail(ErrorCode::kModel, "{}: there is no such file or folder", given);
}

}  // namespace

std::string_view part_folder(Part part) { return kPartFolders[static_cast<std::size_t>(part)]; }

const std::optional<fs::path>& CheckpointPaths::of(Part part) const {
  static const std::optional<fs::path> kNone;
  switch (part) {
    case Part::kClip:
      return clip;
    case Part::kT5:
      return t5;
    case Part::kVae:
      return vae;
    case Part::kTransformer:
      break;
  }
  return kNone;
}

Checkpoint::Checkpoint() : tokenizers_(std::make_unique<Tokenizers>()) {}
Checkpoint::~Checkpoint() = default;
Checkpoint::Checkpoint(Checkpoint&&) noexcept = default;

// What does not fit the transformer; empty when all does.
std::string Checkpoint::why_not(Part part, const PartFiles& files) const {
  const flux::Config& transformer = config_.transformer;
  const auto check = [](const char* what, int64_t have, int64_t want) {
    return have == want ? ""
                        : fmt::format("its {} are {} wide and the transformer takes {}", what, have, want);
  };
  switch (part) {
    case Part::kClip:
      return check("pooled states", clip_config(files).hidden_size, transformer.pooled_projection_dim);
    case Part::kT5:
      return check("states", t5_config(files).out_features(), transformer.joint_attention_dim);
    case Part::kVae: {
      const int64_t channels = vae_config(files).latent_channels;
      if (4 * channels == transformer.in_channels) return "";
      return fmt::format(
          "it has {} latent channels and the transformer {} inputs; expected four times as many", channels,
          transformer.in_channels);
    }
    case Part::kTransformer:
      break;
  }
  return "";
}

void Checkpoint::search(Part part, const fs::path& hub_cache) {
  const fs::path& transformer = files_[index(Part::kTransformer)]->where;
  SearchResult result =
      search_part(part, transformer, hub_cache, [&](const PartFiles& files) { return why_not(part, files); });
  if (result.found) {
    const FoundFiles& found = *result.found;
    std::string note =
        fmt::format("{}: {}, found {}", part_title(part), found.files.where.string(), found.place);
    if (!found.others.empty()) {
      note += fmt::format("; {} other file(s) there would do, {} names another", found.others.size(),
                          kPartFlags[index(part)]);
    }
    notes_.push_back(std::move(note));
    files_[index(part)] = std::move(result.found->files);
    return;
  }
  std::string& missing = missing_[index(part)];
  missing = fmt::format("no {} was found", part_title(part));
  constexpr std::size_t kShown = 4;
  for (std::size_t i = 0; i < std::min(kShown, result.looked_in.size()); ++i) {
    missing += (i ? ", " : " (looked in ") + result.looked_in[i];
  }
  if (!result.looked_in.empty()) missing += result.looked_in.size() > kShown ? ", ...)" : ")";
  for (const std::string& rejected : result.rejected) missing += "; " + rejected;
  missing += fmt::format("; pass {} FILE", kPartFlags[index(part)]);
}

void Checkpoint::open_parts(const CheckpointPaths& paths) {
  const auto file = [&](Part part) -> std::optional<PartFiles>& { return files_[index(part)]; };
  const fs::path path = resolve_model(paths);
  diffusers_ = is_diffusers_model(path);
  folder_ = path;
  if (diffusers_) {
    for (const Part part : kParts) {
      if (paths.of(part)) continue;
      file(part) = open_part_folder(path / part_folder(part), part);
      if (file(part)) continue;
      missing_[index(part)] =
          fmt::format("{}: there is no {}/config.json, so this part of the model is missing", path.string(),
                      part_folder(part));
    }
    require(file(Part::kTransformer).has_value(), ErrorCode::kModel,
            "{}: there is no transformer/config.json; expected a FLUX.1 folder in diffusers layout",
            path.string());
  } else {
    file(Part::kTransformer) = open_transformer(path);
    const fs::path& where = file(Part::kTransformer)->where;
    folder_ = is_folder(where) ? where : where.parent_path();
  }
  config_.transformer = transformer_config(*file(Part::kTransformer));
  for (const Part part : kParts) {
    const std::optional<fs::path>& named = paths.of(part);
    if (!named) continue;
    file(part) = open_named_part(*named, part);
    const std::string why = why_not(part, *file(part));
    require(why.empty(), ErrorCode::kModel, "{}: this {} does not fit: {}", named->string(), part_title(part),
            why);
  }
  if (diffusers_) return;
  // An all-in-one file, then other files.
  const PartFiles& transformer = *file(Part::kTransformer);
  std::vector<FoundPart> inside;
  std::shared_ptr<const Catalog> whole;
  if (!is_folder(transformer.where)) {
    whole = std::make_shared<const Catalog>(transformer.where);
    inside = recognise(*whole).parts;
  }
  for (const Part part : kParts) {
    if (file(part)) continue;
    const auto found = std::ranges::find(inside, part, &FoundPart::part);
    if (found != inside.end()) {
      PartFiles files = part_of_catalog(whole, *found, transformer.where);
      if (why_not(part, files).empty()) file(part) = std::move(files);
    }
    if (!file(part)) search(part, paths.hub_cache);
  }
}

// A part that is absent counts with FLUX.1's own sizes, which a smaller transformer does not fit.
void Checkpoint::read_configs() {
  ModelConfig& c = config_;
  if (const PartFiles* files = part_files(Part::kClip)) c.clip = clip_config(*files);
  if (const PartFiles* files = part_files(Part::kT5)) c.t5 = t5_config(*files);
  if (const PartFiles* files = part_files(Part::kVae)) c.vae = vae_config(*files);
  const auto check = [&](Part part, const char* what, int64_t have, int64_t want,
                         const std::string& message) {
    if (have == want) return;
    require(has_part(part), ErrorCode::kModel,
            "{}; the transformer takes {} {}, and FLUX.1's own part, which has {}, does not fit",
            missing(part), what, want, have);
    fail(ErrorCode::kModel, "{}: {}", folder_.string(), message);
  };
  const auto check_width = [&](Part part, const char* what, int64_t have, int64_t want) {
    check(part, fmt::format("{} of width", what).c_str(), have, want,
          fmt::format("the transformer takes {} of width {}, but the encoder gives {}", what, want, have));
  };
  check_width(Part::kClip, "pooled text", c.clip.hidden_size, c.transformer.pooled_projection_dim);
  check_width(Part::kT5, "text states", c.t5.out_features(), c.transformer.joint_attention_dim);
  check(
      Part::kVae, "latent channels times four:", 4 * c.vae.latent_channels, c.transformer.in_channels,
      fmt::format("the VAE has {} latent channels and the transformer {} inputs; expected four times as many",
                  c.vae.latent_channels, c.transformer.in_channels));
}

Checkpoint Checkpoint::open(const CheckpointPaths& paths) {
  Checkpoint out;
  out.open_parts(paths);
  out.read_configs();
  const fs::path& transformer = out.part_files(Part::kTransformer)->where;
  out.name_ =
      out.diffusers_ || is_folder(transformer) ? model_name(out.folder_) : transformer.stem().string();
  ModelConfig& c = out.config_;
  const fs::path scheduler = out.folder_ / "scheduler" / "scheduler_config.json";
  const PartFiles& main = *out.part_files(Part::kTransformer);
  const nlohmann::json own_scheduler = own_config(main, "scheduler"),
                       own_settings = own_config(main, "darkroom");
  if (out.diffusers_ && is_there(scheduler)) {
    c.scheduler = read_scheduler_config(read_json_file(scheduler, kMaxConfigBytes), scheduler.string());
  } else if (!out.diffusers_ && !own_scheduler.is_null()) {
    c.scheduler = read_scheduler_config(own_scheduler, own_config_place(main, "scheduler"));
  } else {  // FLUX.1's own: dev shifts with the number of tokens, schnell does not
    c.scheduler.use_dynamic_shifting = c.is_dev();
  }
  if (out.diffusers_) {
    out.settings_ = read_model_settings(out.folder_, c.token_pixels(), c.vae.latent_channels);
  } else if (!own_settings.is_null()) {
    out.settings_ = settings_from_json(own_settings, c.token_pixels(), c.vae.latent_channels,
                                       own_config_place(main, "darkroom"));
  }
  for (const Part part : kParts) {
    const PartFiles* files = out.part_files(part);
    if (!files) continue;
    int64_t parameters = 0;
    out.visit(part, [&](const Param& param, Tensor&) { parameters += param.shape.numel(); });
    out.dtypes_[index(part)] = stored_dtype(*files, parameters);
    if (part == Part::kTransformer && files->catalog) out.smoothed_ = has_factors(out);
    if (!files->note.empty()) out.notes_.push_back(files->where.filename().string() + ": " + files->note);
    if (files->catalog && std::ranges::any_of(files->catalog->names(), is_input_scale_name)) {
      out.notes_.push_back(
          fmt::format("{}: the file's scales for activations are not used, activations are never quantised",
                      files->where.filename().string()));
    }
  }
  return out;
}

Checkpoint Checkpoint::dummy(const std::string& name) {
  Checkpoint out;
  out.name_ = "dummy-" + name;
  out.dummy_ = true;
  if (name == "tiny") {
    out.config_ = tiny_config();
  } else {
    require(name == "dev" || name == "schnell", ErrorCode::kUsage,
            "there is no dummy model '{}'; there are tiny, dev and schnell", name);
    out.config_.transformer.guidance_embeds = name == "dev";
  }
  out.config_.scheduler.use_dynamic_shifting = out.config_.is_dev();
  return out;
}

SpellingSizes Checkpoint::spelling_sizes() const {
  return {.inner_dim = config_.transformer.inner_dim(),
          .vae_levels = static_cast<int64_t>(config_.vae.block_out_channels.size())};
}

std::unique_ptr<WeightSource> Checkpoint::open_weights(Part part, StorageChoice storage,
                                                       const LoraUses& loras) const {
  if (dummy_) return in_storage(std::make_unique<DummySource>(part_dtype(part)), part, false, storage, loras);
  const PartFiles* files = part_files(part);
  if (!files) fail(ErrorCode::kModel, "{}", missing(part));
  require(files->catalog != nullptr, ErrorCode::kModel, "{}", files->problem);
  return in_storage(
      std::make_unique<CatalogSource>(*files->catalog, spelling_of(part, files->names, spelling_sizes())),
      part, smoothed_ && part == Part::kTransformer, storage, loras);
}

std::unique_ptr<WeightSource> Checkpoint::weights_for_planning(Part part, StorageChoice storage,
                                                               const LoraUses& loras) const {
  const PartFiles* files = part_files(part);
  if (files && files->catalog) return open_weights(part, storage, loras);
  return in_storage(std::make_unique<PlanSource>(part_dtype(part)), part, false, storage, loras);
}

std::string Checkpoint::place_of(Part part, const Param& param) const {
  const PartFiles* files = part_files(part);
  if (!files || !files->catalog) return fmt::format("tensor '{}'", param.name);
  return CatalogSource(*files->catalog, spelling_of(part, files->names, spelling_sizes())).place_of(param);
}

std::vector<fs::path> Checkpoint::files(Part part) const {
  const PartFiles* files = part_files(part);
  if (!files) return {};
  require(files->catalog != nullptr, ErrorCode::kModel, "{}", files->problem);
  return files->files();
}

Tokens Checkpoint::tokenize(const std::string& prompt, int64_t max_text_tokens) const {
  return tokenizers_->tokenize(*this, prompt, max_text_tokens);
}

void Checkpoint::visit(Part part, const VisitFn& visit) const {
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

void Checkpoint::visit_encoder(const VisitFn& visit) const {
  vae::EncoderWeights().visit(config_.vae, visit);
}

}  // namespace darkroom
