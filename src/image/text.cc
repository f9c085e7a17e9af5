#include "image/text.h"

#include <cstddef>

#include "base/utf8.h"

namespace darkroom {

std::string clean_utf8(std::string_view text) {
  std::string out;
  for (const char32_t code : to_code_points(repaired_utf8(text)))
    append_utf8(out, code == 0 ? U'\uFFFD' : code);
  return out;
}

std::string utf8_from_latin1(std::string_view bytes) {
  std::string out;
  for (const char c : bytes) append_utf8(out, static_cast<unsigned char>(c));
  return out;
}

std::optional<std::string> latin1_from_utf8(std::string_view text) {
  std::string out;
  for (std::size_t at = 0; at < text.size();) {
    const char32_t code = next_code_point(text, at);
    if (code > 0xFF) return std::nullopt;
    out += static_cast<char>(code);
  }
  return out;
}

}  // namespace darkroom
