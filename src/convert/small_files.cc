#include "convert/small_files.h"

#include <algorithm>
#include <optional>
#include <system_error>
#include <vector>

#include "base/error.h"
#include "base/file_map.h"
#include "base/foreign_file.h"
#include "base/printable.h"
#include "checkpoint/model_folder.h"

namespace darkroom {
namespace {

namespace fs = std::filesystem;

// The model's own folder last: its files, which nothing needs, have the room that is left.
constexpr const char* kFolders[] = {"scheduler",      "tokenizer",   "tokenizer_2", "text_encoder",
                                    "text_encoder_2", "transformer", "vae",         ""};

// The new folder would be no model without these.
constexpr std::string_view kNeeded[] = {
    "scheduler/scheduler_config.json", "tokenizer/vocab.json",       "tokenizer/merges.txt",
    "tokenizer/tokenizer.json",        "tokenizer_2/tokenizer.json", "text_encoder/config.json",
    "text_encoder_2/config.json",      "transformer/config.json",    "vae/config.json"};

bool is_small_file(const fs::path& path) {
  const std::string name = path.filename().string();
  if (name.starts_with('.') || name.find(".index.") != std::string::npos) return false;
  if (name.starts_with("LICENSE") || name.starts_with("NOTICE")) return true;
  const std::string ending = path.extension().string();
  return ending == ".json" || ending == ".txt" || ending == ".md" || ending == ".model";
}

// Names in one folder of the model, sorted. Folders of such a name are no files.
std::vector<std::string> list_files(const fs::path& model, const std::string& folder) {
  std::vector<std::string> names;
  std::error_code error, ignored;
  fs::directory_iterator it(model / folder, error);
  for (; !error && it != fs::directory_iterator(); it.increment(error)) {
    if (!is_small_file(it->path()) || it->is_directory(ignored)) continue;
    names.push_back((fs::path(folder) / it->path().filename()).string());
  }
  if (error && error != std::errc::no_such_file_or_directory) {
    fail(ErrorCode::kModel, "{}: cannot list the folder: {}", (model / folder).string(), error.message());
  }
  std::ranges::sort(names);
  return names;
}

bool lies_in(const fs::path& file, const fs::path& folder) {
  return std::mismatch(folder.begin(), folder.end(), file.begin(), file.end()).first == folder.end();
}

// The folders that the files of a model are in, links resolved.
std::vector<fs::path> own_folders(const fs::path& model) {
  std::vector<fs::path> out = {shared_folder(model)};
  if (const auto hub = hub_snapshot(model)) out.push_back(hub->repository / "blobs");
  return out;
}

// Where files of a part may be: in the model, and if the part is a link to that of another model, in that
// one.
std::vector<fs::path> folders_of(const fs::path& model, const std::string& part) {
  std::vector<fs::path> out = own_folders(model);
  std::error_code error;
  const fs::path target = fs::canonical(model / part, error);
  const fs::path other = target.parent_path();
  if (error || part.empty() || target.filename() != part || !is_there(other / "model_index.json")) return out;
  out.push_back(target);
  if (const auto hub = hub_snapshot(other)) out.push_back(hub->repository / "blobs");
  return out;
}

// The file itself, links resolved. Errors: kModel when that is outside, or not there.
fs::path resolve(const fs::path& file, const std::vector<fs::path>& allowed) {
  if (const std::string link = dangling_link(file); !link.empty()) fail(ErrorCode::kModel, "{}", link);
  std::error_code error;
  const fs::path target = fs::canonical(file, error);
  if (error) fail(ErrorCode::kModel, "{}: cannot open: {}", file.string(), error.message());
  const bool own =
      std::ranges::any_of(allowed, [&](const fs::path& folder) { return lies_in(target, folder); });
  require(own, ErrorCode::kModel, "{}: a link to {}, which is no file of this model; copy it there",
          file.string(), printable(target.string()));
  return target;
}

using Texts = std::map<std::string, std::string>;
using Note = std::function<void(const std::string&)>;

// Adds those of one folder; `room` is what all may still have.
void read_folder(const fs::path& model, const std::string& folder, const Note& note, std::size_t& room,
                 Texts& files) {
  const std::vector<fs::path> allowed = folders_of(model, folder);
  for (const std::string& name : list_files(model, folder)) {
    try {
      std::string text = read_text_file(resolve(model / name, allowed), std::min(room, kMaxSmallFileBytes));
      room -= text.size();
      files[name] = std::move(text);
    } catch (const Error& e) {
      if (std::ranges::find(kNeeded, name) != std::end(kNeeded)) throw;
      note(fmt::format("{}; it is left out", e.what()));
    }
  }
}

}  // namespace

Texts read_small_files(const fs::path& model, const Note& note) {
  Texts files;
  std::size_t room = kMaxSmallFilesBytes;
  for (const char* folder : kFolders) read_folder(model, folder, note, room, files);
  return files;
}

Texts read_small_files(const fs::path& model, const std::string& folder, const Note& note) {
  Texts files;
  std::size_t room = kMaxSmallFilesBytes;
  read_folder(model, folder, note, room, files);
  return files;
}

}  // namespace darkroom
