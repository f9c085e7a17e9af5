// What fuzz targets share: conditions, error messages, safetensors files made of an input.
#pragma once

#include <algorithm>
#include <cstdint>
#include <span>
#include <string_view>
#include <vector>

#include "base/error.h"

namespace darkroom {

inline void check(bool condition) {
  if (!condition) __builtin_trap();
}

// An error's message is one printable line, whatever the input was.
inline void check_message(const Error& error) {
  check(std::ranges::all_of(std::string_view(error.what()),
                            [](unsigned char c) { return c >= ' ' && c <= '~'; }));
}

// A safetensors file with the input as its header, a right length in front, and up to 63 bytes of the input
// as data behind it, as many as its last byte says: what the length would otherwise hide from the parser.
inline std::vector<std::byte> as_header(std::span<const std::byte> input) {
  std::vector<std::byte> file(8);
  for (std::size_t i = 0; i < 8; ++i) file[i] = static_cast<std::byte>(input.size() >> (8 * i));
  file.insert(file.end(), input.begin(), input.end());
  const std::size_t wanted = input.empty() ? 0 : std::to_integer<std::size_t>(input.back()) % 64;
  const auto data = input.first(std::min(wanted, input.size()));
  file.insert(file.end(), data.begin(), data.end());
  return file;
}

}  // namespace darkroom
