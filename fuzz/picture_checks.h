// What the fuzz targets of picture files share.
#pragma once

#include <cstdint>
#include <span>
#include <string>

#include "checks.h"
#include "image/picture_source.h"
#include "image/picture_texts.h"
#include "image/read_picture.h"

namespace darkroom {

// Reads the texts and the pixels of a file; a refusal is one printable line. Pictures above 256 x 256 pixels
// are only slow.
inline void check_picture(std::span<const std::byte> file) {
  try {
    PictureSource source(file, "input");
    const PictureTexts texts = read_picture_texts(source);
    check(texts.width >= 1 && texts.height >= 1 && texts.orientation >= 1 && texts.orientation <= 8);
    if (int64_t{texts.width} * texts.height > 256 * 256) return;
  } catch (const Error& error) {
    check_message(error);
  }
  try {
    const Image image = decode_picture(file, "input");
    check(image.rgb.size() ==
          static_cast<std::size_t>(image.width) * static_cast<std::size_t>(image.height) * 3);
  } catch (const Error& error) {
    check_message(error);
  }
}

}  // namespace darkroom
