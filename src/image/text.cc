#include "image/text.h"

#include <cstddef>
#include <cstdint>

namespace darkroom {
namespace {

uint8_t byte_at(std::string_view text, std::size_t i) { return static_cast<uint8_t>(text[i]); }

// Bytes of the well-formed character at text[i], or 0.
std::size_t character_length(std::string_view text, std::size_t i) {
  const uint8_t lead = byte_at(text, i);
  if (lead < 0x80) return 1;
  const std::size_t length = lead >= 0xF0 ? 4 : lead >= 0xE0 ? 3 : 2;
  if (lead < 0xC2 || lead > 0xF4 || length > text.size() - i) return 0;
  for (std::size_t k = 1; k < length; ++k) {
    if ((byte_at(text, i + k) & 0xC0) != 0x80) return 0;
  }
  const uint8_t second = byte_at(text, i + 1);
  const bool overlong = (lead == 0xE0 && second < 0xA0) || (lead == 0xF0 && second < 0x90);
  const bool surrogate = lead == 0xED && second >= 0xA0;
  const bool too_large = lead == 0xF4 && second >= 0x90;
  return overlong || surrogate || too_large ? 0 : length;
}

}  // namespace

bool is_utf8(std::string_view text) {
  for (std::size_t i = 0; i < text.size();) {
    const std::size_t length = character_length(text, i);
    if (length == 0) return false;
    i += length;
  }
  return true;
}

std::string clean_utf8(std::string_view text) {
  std::string out;
  for (std::size_t i = 0; i < text.size();) {
    const std::size_t length = text[i] == '\0' ? 0 : character_length(text, i);
    if (length == 0) {
      out += "\uFFFD";
      ++i;
    } else {
      out += text.substr(i, length);
      i += length;
    }
  }
  return out;
}

std::string utf8_from_latin1(std::string_view bytes) {
  std::string out;
  for (const char c : bytes) {
    const uint8_t value = static_cast<uint8_t>(c);
    if (value < 0x80) {
      out += c;
    } else {
      out += static_cast<char>(0xC0 | (value >> 6));
      out += static_cast<char>(0x80 | (value & 0x3F));
    }
  }
  return out;
}

std::optional<std::string> latin1_from_utf8(std::string_view text) {
  std::string out;
  for (std::size_t i = 0; i < text.size(); ++i) {
    const uint8_t lead = byte_at(text, i);
    if (lead < 0x80) {
      out += text[i];
    } else if (lead <= 0xC3 && i + 1 < text.size()) {
      out += static_cast<char>(((lead & 0x03) << 6) | (byte_at(text, ++i) & 0x3F));
    } else {
      return std::nullopt;
    }
  }
  return out;
}

}  // namespace darkroom
