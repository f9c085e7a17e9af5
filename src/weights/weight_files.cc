#include "weights/weight_files.h"

#include <algorithm>
#include <nlohmann/json.hpp>
#include <system_error>

#include "base/error.h"
#include "base/file_map.h"
#include "base/json.h"
#include "base/printable.h"
#include "weights/safetensors_header.h"

namespace darkroom {
namespace {

namespace fs = std::filesystem;

constexpr std::size_t kMaxIndexBytes = 64 << 20;
constexpr std::string_view kSuffix = ".safetensors";
constexpr std::string_view kIndexMark =
    ".safetensors.index.";  // model.safetensors.index.json, ….index.fp16.json
constexpr std::string_view kPlainNames[] = {"diffusion_pytorch_model", "model"};

bool is_index_name(std::string_view name) {
  return name.ends_with(".json") && name.find(kIndexMark) != std::string_view::npos;
}

bool is_plain_file_name(std::string_view name) {
  return name.size() > kSuffix.size() && name.size() <= 255 && name.ends_with(kSuffix) &&
         !name.starts_with('.') && name.find_first_of(std::string_view("/\\\0", 3)) == std::string_view::npos;
}

WeightFiles from_index(const fs::path& index_path) {
  WeightFiles out;
  out.index_path = index_path;
  out.index = parse_weight_index(read_text_file(index_path, kMaxIndexBytes), index_path.string());
  for (const std::string& shard : out.index.shards) {
    const fs::path file = index_path.parent_path() / shard;
    std::error_code ignored;
    (fs::is_regular_file(file, ignored) ? out.present : out.missing).push_back(file);
  }
  return out;
}

// Names that matter in a folder, sorted.
struct Listing {
  std::vector<std::string> weights;  // *.safetensors
  std::vector<std::string> indexes;
  std::string pickle;  // one of another kind, for the message
};

Listing list_folder(const fs::path& folder) {
  Listing out;
  std::error_code error;
  fs::directory_iterator it(folder, error);
  for (; !error && it != fs::directory_iterator(); it.increment(error)) {
    const std::string name = it->path().filename().string();
    std::error_code ignored;
    if (name.starts_with('.') || !it->is_regular_file(ignored))
      continue;  // "._model.safetensors" is macOS's debris
    if (name.ends_with(kSuffix)) out.weights.push_back(name);
    if (is_index_name(name)) out.indexes.push_back(name);
    if (name.ends_with(".bin") || name.ends_with(".pt") || name.ends_with(".ckpt")) out.pickle = name;
  }
  if (error) fail(ErrorCode::kModel, "{}: cannot list the folder: {}", folder.string(), error.message());
  std::ranges::sort(out.weights);
  std::ranges::sort(out.indexes);
  return out;
}

// The plain name if it is there, else the only candidate; empty if there is none. Errors: kModel when several
// fit.
std::string choose(const std::vector<std::string>& names, std::string_view ending, const fs::path& folder) {
  for (const std::string_view plain : kPlainNames) {
    const std::string wanted = std::string(plain) + std::string(ending);
    if (std::ranges::find(names, wanted) != names.end()) return wanted;
  }
  if (names.size() > 1) {
    fail(ErrorCode::kModel, "{}: {} weight files and none has the usual name; name one, e.g. {} or {}",
         folder.string(), names.size(), printable(names[0]), printable(names[1]));
  }
  return names.empty() ? "" : names[0];
}

}  // namespace

WeightIndex parse_weight_index(std::string_view text, const std::string& where) {
  const nlohmann::json document = parse_json(text, where);
  const JsonFields fields(document, where);
  require(fields.has("weight_map"), ErrorCode::kModel, "{}: not an index of weights: 'weight_map' is missing",
          where);
  const nlohmann::json& weight_map = document["weight_map"];
  require(weight_map.is_object() && !weight_map.empty() && weight_map.size() <= kMaxStoredTensors,
          ErrorCode::kModel, "{}: 'weight_map' must be an object of 1 to {} names", where, kMaxStoredTensors);
  WeightIndex out;
  for (const auto& [name, shard] : weight_map.items()) {
    const std::string* file = shard.get_ptr<const std::string*>();
    if (!file || !is_plain_file_name(*file)) {
      fail(ErrorCode::kModel,
           "{}: tensor '{}' is said to be in {}, expected the plain name of a .safetensors file beside it",
           where, printable(name), file ? "'" + printable(*file) + "'" : shard.type_name());
    }
    out.shard_of.emplace(name, *file);
    out.shards.push_back(*file);
  }
  std::ranges::sort(out.shards);
  out.shards.erase(std::unique(out.shards.begin(), out.shards.end()), out.shards.end());
  require(out.shards.size() <= kMaxShards, ErrorCode::kModel, "{}: {} shards, at most {} are supported",
          where, out.shards.size(), kMaxShards);
  if (const auto it = document.find("metadata"); it != document.end() && it->is_object()) {
    const auto size = it->find("total_size");  // old writers made it a float, which says nothing exact
    if (size != it->end() && size->is_number_unsigned() && size->get<uint64_t>() <= INT64_MAX) {
      out.total_size = size->get<int64_t>();
    }
  }
  return out;
}

WeightFiles find_weight_files(const fs::path& path) {
  std::error_code error;
  const fs::file_status status = fs::status(path, error);
  require(fs::exists(status), ErrorCode::kModel, "{}: there is no such file or folder", path.string());
  if (!fs::is_directory(status)) {
    if (is_index_name(path.filename().string())) return from_index(path);
    WeightFiles out;
    out.present.push_back(path);
    return out;
  }
  const Listing listing = list_folder(path);
  WeightFiles indexed;
  if (const std::string name = choose(listing.indexes, ".safetensors.index.json", path); !name.empty()) {
    indexed = from_index(path / name);
    if (indexed.missing.empty() || listing.weights.empty()) return indexed;
  }
  // Shards of an incomplete download are no model by themselves.
  std::vector<std::string> whole;
  for (const std::string& name : listing.weights) {
    if (!std::ranges::binary_search(indexed.index.shards, name)) whole.push_back(name);
  }
  if (whole.empty() && !indexed.index_path.empty()) return indexed;
  const std::string single = choose(whole, kSuffix, path);
  if (single.empty()) {
    fail(ErrorCode::kModel, "{}: the folder holds no .safetensors file{}", path.string(),
         listing.pickle.empty()
             ? ""
             : "; " + printable(listing.pickle) + " is a PyTorch pickle, which is never read");
  }
  WeightFiles out;
  out.present.push_back(path / single);
  return out;
}

bool holds_weights(const fs::path& folder) {
  const Listing listing = list_folder(folder);
  return !listing.weights.empty() || !listing.indexes.empty() || !listing.pickle.empty();
}

}  // namespace darkroom
