#include "model_choice.h"

#include <algorithm>
#include <cstdlib>
#include <vector>

#include "failure.h"
#include "text.h"

namespace cli {
namespace {

namespace fs = std::filesystem;

constexpr const char* kDefaultModel = "pinhole";

bool is_model(const fs::path& folder) {
  std::error_code ignored;
  return fs::exists(folder / "model_index.json", ignored);
}

// The folder above the program's: the prefix of an installation, or the source tree around
// build/. Empty if unknown.
fs::path program_prefix() {
  std::error_code error;
  const fs::path program = fs::read_symlink("/proc/self/exe", error);
  return error ? fs::path() : program.parent_path().parent_path();
}

// The folders that hold models, in the order in which they are searched.
std::vector<fs::path> assets_folders() {
  std::vector<fs::path> folders;
  const char* assets = std::getenv("DARKROOM_ASSETS");
  if (assets && *assets) folders.emplace_back(assets);
  if (const fs::path prefix = program_prefix(); !prefix.empty()) {
    folders.push_back(prefix / "assets");
    folders.push_back(prefix / "share" / "darkroom");
  }
  return folders;
}

std::optional<fs::path> find_installed(const fs::path& name) {
  for (const fs::path& folder : assets_folders()) {
    if (is_model(folder / name)) return folder / name;
  }
  return std::nullopt;
}

std::string searched_places() {
  std::vector<std::string> places;
  for (const fs::path& folder : assets_folders()) places.push_back(folder.string());
  return places.empty() ? "(no folder is known)" : shown_list(places);
}

// A path that exists is taken as it is; a name like "pinhole" or "pinhole/dev" may be an installed model's.
fs::path find_model(const std::string& given) {
  std::error_code ignored;
  if (fs::exists(given, ignored) || fs::is_symlink(given, ignored)) return given;
  const fs::path name = given;
  const bool is_name = name.is_relative() && !given.empty() && given.front() != '.';
  if (!is_name) fail(DARKROOM_MODEL, "{}: there is no such file or folder", given);
  if (const auto folder = find_installed(name)) return *folder;
  // ORG/NAME of huggingface_hub, which the library knows, unless it is a variant of an installed model.
  const bool is_hub_name = std::count(given.begin(), given.end(), '/') == 1;
  if (is_hub_name && !find_installed(name.parent_path())) return given;
  fail(DARKROOM_MODEL, "{}: there is no such file or folder, and no model of that name (looked in {})", given,
       searched_places());
}

fs::path find_default() {
  if (const auto folder = find_installed(kDefaultModel)) return *folder;
  fail(DARKROOM_MODEL,
       "no model is given, and no {} is installed (looked in {}); pass --model PATH (FLUX.1 as a folder or a "
       "file), or set DARKROOM_ASSETS to the folder that holds {}/",
       kDefaultModel, searched_places(), kDefaultModel);
}

std::string variable(const char* name) {
  const char* value = std::getenv(name);
  return value ? value : "";
}

}  // namespace

std::string hub_cache() {
  if (std::string cache = variable("HF_HUB_CACHE"); !cache.empty()) return cache;
  if (const fs::path home = variable("HF_HOME"); !home.empty()) return home / "hub";
  const fs::path cache = variable("XDG_CACHE_HOME"), home = variable("HOME");
  if (cache.empty() && home.empty()) return "";
  return (cache.empty() ? home / ".cache" : cache) / "huggingface" / "hub";
}

std::string in_hub_cache(const std::string& name) {
  std::error_code ignored;
  if (fs::exists(name, ignored) || std::count(name.begin(), name.end(), '/') != 1) return name;
  std::string folder = "models--" + name;
  folder.replace(folder.find('/'), 1, "--");
  const fs::path repository = fs::path(hub_cache()) / folder;
  return fs::is_directory(repository, ignored) ? repository.string() : name;
}

void add_model_flags(Arguments& arguments, ModelOptions& options, const std::string& otherwise) {
  arguments.group("Model");
  arguments.add_text({"-m,--model", "PATH",
                      "FLUX.1 as a folder (diffusers), a .safetensors or .gguf file, a name in "
                      "huggingface_hub's cache, or an "
                      "installed model's name",
                      otherwise},
                     options.model);
  arguments.add_text({"--clip", "PATH", "CLIP-L from this file or folder"}, options.clip);
  arguments.add_text({"--t5", "PATH", "T5 from this file or folder"}, options.t5);
  arguments.add_text({"--vae", "PATH", "The VAE from this file or folder"}, options.vae);
  arguments.add_text({"--dummy", "NAME", "Weights from a formula, no files: tiny, dev or schnell"},
                     options.dummy);
}

ModelHandle open_model(const Engine& engine, const ModelOptions& options) {
  if (options.model && options.dummy)
    fail(DARKROOM_USAGE, "--model and --dummy are both given; leave one out");
  darkroom_model* model = nullptr;
  if (options.dummy) {
    engine.check(darkroom_open_dummy(engine.get(), options.dummy->c_str(), &model));
  } else {
    const fs::path path = options.model ? find_model(*options.model) : find_default();
    const auto text = [](const std::optional<std::string>& given) {
      return given ? given->c_str() : nullptr;
    };
    darkroom_model_files files;
    darkroom_model_files_init(&files);
    files.model = path.c_str();
    files.clip = text(options.clip);
    files.t5 = text(options.t5);
    files.vae = text(options.vae);
    const std::string cache = hub_cache();
    if (!cache.empty()) files.hub_cache = cache.c_str();
    engine.check(darkroom_open_files(engine.get(), &files, &model));
  }
  return ModelHandle(model);
}

}  // namespace cli
