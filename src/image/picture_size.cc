#include "image/picture_size.h"

#include <cstdint>
#include <limits>
#include <optional>
#include <utility>

#include "base/error.h"
#include "image/picture_texts.h"
#include "image/read_picture.h"

namespace darkroom {
namespace {

std::optional<PictureTexts> texts_of(const std::filesystem::path& path) {
  try {
    return read_picture_texts(path);
  } catch (const Error&) {
    return std::nullopt;
  }
}

}  // namespace

PictureSize picture_size(const std::filesystem::path& path) {
  const std::optional<PictureTexts> texts = texts_of(path);
  if (!texts) {
    const Image image = read_picture(path);
    return {image.width, image.height};
  }
  // The file's bytes are weighed when they are read.
  check_picture_size(format_name(texts->format), texts->width, texts->height,
                     std::numeric_limits<int64_t>::max(), 1, path.string());
  PictureSize size{texts->width, texts->height};
  if (texts->orientation >= 5 && texts->orientation <= 8) std::swap(size.width, size.height);
  return size;
}

}  // namespace darkroom
