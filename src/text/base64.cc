#include "text/base64.h"

#include <cstdint>

#include "base/error.h"

namespace darkroom {

namespace {

int digit_value(char c) {
  if (c >= 'A' && c <= 'Z') return c - 'A';
  if (c >= 'a' && c <= 'z') return c - 'a' + 26;
  if (c >= '0' && c <= '9') return c - '0' + 52;
  if (c == '+') return 62;
  return c == '/' ? 63 : -1;
}

}  // namespace

std::string decode_base64(std::string_view text, const std::string& where) {
  require(text.size() % 4 == 0, ErrorCode::kModel,
          "{}: base64 text of {} characters, expected a multiple of 4", where, text.size());
  std::size_t padding = 0;
  while (padding < 2 && padding < text.size() && text[text.size() - 1 - padding] == '=') ++padding;
  std::string out;
  out.reserve(text.size() / 4 * 3);
  uint32_t bits = 0;
  for (std::size_t i = 0; i < text.size() - padding; ++i) {
    const int value = digit_value(text[i]);
    require(value >= 0, ErrorCode::kModel, "{}: character {} of the base64 text is 0x{:02x}", where, i,
            static_cast<unsigned>(static_cast<unsigned char>(text[i])));
    bits = bits << 6 | static_cast<uint32_t>(value);
    if (i % 4 == 1) out += static_cast<char>(bits >> 4 & 0xFF);
    if (i % 4 == 2) out += static_cast<char>(bits >> 2 & 0xFF);
    if (i % 4 == 3) out += static_cast<char>(bits & 0xFF);
  }
  return out;
}

std::string encode_base64(std::string_view bytes) {
  constexpr std::string_view kDigits = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
  std::string out;
  out.reserve((bytes.size() + 2) / 3 * 4);
  for (std::size_t at = 0; at < bytes.size(); at += 3) {
    const std::string_view group = bytes.substr(at, 3);
    uint32_t bits = 0;
    for (std::size_t i = 0; i < 3; ++i)
      bits = bits << 8 | (i < group.size() ? static_cast<unsigned char>(group[i]) : 0U);
    for (std::size_t i = 0; i < 4; ++i) out += i <= group.size() ? kDigits[bits >> (18 - 6 * i) & 63] : '=';
  }
  return out;
}

}  // namespace darkroom
