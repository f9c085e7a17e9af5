// UTF-8 in and out: validity, repair, one code point at a time. Not a Unicode library: properties
// are in text/unicode.h.
#pragma once

#include <cstddef>
#include <string>
#include <string_view>

namespace darkroom {

// A copy in which every byte that is not part of valid UTF-8 (RFC 3629: no overlong forms, no surrogates, at
// most U+10FFFF) is replaced by U+FFFD, one per byte.
std::string repaired_utf8(std::string_view text);

bool is_valid_utf8(std::string_view text);

// The code point at text[at], which moves past it. `text` must be valid UTF-8 and `at` on a first byte.
char32_t next_code_point(std::string_view text, std::size_t& at);

// Appends the UTF-8 form of a code point, at most U+10FFFF and no surrogate.
void append_utf8(std::string& out, char32_t code);

// All code points of valid UTF-8, and back.
std::u32string to_code_points(std::string_view text);
std::string to_utf8(std::u32string_view codes);

}  // namespace darkroom
