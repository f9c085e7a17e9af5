#include "base/foreign_file.h"

#include <algorithm>
#include <system_error>

#include "base/error.h"
#include "base/printable.h"

namespace darkroom {
namespace {

namespace fs = std::filesystem;
using namespace std::string_view_literals;

constexpr std::string_view kPickle =
    "a PyTorch pickle, which can hold code and is never read here: get or make the safetensors version";
constexpr std::string_view kCompressed = "compressed: unpack it first";
constexpr std::string_view kPicture = "a picture saved under this name: download the file again";
constexpr std::string_view kWebPage =
    "a web page saved under this name, often a login or error page: download the file again";

struct Kind {
  std::string_view begin, name;
};

constexpr Kind kKinds[] = {
    {"version https://git-lfs"sv,
     "a git-lfs pointer, not the file itself: run 'git lfs pull' in its repository"sv},
    {"version https://hawser"sv, "an old git-lfs pointer, not the file itself: run 'git lfs pull'"sv},
    {"PK\x03\x04"sv, kPickle},  // a zip: torch.save() since 1.6
    {"\x80\x02"sv, kPickle},
    {"\x80\x03"sv, kPickle},
    {"\x80\x04"sv, kPickle},
    {"\x80\x05"sv, kPickle},
    {"GGUF"sv, "a GGUF file"sv},
    {"\x1f\x8b"sv, kCompressed},          // gzip
    {"\x28\xb5\x2f\xfd"sv, kCompressed},  // zstd
    {"BZh"sv, kCompressed},
    {"\xfd"
     "7zXZ"sv,
     kCompressed},
    {"7z\xbc\xaf"sv, kCompressed},
    {"Rar!"sv, kCompressed},
    {"\x89PNG"sv, kPicture},
    {"\xff\xd8\xff"sv, kPicture},  // JPEG
    {"GIF8"sv, kPicture},
    {"%PDF"sv, "a PDF document: download the file again"sv},
    {"\x89HDF"sv, "an HDF5 file, which is not supported: get the safetensors version"sv},
    {"\x7f"
     "ELF"sv,
     "a program: download the file again"sv},
};

bool starts_with_word(std::string_view text, std::string_view lower_case) {
  const auto lower = [](char c) { return c >= 'A' && c <= 'Z' ? static_cast<char>(c - 'A' + 'a') : c; };
  return text.size() >= lower_case.size() && std::equal(lower_case.begin(), lower_case.end(), text.begin(),
                                                        [&](char a, char b) { return a == lower(b); });
}

bool is_web_page(std::string_view text) {
  if (text.starts_with("\xEF\xBB\xBF")) text.remove_prefix(3);
  const std::string_view page = text.substr(std::min(text.find_first_not_of(" \t\r\n"), text.size()));
  return std::ranges::any_of(
      std::initializer_list<std::string_view>{"<!doctype", "<html", "<?xml", "<head", "<!--"},
      [&](std::string_view word) { return starts_with_word(page, word); });
}

}  // namespace

std::string_view foreign_kind(std::string_view begin) {
  const auto* kind = std::ranges::find_if(kKinds, [&](const Kind& k) { return begin.starts_with(k.begin); });
  if (kind != std::end(kKinds)) return kind->name;
  if (begin.starts_with("RIFF") && begin.substr(0, 12).ends_with("WEBP")) return kPicture;
  return is_web_page(begin) ? kWebPage : "";
}

void refuse_foreign(std::string_view text, const std::string& where) {
  const std::string_view kind = foreign_kind(text);
  if (!kind.empty()) fail(ErrorCode::kModel, "{}: this is {}", where, kind);
}

std::string dangling_link(const fs::path& path) {
  std::error_code error;
  for (fs::path at = path; at.has_relative_path(); at = at.parent_path()) {
    if (!fs::is_symlink(fs::symlink_status(at, error)) || fs::exists(at, error)) continue;
    return fmt::format("{} is a link to {}, which is not there", at.string(),
                       printable(fs::read_symlink(at, error).string()));
  }
  return "";
}

bool is_there(const fs::path& path) {
  std::error_code error;
  const fs::file_type type = fs::symlink_status(path, error).type();
  return type != fs::file_type::not_found;
}

}  // namespace darkroom
