#include "checkpoint/search.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <span>
#include <utility>

#include "base/error.h"
#include "base/foreign_file.h"
#include "checkpoint/model_folder.h"
#include "weights/weight_names.h"

namespace darkroom {
namespace {

namespace fs = std::filesystem;

constexpr std::size_t kShownRejected = 3;
constexpr int kLevelsToRoot = 3;  // models/unet/flux/file.gguf

bool is_folder(const fs::path& path) {
  std::error_code ignored;
  return fs::is_directory(path, ignored);
}

// Sorted, so that what is found does not depend on the file system.
std::vector<fs::path> folders_in(const fs::path& folder) {
  std::vector<fs::path> out;
  std::error_code error, ignored;
  for (fs::directory_iterator it(folder, error); !error && it != fs::directory_iterator();
       it.increment(error)) {
    if (it->is_directory(ignored) && out.size() < kMaxFilesInFolder) out.push_back(it->path());
  }
  std::ranges::sort(out);
  return out;
}

bool is_weight_name(const std::string& name) {
  if (name.empty() || name[0] == '.') return false;
  std::string ending = fs::path(name).extension().string();
  for (char& c : ending) c = c >= 'A' && c <= 'Z' ? static_cast<char>(c - 'A' + 'a') : c;
  if (ending != ".safetensors" && ending != ".sft" && ending != ".gguf") return false;
  const std::optional<WeightName> parsed = parse_weight_name(name);
  return !parsed || !parsed->is_shard();
}

class Search {
 public:
  Search(Part part, const std::function<std::string(const PartFiles&)>& fits) : part_(part), fits_(fits) {}

  // True once the part is found.
  bool look_in(const fs::path& folder, const std::string& place) {
    if (!is_folder(folder) || looked_at(folder)) return false;
    std::vector<std::pair<std::size_t, PartFiles>> candidates;
    for (const fs::path& path : weight_files_in(folder)) {
      if (std::optional<PartFiles> files = open_candidate(path)) {
        const std::size_t bytes = files->catalog->total_bytes();
        candidates.emplace_back(bytes, std::move(*files));
      }
    }
    return take(candidates, place);
  }
  // The part's folder of a model in diffusers layout.
  bool look_in_model(const fs::path& model, const std::string& place) {
    const fs::path folder = model / part_folder(part_);
    // Without a config it may be a folder of a tree of the same name, vae/, whose turn comes later.
    if (!is_folder(folder) || !is_there(folder / "config.json") || looked_at(folder)) return false;
    std::vector<std::pair<std::size_t, PartFiles>> candidates;
    try {
      std::optional<PartFiles> files = open_part_folder(folder, part_);
      if (!files) return false;
      if (!files->catalog) {
        reject(files->problem);
        return false;
      }
      if (const std::string why = fits_(*files); !why.empty()) {
        reject(fmt::format("{}: {}", folder.string(), why));
        return false;
      }
      candidates.emplace_back(0, std::move(*files));
    } catch (const Error& e) {
      reject(e.what());
    }
    return take(candidates, place);
  }
  SearchResult result() && { return std::move(result_); }

 private:
  bool looked_at(const fs::path& folder) {
    std::string name = folder.string();
    if (std::ranges::find(result_.looked_in, name) != result_.looked_in.end()) return true;
    result_.looked_in.push_back(std::move(name));
    return false;
  }
  void reject(std::string why) {
    if (result_.rejected.size() < kShownRejected) result_.rejected.push_back(std::move(why));
  }
  std::optional<PartFiles> open_candidate(const fs::path& path) {
    try {
      const auto whole = std::make_shared<const Catalog>(path);
      for (const FoundPart& found : recognise(*whole).parts) {
        if (found.part != part_) continue;
        PartFiles files = part_of_catalog(whole, found, path);
        const std::string why = fits_(files);
        if (why.empty()) return files;
        reject(fmt::format("{}: {}", path.string(), why));
      }
    } catch (const Error& e) {
      reject(e.what());  // a broken file beside is no reason to stop
    }
    return std::nullopt;
  }
  bool take(std::vector<std::pair<std::size_t, PartFiles>>& candidates, const std::string& place) {
    if (candidates.empty()) return false;
    std::ranges::stable_sort(candidates, std::ranges::greater(), [](const auto& c) { return c.first; });
    FoundFiles found{std::move(candidates[0].second), place, {}};
    for (std::size_t i = 1; i < candidates.size(); ++i) found.others.push_back(candidates[i].second.where);
    result_.found = std::move(found);
    return true;
  }

  Part part_;
  const std::function<std::string(const PartFiles&)>& fits_;
  SearchResult result_;
};

// The root of a tree in which `folder` is, or is inside, one of the known folders.
std::optional<fs::path> tree_root(const fs::path& folder) {
  fs::path at = folder;
  for (int level = 0; level < kLevelsToRoot && at.has_relative_path(); ++level, at = at.parent_path()) {
    for (const Part part : kParts) {
      for (const std::string_view name : tree_folders(part)) {
        if (at.filename() == name) return at.parent_path();
      }
    }
  }
  return std::nullopt;
}

bool look_in_tree(Search& search, Part part, const fs::path& root) {
  for (const std::string_view name : tree_folders(part)) {
    const fs::path folder = root / name;
    if (search.look_in(folder, "in " + folder.string())) return true;
    for (const fs::path& inner : folders_in(folder)) {
      if (search.look_in(inner, "in " + inner.string())) return true;
    }
  }
  return false;
}

bool look_in_hub(Search& search, const fs::path& cache) {
  const std::string place = "in the cache of huggingface_hub";
  for (const fs::path& repository : hub_repositories(cache)) {
    fs::path snapshot;
    try {
      snapshot = find_model_folder(repository);
    } catch (const Error&) {
      continue;  // one without a main snapshot
    }
    if (search.look_in_model(snapshot, place) || search.look_in(snapshot, place)) return true;
  }
  return false;
}

}  // namespace

std::vector<fs::path> weight_files_in(const fs::path& folder) {
  std::vector<fs::path> out;
  std::error_code error, ignored;
  for (fs::directory_iterator it(folder, error); !error && it != fs::directory_iterator();
       it.increment(error)) {
    if (out.size() == kMaxFilesInFolder) break;
    if (is_weight_name(it->path().filename().string()) && it->is_regular_file(ignored))
      out.push_back(it->path());
  }
  std::ranges::sort(out);
  return out;
}

std::vector<std::string_view> tree_folders(Part part) {
  switch (part) {
    case Part::kClip:
    case Part::kT5:
      return {"text_encoders", "clip", "text_encoder"};
    case Part::kTransformer:
      return {"diffusion_models", "unet", "checkpoints", "Stable-diffusion"};
    case Part::kVae:
      return {"vae", "VAE"};
  }
  return {};
}

SearchResult search_part(Part part, const fs::path& transformer, const fs::path& hub_cache,
                         const std::function<std::string(const PartFiles&)>& fits) {
  Search search(part, fits);
  std::error_code ignored;
  const fs::path absolute = fs::absolute(transformer, ignored).lexically_normal();
  const fs::path folder = is_folder(absolute) ? absolute : absolute.parent_path();
  const auto look = [&] {
    if (search.look_in_model(folder, "beside the transformer") ||
        search.look_in(folder, "beside the transformer") ||
        search.look_in_model(folder.parent_path(), "beside the transformer's folder")) {
      return;
    }
    if (const std::optional<fs::path> root = tree_root(folder)) {
      if (look_in_tree(search, part, *root)) return;
    } else if (look_in_tree(search, part, folder) || look_in_tree(search, part, folder / "models")) {
      return;
    }
    look_in_hub(search, hub_cache);
  };
  look();
  return std::move(search).result();
}

std::vector<fs::path> transformers_in(const fs::path& folder, std::vector<std::string>& rejected) {
  std::vector<fs::path> folders = {folder};
  for (const fs::path& root : {folder, folder / "models"}) {
    for (const std::string_view name : tree_folders(Part::kTransformer)) {
      folders.push_back(root / name);
      for (const fs::path& inner : folders_in(root / name)) folders.push_back(inner);
    }
  }
  std::vector<fs::path> out;
  for (const fs::path& at : folders) {
    for (const fs::path& path : weight_files_in(at)) {
      try {
        open_part_file(path, Part::kTransformer);
        out.push_back(path);
      } catch (const Error& e) {
        if (rejected.size() < kShownRejected) rejected.emplace_back(e.what());
      }
    }
  }
  return out;
}

}  // namespace darkroom
