#include "output_name.h"

#include <unistd.h>

#include <algorithm>
#include <cctype>
#include <cerrno>
#include <cstdlib>
#include <cstring>

#include "failure.h"
#include "text.h"

namespace cli {
namespace {

namespace fs = std::filesystem;

// Replaces {seed} and {index}. Other words in braces are slips; other braces are part of the name.
std::string expand(const std::string& flag, const std::string& pattern, const std::string& seed,
                   const std::string& index) {
  std::string out;
  for (std::size_t at = 0; at < pattern.size();) {
    const std::size_t close = pattern[at] == '{' ? pattern.find('}', at) : std::string::npos;
    const std::string word = close == std::string::npos ? "" : pattern.substr(at + 1, close - at - 1);
    const bool is_word = !word.empty() && std::all_of(word.begin(), word.end(),
                                                      [](unsigned char c) { return std::islower(c) != 0; });
    if (!is_word) {
      out += pattern[at++];
      continue;
    }
    if (word != "seed" && word != "index") {
      fail(DARKROOM_USAGE, "{} has {{{}}}; there are {{seed}} and {{index}}", flag, word);
    }
    out += word == "seed" ? seed : index;
    at = close + 1;
  }
  return out;
}

// Where it cannot be known, as for a name that is too long, writing will say what is wrong.
bool exists(const fs::path& path) {
  std::error_code ignored;
  const fs::file_type type = fs::symlink_status(path, ignored).type();
  return type != fs::file_type::not_found && type != fs::file_type::none;
}

}  // namespace

// access() says nothing about full quotas, and root may do anything.
void require_writable(const fs::path& folder) {
  std::string probe = (folder / ".darkroom-XXXXXX").string();
  const int file = mkstemp(probe.data());
  if (file < 0)
    fail(DARKROOM_OUTPUT, "{}: no file can be made in this folder: {}", folder.string(),
         std::strerror(errno));
  close(file);
  unlink(probe.c_str());
}

OutputName::OutputName(const std::string& flag, const std::string& pattern, const std::string& default_name,
                       const std::string& extension, bool overwrite)
    : overwrite_(overwrite) {
  if (pattern.empty()) fail(DARKROOM_USAGE, "{} is empty", flag);
  std::error_code ignored;
  const bool is_folder = pattern.back() == '/' || fs::is_directory(pattern, ignored);
  const fs::path full = is_folder ? fs::path(pattern) / default_name : fs::path(pattern);
  folder_ = full.parent_path().empty() ? fs::path(".") : full.parent_path();
  stem_ = full.stem().string();
  extension_ = full.extension().empty() ? extension : full.extension().string();
  if (lower(extension_) != extension) {
    fail(DARKROOM_USAGE, "{} is '{}', but only {} files are written; name it '{}{}'", flag, pattern,
         extension, stem_, extension);
  }
  const std::string shortest = expand(flag, stem_, "0", "0") + extension_;
  std::error_code error;
  if (!fs::exists(folder_ / shortest, error) && error == std::errc::filename_too_long)
    fail(DARKROOM_OUTPUT, "{}: the name '{}' is too long", flag, shortest);
  if (!fs::is_directory(folder_, ignored)) {
    fail(DARKROOM_OUTPUT, "{}: there is no such folder; make it, or choose another {}", folder_.string(),
         flag);
  }
  require_writable(folder_);
}

std::string OutputName::save(uint64_t seed, int index,
                             const std::function<darkroom_status(const std::string&, int)>& save,
                             darkroom_status* status) {
  const std::string stem = expand("", stem_, std::to_string(seed), std::to_string(index + 1));
  // "-o a.png" means ./a.png and is printed as it was written.
  const fs::path folder = folder_ == "." ? fs::path() : folder_;
  for (int number = 1;; ++number) {
    const std::string suffix = number == 1 ? "" : "-" + std::to_string(number);
    const std::string path = (folder / (stem + suffix + extension_)).string();
    if (written_.contains(path) || (!overwrite_ && exists(path))) continue;
    *status = save(path, overwrite_ ? 1 : 0);
    const bool taken_meanwhile = *status == DARKROOM_OUTPUT && !overwrite_ && exists(path);
    if (taken_meanwhile) continue;
    written_.insert(path);
    return path;
  }
}

}  // namespace cli
