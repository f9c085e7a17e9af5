// libFuzzer target: WebP files, their texts and their pixels.
#include "picture_checks.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, std::size_t size) {
  std::vector<std::byte> file;
  for (const char c : std::string("RIFF")) file.push_back(static_cast<std::byte>(c));
  const auto input = std::as_bytes(std::span(data, size));
  const bool is_webp = size >= 12 && data[0] == 'R' && data[8] == 'W';
  if (is_webp) {
    file.assign(input.begin(), input.end());
  } else {  // a right head, so that what lies after it is reached
    for (std::size_t i = 0; i < 4; ++i) file.push_back(static_cast<std::byte>((size + 4) >> 8 * i));
    for (const char c : std::string("WEBP")) file.push_back(static_cast<std::byte>(c));
    file.insert(file.end(), input.begin(), input.end());
  }
  darkroom::check_picture(file);
  return 0;
}
