#include "pipeline/inspect.h"

#include <algorithm>
#include <nlohmann/json.hpp>

#include "base/error.h"
#include "base/file_map.h"
#include "base/foreign_file.h"
#include "base/json.h"
#include "checkpoint/model_folder.h"
#include "checkpoint/search.h"
#include "image/found_recipe.h"
#include "image/picture_texts.h"
#include "image/sheet.h"
#include "pipeline/lora_info.h"
#include "weights/scales.h"

namespace darkroom {
namespace {

using nlohmann::json;
namespace fs = std::filesystem;

// An integer where JSON readers have one that large.
json whole_number(double value) { return value < 9e15 ? json(static_cast<int64_t>(value)) : json(value); }

// What lies in the files of a part, and what is wrong with it.
void add_weight_files(const PartFiles& files, json& out) {
  out["weights"] = files.catalog ? "found" : "missing";
  out["files"] = json::array();
  try {
    const WeightFiles found = find_weight_files(files.where);
    for (const fs::path& file : found.present) out["files"].push_back(file.filename().string());
    if (!found.missing.empty()) out["missing"] = found.missing.front().filename().string();
  } catch (const Error& e) {
    if (holds_weights(files.where)) out["problem"] = e.what();
    return;
  }
  if (!files.catalog) return;
  out["dtypes"] = files.catalog->bytes_by_type();
  out["scales"] = std::ranges::count_if(files.catalog->names(), is_scale_name);
  try {
    check_companions(*files.catalog);
  } catch (const Error& e) {
    out["problem"] = e.what();
  }
}

json describe_part(const Checkpoint& model, Part part) {
  const PartFiles* files = model.part_files(part);
  json out = {{"name", part_folder(part)}, {"folder", part_folder(part)}, {"present", files != nullptr}};
  if (!files) {
    out["problem"] = model.missing(part);
    return out;
  }
  const PartSize size = part_size(model, part);
  out["parameters"] = size.parameters;
  out["bytes"] = size.bytes;
  out["dtype"] = dtype_name(model.part_dtype(part));
  out["where"] = files->where.string();
  out["names"] = names_title(files->names);
  if (!files->prefix.empty()) out["prefix"] = files->prefix;
  if (!files->config.empty()) out["config"] = read_json_file(files->config, kMaxConfigBytes);
  add_weight_files(*files, out);
  return out;
}

json inspect_model(const fs::path& path) {
  const Checkpoint model = Checkpoint::open(path);
  json parts = json::array();
  for (const Part part : kParts) parts.push_back(describe_part(model, part));
  return {{"type", "model"},
          {"name", model.name()},
          {"kind", model.config().is_dev() ? "dev" : "schnell"},
          {"parts", parts}};
}

// What a part in a file is, in a few words: "19 double and 38 single blocks of width 3072, dev".
std::string sizes_text(const PartFiles& files, Part part) {
  switch (part) {
    case Part::kClip: {
      const clip::Config config = clip_config(files);
      return fmt::format("{} layers of width {}", config.num_layers, config.hidden_size);
    }
    case Part::kT5: {
      const t5::Config config = t5_config(files);
      std::string text = fmt::format("{} layers of width {}", config.num_layers, config.d_model);
      return config.projection ? text + fmt::format(", projected to {}", config.projection) : text;
    }
    case Part::kTransformer: {
      const flux::Config config = transformer_config(files);
      return fmt::format("{} double and {} single blocks of width {}, {}", config.num_layers,
                         config.num_single_layers, config.inner_dim(),
                         config.guidance_embeds ? "dev" : "schnell");
    }
    case Part::kVae:
      return fmt::format("{} latent channels", vae_config(files).latent_channels);
  }
  return "";
}

// The parts of FLUX.1 that a file holds, or what it is instead.
void add_contents(const fs::path& path, const Catalog& catalog, json& out) {
  const Contents contents = recognise(catalog);
  if (!contents.other.empty()) out["other"] = contents.other;
  out["holds"] = json::array();
  for (const FoundPart& found : contents.parts) {
    json part = {{"part", part_folder(found.part)},
                 {"title", part_title(found.part)},
                 {"names", names_title(found.names)},
                 {"prefix", found.prefix}};
    try {
      const PartFiles files = part_of_catalog(std::make_shared<const Catalog>(catalog), found, path);
      part["sizes"] = sizes_text(files, found.part);
    } catch (const Error& e) {
      part["problem"] = e.what();
    }
    out["holds"].push_back(std::move(part));
  }
}

// What is still needed to draw with a file, or where it would be taken from.
void add_needed(const fs::path& path, json& out) {
  out["needs"] = json::array();
  try {
    const Checkpoint model = Checkpoint::open(path);
    for (const Part part : kParts) {
      const PartFiles* files = model.part_files(part);
      if (files && files->where == path) continue;
      out["needs"].push_back({{"part", part_folder(part)},
                              {"title", part_title(part)},
                              {"found", files ? json(files->where.string()) : json()},
                              {"missing", model.missing(part)}});
    }
  } catch (const Error& e) {
    out["problem"] = e.what();
  }
}

json inspect_weights(const fs::path& path) {
  const Catalog catalog(path);
  json tensors = json::array();
  json counts = json::object();
  int64_t scales = 0, parameters = catalog.parameters();
  for (const std::string_view name : catalog.names()) {
    const StoredTensor* stored = catalog.stored(name);
    if (is_scale_name(name)) {
      scales += 1;
      parameters -= stored->elements;
    }
    const std::string type(stored->type);
    counts[type] = counts.value(type, 0) + 1;
    tensors.push_back({{"name", name}, {"dtype", stored->type}, {"shape", stored->extents}});
  }
  json out = {{"type", catalog.files().at(0)->is_gguf() ? "gguf" : "safetensors"},
              {"name", path.filename().string()},
              {"parameters", parameters},
              {"scales", scales},
              {"bytes", catalog.total_bytes()},
              {"dtypes", catalog.bytes_by_type()},
              {"counts", std::move(counts)},
              {"tensors", std::move(tensors)}};
  add_contents(path, catalog, out);
  if (out["holds"].empty()) {
    if (json lora = describe_lora(catalog); !lora.is_null()) {
      out["lora"] = std::move(lora);
      out["other"] =
          out["lora"].contains("made_for")
              ? fmt::format("a LoRA for {}, not for FLUX.1", out["lora"]["made_for"].get<std::string>())
              : "a LoRA; give it with --lora to the model that it belongs to";
    }
  }
  for (const json& part : out["holds"]) {
    if (part["part"] == part_folder(Part::kTransformer)) add_needed(path, out);
  }
  return out;
}

// The size that the recipe's run gave, which differs from the file's when somebody resized it.
void set_drawn_size(const Recipe& recipe, json& out) {
  if (!recipe.width || !recipe.height) return;
  const SheetLayout layout = make_sheet_layout({.pictures = recipe.count.value_or(1),
                                                .columns = recipe.sheet_columns.value_or(0),
                                                .picture_width = *recipe.width,
                                                .picture_height = *recipe.height});
  out["drawn_width"] = layout.width;
  out["drawn_height"] = layout.height;
}

void add_recipe(const FoundRecipe& found, const std::string& where, json& out) {
  out["source"] = source_word(found.source);
  out["recipe"] = parse_json(to_json(found.recipe), where);
  if (found.source == RecipeSource::kJson) return;
  out["program"] = source_name(found.source);
  out["not_repeated"] = found.not_repeated;
  out["notes"] = found.notes;
}

json inspect_picture(const fs::path& path) {
  const PictureTexts picture = read_picture_texts(path);
  json out = {
      {"type", "picture"},      {"name", path.filename().string()}, {"format", format_name(picture.format)},
      {"width", picture.width}, {"height", picture.height},         {"source", "none"}};
  if (picture.orientation != 1) out["orientation"] = picture.orientation;
  if (!may_hold_recipe(picture)) return out;
  try {
    const FoundRecipe found = read_recipe(picture, path.string());
    add_recipe(found, path.string(), out);
    set_drawn_size(found.recipe, out);
  } catch (const Error& e) {
    if (picture.texts.contains("darkroom")) throw;  // our own must be sound
    out["source"] = "unknown";
    out["problem"] = e.what();
  }
  return out;
}

// "PNG", or the name of another kind of picture; "" for what is none.
std::string_view kind_of_picture(const fs::path& path) {
  const FileMap file(path);
  const auto head = file.bytes().first(std::min<std::size_t>(file.bytes().size(), 32));
  return picture_kind({reinterpret_cast<const char*>(head.data()), head.size()});
}

}  // namespace

json inspect(const fs::path& given) {
  std::error_code ignored;
  if (const std::string link = dangling_link(given); !link.empty()) fail(ErrorCode::kModel, "{}", link);
  const fs::path path = find_model_folder(given);
  require(fs::exists(path, ignored), ErrorCode::kModel, "{}: there is no such file or folder", path.string());
  if (fs::is_directory(path, ignored)) {
    // A whole model, or the folder of one part.
    std::vector<std::string> rejected;
    const bool is_model =
        fs::exists(path / "transformer", ignored) || fs::exists(path / "model_index.json", ignored) ||
        (!fs::exists(path / "config.json", ignored) && !transformers_in(path, rejected).empty());
    return is_model ? inspect_model(path) : inspect_weights(path);
  }
  const std::string_view kind = kind_of_picture(path);
  if (kind.empty()) return inspect_weights(path);
  if (!is_read_kind(kind)) fail_unread_kind(kind, path.string());
  return inspect_picture(path);
}

json to_json(const Checkpoint& model, const Job& job, const Plan& plan) {
  json phases = json::array();
  for (const PlannedPhase& phase : plan.phases) {
    phases.push_back({{"name", phase_name(phase.phase)},
                      {"weight_bytes", phase.weight_bytes},
                      {"resident_bytes", phase.resident_bytes},
                      {"slot_bytes", phase.slot_bytes},
                      {"streamed_bytes", phase.streamed_bytes},
                      {"staging_bytes", phase.staging_bytes},
                      {"kept_bytes", phase.kept_bytes},
                      {"activation_bytes", phase.activation_bytes},
                      {"host_bytes", phase.host_bytes},
                      {"peak_bytes", plan.on_device ? phase.tensor_bytes() : phase.peak_bytes()},
                      {"flops", whole_number(phase.flops)},
                      {"assumed", phase.assumed}});
  }
  json loras = json::array();
  for (const JobLora& lora : job.loras) {
    loras.push_back({{"name", lora.path.filename().string()}, {"strength", lora.use.strength}});
  }
  json parameters = json::object();
  for (const Part part : kParts) parameters[std::string(part_folder(part))] = part_parameters(model, part);
  return {{"model", model.name()},
          {"kind", model.config().is_dev() ? "dev" : "schnell"},
          {"precision", job.settled.precision},
          {"weights", storage_name(job.weights)},
          {"loras", loras},
          {"width", job.width},
          {"height", job.height},
          {"steps", job.steps()},
          {"image_tokens", job.image_tokens()},
          {"text_tokens", job.max_text_tokens},
          {"parameters", parameters},
          {"phases", phases},
          {"process_bytes", plan.process_bytes},
          {"budget_bytes", plan.budget_bytes ? json(*plan.budget_bytes) : json()},
          {"budget", plan.automatic ? "auto" : "given"},
          {"on_device", plan.on_device},
          {"ram_bytes", plan.on_device ? json(plan.ram_bytes(plan.largest_beside())) : json()},
          {"ram_budget_bytes", plan.ram_budget_bytes ? json(*plan.ram_budget_bytes) : json()},
          {"ram_budget", plan.ram_automatic ? "auto" : "given"},
          {"resident_blocks", std::ranges::count(plan.blocks.streamed, false)},
          {"streamed_blocks", std::ranges::count(plan.blocks.streamed, true)},
          {"slots", plan.blocks.slots},
          {"strip_bytes", plan.strips.strip_bytes},
          {"scratch_bytes", plan.scratch_bytes},
          {"peak_bytes", plan.peak_bytes()},
          {"notes", job.notes}};
}

json to_json(const Tokens& tokens) { return {{"clip", tokens.clip}, {"t5", tokens.t5}}; }

}  // namespace darkroom
