// The text encodings of picture files: UTF-8, which everything else in darkroom uses, and Latin-1, which PNG
// uses.
//
// Called inside this room only.
#pragma once

#include <optional>
#include <string>
#include <string_view>

namespace darkroom {

// True for well-formed UTF-8 (no surrogates, no overlong forms, at most U+10FFFF).
bool is_utf8(std::string_view text);

// The text with each byte that is not part of well-formed UTF-8, and each NUL, replaced by U+FFFD.
std::string clean_utf8(std::string_view text);

// Latin-1 bytes as UTF-8.
std::string utf8_from_latin1(std::string_view bytes);

// Well-formed UTF-8 as Latin-1 bytes, or nothing when a character is above U+00FF.
std::optional<std::string> latin1_from_utf8(std::string_view text);

}  // namespace darkroom
