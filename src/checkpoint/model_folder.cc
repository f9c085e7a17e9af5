#include "checkpoint/model_folder.h"

#include <algorithm>
#include <system_error>
#include <vector>

#include "base/error.h"
#include "base/file_map.h"
#include "base/foreign_file.h"
#include "base/printable.h"

namespace darkroom {
namespace {

namespace fs = std::filesystem;

constexpr std::string_view kRepository = "models--";
constexpr std::size_t kMaxRefBytes = 1024;

// Links and dots resolved, without a slash at the end.
fs::path resolved(const fs::path& path) {
  std::error_code error;
  fs::path clean = fs::weakly_canonical(path, error);
  if (error) clean = fs::absolute(path, error).lexically_normal();
  return clean.has_filename() ? clean : clean.parent_path();
}

// The content of refs/main; empty without it. Errors: kModel when it is no plain name.
std::string main_snapshot(const fs::path& repository) {
  const fs::path ref = repository / "refs" / "main";
  if (!is_there(ref)) return "";
  std::string name = read_text_file(ref, kMaxRefBytes);
  name.erase(name.find_last_not_of(" \t\r\n") + 1);
  const bool plain = !name.empty() && name[0] != '.' &&
                     name.find_first_of(std::string_view("/\\\0", 3)) == std::string::npos;
  require(plain, ErrorCode::kModel, "{}: '{}' is no name of a snapshot", ref.string(), printable(name, 80));
  return name;
}

std::vector<fs::path> list_snapshots(const fs::path& folder) {
  std::vector<fs::path> out;
  std::error_code error, ignored;
  for (fs::directory_iterator it(folder, error); !error && it != fs::directory_iterator();
       it.increment(error)) {
    if (it->is_directory(ignored)) out.push_back(it->path());
  }
  return out;
}

}  // namespace

std::optional<HubSnapshot> hub_snapshot(const fs::path& folder) {
  for (fs::path at = resolved(folder); at.has_relative_path(); at = at.parent_path()) {
    const fs::path snapshots = at.parent_path(), repository = snapshots.parent_path();
    const std::string id = repository.filename().string();
    if (snapshots.filename() != "snapshots" || !id.starts_with(kRepository)) continue;
    const std::string name = id.substr(kRepository.size());
    const std::size_t after_organisation = name.find("--");
    return HubSnapshot{repository,
                       after_organisation == name.npos ? name : name.substr(after_organisation + 2)};
  }
  return std::nullopt;
}

fs::path find_model_folder(const fs::path& path) {
  std::error_code ignored;
  const fs::path folder = path / "snapshots";
  const bool repository =
      resolved(path).filename().string().starts_with(kRepository) || is_there(path / "refs");
  if (!repository || is_there(path / "transformer") || !fs::is_directory(folder, ignored)) return path;
  if (const std::string name = main_snapshot(path); !name.empty()) {
    require(fs::is_directory(folder / name, ignored), ErrorCode::kModel,
            "{}: its refs/main is the snapshot {}, which is not there; download the model again",
            path.string(), printable(name));
    return folder / name;
  }
  const std::vector<fs::path> found = list_snapshots(folder);
  require(found.size() == 1, ErrorCode::kModel,
          "{}: {} snapshots and no refs/main that names one; pass the folder of one of them", folder.string(),
          found.size());
  return found[0];
}

bool is_hub_name(const std::string& name) {
  const std::size_t slash = name.find('/');
  const auto plain = [](std::string_view word) {
    return !word.empty() && word[0] != '.' &&
           word.find_first_not_of("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_.") ==
               word.npos;
  };
  return slash != name.npos && plain(std::string_view(name).substr(0, slash)) &&
         plain(std::string_view(name).substr(slash + 1));
}

std::optional<fs::path> find_hub_repository(const fs::path& cache, const std::string& name) {
  if (cache.empty() || !is_hub_name(name)) return std::nullopt;
  const std::size_t slash = name.find('/');
  const fs::path repository =
      cache / (std::string(kRepository) + name.substr(0, slash) + "--" + name.substr(slash + 1));
  std::error_code ignored;
  if (!fs::is_directory(repository, ignored)) return std::nullopt;
  return repository;
}

std::vector<fs::path> hub_repositories(const fs::path& cache) {
  constexpr std::size_t kMaxRepositories = 200;
  std::vector<fs::path> out;
  std::error_code error;
  for (fs::directory_iterator it(cache, error); !error && it != fs::directory_iterator();
       it.increment(error)) {
    std::string name = it->path().filename().string();
    if (!name.starts_with(kRepository) || out.size() == kMaxRepositories) continue;
    for (char& c : name) c = c >= 'A' && c <= 'Z' ? static_cast<char>(c - 'A' + 'a') : c;
    const auto has = [&](std::string_view word) { return name.find(word) != name.npos; };
    if (has("flux") || has("t5") || has("clip")) out.push_back(it->path());
  }
  std::ranges::sort(out);
  return out;
}

fs::path shared_folder(const fs::path& folder) {
  const fs::path clean = resolved(folder);
  return is_there(clean.parent_path() / "model_index.json") ? clean.parent_path() : clean;
}

std::string model_name(const fs::path& folder) {
  const fs::path clean = resolved(folder), shared = shared_folder(folder);
  const std::optional<HubSnapshot> hub = hub_snapshot(shared);
  const bool is_snapshot = hub && shared.parent_path().parent_path() == hub->repository;
  const std::string name = is_snapshot ? hub->name : shared.filename().string();
  return shared == clean ? name : name + "-" + clean.filename().string();
}

}  // namespace darkroom
