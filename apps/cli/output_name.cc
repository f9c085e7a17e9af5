#include "output_name.h"

#include <unistd.h>

#include <algorithm>
#include <cctype>
#include <cerrno>
#include <cstdlib>
#include <cstring>

#include "failure.h"
#include "interrupt.h"
#include "text.h"

namespace cli {
namespace {

namespace fs = std::filesystem;

// "{index:03}", "{Seed}", "{seed": what other programs replace, or a slip.
bool is_like_a_place(std::string_view braced) {
  const std::string word =
      lower(std::string(braced.substr(std::min(braced.find_first_not_of("{ "), braced.size()))));
  return word.starts_with("seed") || word.starts_with("index");
}

// Replaces {seed} and {index}. Other words in braces are slips; other braces are part of the name.
std::string expand(const std::string& flag, const std::string& pattern, const std::string& seed,
                   const std::string& index) {
  std::string out;
  for (std::size_t at = 0; at < pattern.size();) {
    const std::size_t close = pattern[at] == '{' ? pattern.find('}', at) : std::string::npos;
    const std::string word = close == std::string::npos ? "" : pattern.substr(at + 1, close - at - 1);
    if (word == "seed" || word == "index") {
      out += word == "seed" ? seed : index;
      at = close + 1;
      continue;
    }
    const bool is_word = !word.empty() && std::all_of(word.begin(), word.end(),
                                                      [](unsigned char c) { return std::islower(c) != 0; });
    if (is_word || (pattern[at] == '{' && is_like_a_place(std::string_view(pattern).substr(at)))) {
      const std::size_t length = close == std::string::npos ? pattern.size() - at : close + 1 - at;
      fail(DARKROOM_USAGE, "{} has '{}'; only {{seed}} and {{index}} are replaced, spelled like this", flag,
           pattern.substr(at, length));
    }
    out += pattern[at++];
  }
  return out;
}

// "a.png" for "a.jpg", but "v1.5.png" for "v1.5".
std::string proposed_name(const fs::path& pattern, const std::string& extension) {
  static constexpr std::string_view kFileTypes[] = {
      ".jpg", ".jpeg", ".webp", ".bmp", ".gif", ".tif", ".tiff", ".avif", ".heic", ".jxl",         ".ppm",
      ".exr", ".png",  ".bin",  ".pt",  ".pth", ".npy", ".npz",  ".ckpt", ".gguf", ".safetensors", "."};
  const std::string given = lower(pattern.extension().string());
  const bool is_type = std::ranges::find(kFileTypes, given) != std::end(kFileTypes);
  return (is_type ? fs::path(pattern).replace_extension() : pattern).string() + extension;
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
  const InterruptWaits until_it_is_gone;
  std::string probe = (folder / ".darkroom-XXXXXX").string();
  const int file = mkstemp(probe.data());
  if (file < 0)
    fail(DARKROOM_OUTPUT, "{}: no file can be made in this folder: {}", folder.string(),
         std::strerror(errno));
  close(file);
  unlink(probe.c_str());
}

void require_file_name(const std::string& flag, const std::string& path) {
  if (path.empty()) fail(DARKROOM_USAGE, "{} is empty", flag);
  const bool is_stream = path == "-" || path == "/dev/stdout" || path == "/dev/stderr" ||
                         path.starts_with("/dev/fd/") || path.starts_with("/proc/self/fd/");
  if (is_stream) {
    fail(DARKROOM_USAGE, "{} is '{}'; it is written to files only: give a file name", flag, path);
  }
  std::error_code absent;
  const fs::file_status status = fs::status(path, absent);
  if (fs::is_other(status)) {
    fail(DARKROOM_USAGE, "{} is '{}', which is a device or a pipe; give a file name", flag, path);
  }
}

void require_no_places(const std::string& flag, const std::string& path) {
  for (std::size_t at = path.find('{'); at != std::string::npos; at = path.find('{', at + 1)) {
    if (is_like_a_place(std::string_view(path).substr(at))) {
      fail(DARKROOM_USAGE, "{} is '{}', but nothing in it is replaced; leave out the braces", flag, path);
    }
  }
}

OutputName::OutputName(const std::string& flag, const std::string& pattern, const std::string& default_name,
                       const std::string& extension, bool overwrite)
    : flag_(flag), overwrite_(overwrite) {
  require_file_name(flag, pattern);
  std::error_code ignored;
  const bool is_folder = pattern.back() == '/' || fs::is_directory(pattern, ignored);
  const fs::path full = is_folder ? fs::path(pattern) / default_name : fs::path(pattern);
  folder_ = full.parent_path().empty() ? fs::path(".") : full.parent_path();
  expand(flag, full.filename().string(), "0", "0");  // refuses braces before an extension is looked for
  stem_ = full.stem().string();
  extension_ = full.extension().empty() ? extension : full.extension().string();
  if (lower(extension_) != extension) {
    fail(DARKROOM_USAGE, "{} is '{}', but only {} files are written; name it '{}'", flag, pattern, extension,
         proposed_name(full, extension));
  }
  require_file_name(flag, (folder_ / (stem_ + extension_)).string());
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
    require_file_name(flag_, path);
    *status = save(path, overwrite_ ? 1 : 0);
    const bool taken_meanwhile = *status == DARKROOM_OUTPUT && !overwrite_ && exists(path);
    if (taken_meanwhile) continue;
    written_.insert(path);
    return path;
  }
}

}  // namespace cli
