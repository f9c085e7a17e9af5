#include "checkpoint/part_files.h"

#include <fmt/format.h>

#include <algorithm>
#include <nlohmann/json.hpp>

#include "base/error.h"
#include "base/foreign_file.h"
#include "base/json.h"
#include "base/printable.h"
#include "checkpoint/own_config.h"
#include "checkpoint/search.h"
#include "weights/weight_files.h"

namespace darkroom {
namespace {

namespace fs = std::filesystem;

bool is_folder(const fs::path& path) {
  std::error_code ignored;
  return fs::is_directory(path, ignored);
}

nlohmann::json config_of(const PartFiles& files) { return read_json_file(files.config, kMaxConfigBytes); }

template <typename FromJson, typename FromShapes>
auto read_sizes(const PartFiles& files, Part part, FromJson from_json, FromShapes from_shapes) {
  if (!files.config.empty()) return from_json(config_of(files), files.config.string());
  const nlohmann::json own = own_config(files, part_folder(part));
  if (own.is_null()) return from_shapes(*files.catalog, files.names);
  return from_json(own, own_config_place(files, part_folder(part)));
}

// The one file of `folder` that is the part. Errors: kModel.
PartFiles open_only_file(const fs::path& folder, Part part) {
  std::vector<PartFiles> found;
  std::string last_problem;
  for (const fs::path& path : weight_files_in(folder)) {
    try {
      found.push_back(open_part_file(path, part));
    } catch (const Error& e) {
      last_problem = fmt::format("; {}", e.what());
    }
  }
  if (found.size() == 1) return std::move(found[0]);
  require(!found.empty(), ErrorCode::kModel, "{}: no file in this folder is a FLUX.1 {}{}", folder.string(),
          part_title(part), last_problem);
  fail(ErrorCode::kModel, "{}: {} files in this folder are a {}: {} and {}; name one of them",
       folder.string(), found.size(), part_title(part), printable(found[0].where.filename().string()),
       printable(found[1].where.filename().string()));
}

}  // namespace

std::vector<fs::path> PartFiles::files() const {
  std::vector<fs::path> out;
  if (!config.empty()) out.push_back(config);
  if (!catalog) return out;
  if (is_folder(where)) {
    if (fs::path(catalog->where()).extension() == ".json") out.emplace_back(catalog->where());
  }
  for (const auto& file : catalog->files()) out.emplace_back(file->where());
  return out;
}

std::optional<PartFiles> open_part_folder(const fs::path& folder, Part part) {
  // A part that is a link to nowhere is broken, not absent.
  if (const std::string link = dangling_link(folder); !link.empty()) fail(ErrorCode::kModel, "{}", link);
  if (!is_there(folder / "config.json")) return std::nullopt;
  PartFiles out;
  out.where = folder;
  out.config = folder / "config.json";
  try {
    const WeightFiles files = find_weight_files(folder);
    out.note = files.note;
    out.total_size = files.index.total_size;
    if (!files.missing.empty()) fail(ErrorCode::kModel, "{}", missing_message(files));
    out.catalog = std::make_shared<const Catalog>(files);
  } catch (const Error& e) {
    out.problem = e.what();
    return out;
  }
  // Weights that look like nothing known are left to whoever misses a tensor: that message names it.
  const Contents contents = recognise(*out.catalog);
  if (contents.parts.empty() && contents.other.empty()) return out;
  PartFiles known = part_of_catalog(out.catalog, require_part(*out.catalog, part), folder);
  out.names = known.names;
  out.prefix = std::move(known.prefix);
  out.catalog = std::move(known.catalog);
  return out;
}

PartFiles part_of_catalog(const std::shared_ptr<const Catalog>& whole, const FoundPart& found,
                          const fs::path& path) {
  PartFiles out;
  out.where = path;
  out.names = found.names;
  out.prefix = found.prefix;
  out.catalog = found.prefix.empty() ? whole : std::make_shared<const Catalog>(*whole, found.prefix);
  return out;
}

PartFiles open_part_file(const fs::path& path, Part part) {
  const auto whole = std::make_shared<const Catalog>(path);
  return part_of_catalog(whole, require_part(*whole, part), path);
}

PartFiles open_named_part(const fs::path& path, Part part) {
  if (!is_folder(path)) return open_part_file(path, part);
  const fs::path inside = path / part_folder(part);
  for (const fs::path& folder : {path, inside}) {
    if (std::optional<PartFiles> files = open_part_folder(folder, part)) return std::move(*files);
  }
  return open_only_file(path, part);
}

PartFiles open_transformer(const fs::path& path) {
  if (!is_folder(path)) return open_part_file(path, Part::kTransformer);
  if (is_there(path / "config.json")) {
    const nlohmann::json config = read_json_file(path / "config.json", kMaxConfigBytes);
    if (config.is_object() && config.contains("num_single_layers"))
      return *open_part_folder(path, Part::kTransformer);
  }
  std::vector<std::string> rejected;
  const std::vector<fs::path> found = transformers_in(path, rejected);
  if (found.size() == 1) return open_part_file(found[0], Part::kTransformer);
  if (found.empty()) {
    fail(ErrorCode::kModel,
         "{}: neither a model in diffusers layout (there is no transformer/config.json) nor a folder with a "
         "FLUX.1 transformer in a .safetensors or .gguf file{}",
         path.string(), rejected.empty() ? "" : "; " + rejected.front());
  }
  std::string list;
  for (std::size_t i = 0; i < std::min<std::size_t>(found.size(), 5); ++i) {
    list += (i ? ", " : "") + printable(found[i].lexically_relative(path).string());
  }
  fail(ErrorCode::kModel, "{}: {} transformers lie in this folder: {}{}; pass one of these files",
       path.string(), found.size(), list, found.size() > 5 ? ", ..." : "");
}

clip::Config clip_config(const PartFiles& files) {
  return read_sizes(files, Part::kClip, clip::config_from_json, derive_clip);
}
t5::Config t5_config(const PartFiles& files) {
  return read_sizes(files, Part::kT5, t5::config_from_json, derive_t5);
}
flux::Config transformer_config(const PartFiles& files) {
  return read_sizes(files, Part::kTransformer, flux::config_from_json, derive_transformer);
}
vae::Config vae_config(const PartFiles& files) {
  return read_sizes(files, Part::kVae, vae::config_from_json, derive_vae);
}

}  // namespace darkroom
