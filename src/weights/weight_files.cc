#include "weights/weight_files.h"

#include <algorithm>
#include <nlohmann/json.hpp>
#include <system_error>

#include "base/error.h"
#include "base/file_map.h"
#include "base/foreign_file.h"
#include "base/json.h"
#include "base/printable.h"
#include "weights/safetensors_header.h"
#include "weights/weight_names.h"

namespace darkroom {
namespace {

namespace fs = std::filesystem;

constexpr std::size_t kMaxIndexBytes = 64 << 20;
constexpr std::string_view kSuffix = ".safetensors";
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

// What matters in a folder.
struct Listing {
  std::vector<WeightName> whole;   // files and indexes, in the order of their ranks
  std::vector<WeightName> shards;  // sorted
  std::string other;               // of a kind that is not read, and why not
  std::string dangling;            // a link without its target
};

std::string why_not_read(const std::string& name) {
  const std::string ending = fs::path(name).extension().string();
  if (ending == ".bin" || ending == ".pt" || ending == ".pth" || ending == ".ckpt") {
    return printable(name) + " is a PyTorch pickle, which is never read";
  }
  return ending == ".gguf" ? printable(name) + " is a GGUF file: pass it by its own name" : "";
}

Listing list_folder(const fs::path& folder) {
  Listing out;
  std::error_code error;
  fs::directory_iterator it(folder, error);
  for (; !error && it != fs::directory_iterator(); it.increment(error)) {
    const std::string name = it->path().filename().string();
    std::error_code ignored;
    // parse_weight_name() passes over hidden files: "._model.safetensors" is macOS's debris.
    const std::optional<WeightName> weights = parse_weight_name(name);
    if (weights && !it->exists(ignored)) out.dangling = dangling_link(it->path());
    if (!it->is_regular_file(ignored)) continue;
    if (weights) (weights->is_shard() ? out.shards : out.whole).push_back(*weights);
    if (const std::string why = why_not_read(name); !why.empty() && !name.starts_with('.')) out.other = why;
  }
  if (error) fail(ErrorCode::kModel, "{}: cannot list the folder: {}", folder.string(), error.message());
  const auto order = [&](const WeightName& a, const WeightName& b) {
    const WeightRank x = rank_of(a, folder), y = rank_of(b, folder);
    return x != y ? x < y : a.name < b.name;
  };
  std::ranges::sort(out.whole, order);
  std::ranges::sort(out.shards, {}, &WeightName::name);
  return out;
}

// Shards are no model by themselves.
[[noreturn]] void fail_without_index(const std::vector<WeightName>& shards, const fs::path& folder) {
  const WeightName& first = shards[0];
  std::string missing;
  for (int i = 1; i <= std::min<int>(first.shards, kMaxShards) && missing.empty(); ++i) {
    const auto is_it = [&](const WeightName& shard) {
      return shard.base == first.base && shard.variant == first.variant && shard.shards == first.shards &&
             shard.shard == i;
    };
    if (std::ranges::none_of(shards, is_it)) missing = " and " + printable(first.shard_name(i));
  }
  fail(ErrorCode::kModel, "{}: there is {}, but {}{} {} missing: download {}", folder.string(),
       printable(first.name), printable(first.index_name()), missing, missing.empty() ? "is" : "are",
       missing.empty() ? "it" : "them");
}

// Errors: kModel when `name` is no usual one and there are others.
void require_a_choice(const WeightName& name, const std::vector<WeightName>& others, const fs::path& folder) {
  if (others.empty() || !rank_of(name, folder).unusual) return;
  fail(ErrorCode::kModel,
       "{}: {} weight files and none has a usual name: keep one of them in the folder, e.g. {} or {}",
       folder.string(), others.size() + 1, printable(name.name), printable(others[0].name));
}

// `why`: what is wrong with those that would have come first.
std::string note_of_choice(const WeightName& taken, const std::vector<WeightName>& others,
                           const std::string& why) {
  constexpr std::size_t kShown = 3;
  if (others.empty() && why.empty()) return "";
  std::string note = printable(taken.name) + " is used";
  for (std::size_t i = 0; i < std::min(kShown, others.size()); ++i) {
    note += (i ? ", " : ", not ") + printable(others[i].name);
  }
  if (others.size() > kShown) note += fmt::format(" and {} more", others.size() - kShown);
  return note + why;
}

WeightFiles open_candidate(const WeightName& name, const fs::path& folder) {
  if (name.index) return from_index(folder / name.name);
  WeightFiles files;
  files.present.push_back(folder / name.name);
  return files;
}

// The first whose files are all there, else the first index; nothing at all without either.
WeightFiles choose(Listing listing, const fs::path& folder) {
  std::vector<WeightName>& rest = listing.whole;
  WeightFiles incomplete;
  while (!rest.empty()) {
    const WeightName name = rest[0];
    if (!incomplete.missing.empty() && rank_of(name, folder).unusual) break;
    WeightFiles files = open_candidate(name, folder);
    std::erase_if(rest, [&](const WeightName& other) {
      return other.name == name.name || std::ranges::binary_search(files.index.shards, other.name);
    });
    require_a_choice(name, rest, folder);
    if (files.missing.empty()) {
      std::string why = incomplete.missing.empty() ? "" : "; " + missing_message(incomplete);
      if (!listing.dangling.empty()) why += "; " + listing.dangling;
      files.note = note_of_choice(name, rest, why);
      return files;
    }
    if (incomplete.missing.empty()) incomplete = std::move(files);
  }
  return incomplete;
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
  if (const std::string link = dangling_link(path); !link.empty()) fail(ErrorCode::kModel, "{}", link);
  require(fs::exists(status), ErrorCode::kModel, "{}: there is no such file or folder", path.string());
  if (!fs::is_directory(status)) {
    const std::optional<WeightName> name = parse_weight_name(path.filename().string());
    if (name && name->index) return from_index(path);
    WeightFiles out;
    out.present.push_back(path);
    return out;
  }
  const Listing listing = list_folder(path);
  WeightFiles files = choose(listing, path);
  if (!files.present.empty() || !files.missing.empty()) return files;
  if (!listing.shards.empty()) fail_without_index(listing.shards, path);
  if (!listing.dangling.empty()) fail(ErrorCode::kModel, "{}", listing.dangling);
  fail(ErrorCode::kModel, "{}: the folder holds no .safetensors file{}{}", path.string(),
       listing.other.empty() ? "" : "; ", listing.other);
}

std::string missing_message(const WeightFiles& files) {
  const fs::path& first = files.missing.at(0);
  const std::string link = dangling_link(first);
  return fmt::format("{} ({} of the {} that {} names are); download the whole folder",
                     link.empty() ? first.string() + ": this file is missing" : link, files.missing.size(),
                     files.index.shards.size(), files.index_path.string());
}

bool holds_weights(const fs::path& folder) {
  const Listing listing = list_folder(folder);
  return !listing.whole.empty() || !listing.shards.empty() || !listing.other.empty() ||
         !listing.dangling.empty();
}

}  // namespace darkroom
