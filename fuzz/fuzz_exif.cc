// libFuzzer target: EXIF blocks, XMP packets and ImageMagick's profiles.
#include <cstddef>
#include <cstdint>
#include <string_view>

#include "base/utf8.h"
#include "checks.h"
#include "image/exif.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, std::size_t size) {
  using namespace darkroom;
  const std::string_view input(reinterpret_cast<const char*>(data), size);
  const Exif exif = read_exif(input);
  check(exif.orientation.value_or(1) >= 1 && exif.orientation.value_or(1) <= 8);
  for (const auto& [key, text] : exif.texts) check(is_valid_utf8(text));
  check(is_valid_utf8(decode_user_comment(input, size % 2 == 0)));
  check(is_valid_utf8(xmp_user_comment(input)));
  check(xmp_orientation(input).value_or(1) >= 1);
  read_exif(exif_in_raw_profile(input));
  return 0;
}
