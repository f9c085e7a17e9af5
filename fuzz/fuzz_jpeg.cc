// libFuzzer target: JPEG files, their texts and their pixels.
#include "picture_checks.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, std::size_t size) {
  std::vector<std::byte> file = {std::byte{0xFF}, std::byte{0xD8}, std::byte{0xFF}};
  const auto input = std::as_bytes(std::span(data, size));
  const bool is_jpeg = size >= 3 && data[0] == 0xFF && data[1] == 0xD8;
  file.insert(file.end(), input.begin() + (is_jpeg ? 3 : 0), input.end());
  darkroom::check_picture(file);
  return 0;
}
