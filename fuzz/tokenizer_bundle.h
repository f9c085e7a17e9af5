// A tokenizer folder in one file, for fuzz/broken and the fuzz targets: sections of text, each below a line
// "=== NAME". Not read by the library. Used by fuzz/fuzz_*_tokenizer.cc and tests/text.
#pragma once

#include <map>
#include <optional>
#include <string>
#include <string_view>

namespace darkroom {

// The sections by name. The newline in front of the next "=== " line is not part of a section.
inline std::map<std::string, std::string> parse_bundle(std::string_view bytes) {
  constexpr std::string_view kMark = "=== ";
  std::map<std::string, std::string> sections;
  while (bytes.starts_with(kMark)) {
    const std::size_t line_end = bytes.find('\n');
    if (line_end == std::string_view::npos) break;
    const std::string name(bytes.substr(kMark.size(), line_end - kMark.size()));
    bytes.remove_prefix(line_end + 1);
    const std::size_t next = bytes.starts_with(kMark) ? 0 : bytes.find("\n=== ");
    sections[name] = bytes.substr(0, next);
    if (next == std::string_view::npos) break;
    bytes.remove_prefix(next == 0 && bytes.starts_with(kMark) ? 0 : next + 1);
  }
  return sections;
}

inline std::optional<std::string> section(const std::map<std::string, std::string>& sections,
                                          const char* name) {
  const auto it = sections.find(name);
  if (it == sections.end()) return std::nullopt;
  return it->second;
}

}  // namespace darkroom
