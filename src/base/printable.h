// Text from a file that a stranger wrote, made safe for a one-line message. Not an encoder: it loses length.
#pragma once

#include <fmt/format.h>

#include <cstddef>
#include <string>
#include <string_view>

namespace darkroom {

// Printable ASCII as it is, every other byte as \xNN, so that no newline, terminal escape or text-direction
// mark gets through; cut after max_bytes bytes of input, which "..." then shows.
inline std::string printable(std::string_view text, std::size_t max_bytes = 120) {
  std::string out;
  for (const char c : text.substr(0, max_bytes)) {
    if (c >= ' ' && c <= '~') {
      out += c;
    } else {
      out += fmt::format("\\x{:02x}", static_cast<unsigned char>(c));
    }
  }
  if (text.size() > max_bytes) out += "...";
  return out;
}

}  // namespace darkroom
