// The text encodings of picture files: UTF-8 without NUL, and Latin-1, which PNG uses. Not UTF-8 itself,
// which is in base/utf8.h.
//
// Used inside this room only.
#pragma once

#include <cstddef>
#include <optional>
#include <string>
#include <string_view>

namespace darkroom {

// The longest text of a picture that is read, in any format.
inline constexpr std::size_t kMaxTextBytes = std::size_t{8} << 20;

// repaired_utf8() in which each NUL, too, is replaced by U+FFFD.
std::string clean_utf8(std::string_view text);

// Latin-1 bytes as UTF-8.
std::string utf8_from_latin1(std::string_view bytes);

// Well-formed UTF-8 as Latin-1 bytes, or nothing when a character is above U+00FF.
std::optional<std::string> latin1_from_utf8(std::string_view text);

}  // namespace darkroom
