#include "image/read_picture.h"

#include <utility>

#include "base/error.h"
#include "image/picture_file.h"
#include "image/picture_source.h"
#include "image/picture_texts.h"
#include "image/png.h"

namespace darkroom {
namespace {

Image decode_stored(PictureFormat format, std::span<const std::byte> bytes, const std::string& where) {
  switch (format) {
    case PictureFormat::kPng:
      return decode_png(bytes, where);
    case PictureFormat::kJpeg:
      return decode_jpeg(bytes, where);
    case PictureFormat::kWebp:
      return decode_webp(bytes, where);
  }
  return {};
}

PictureFormat format_of(std::span<const std::byte> bytes, const std::string& where) {
  PictureSource source(bytes, where);
  const std::string_view kind = picture_kind(source.look(0, 32));
  if (!is_read_kind(kind)) fail_unread_kind(kind, where);
  return kind == "PNG" ? PictureFormat::kPng : kind == "JPEG" ? PictureFormat::kJpeg : PictureFormat::kWebp;
}

// A picture whose texts are damaged is still a picture.
int orientation_of(std::span<const std::byte> bytes, const std::string& where) {
  try {
    PictureSource source(bytes, where);
    return read_picture_texts(source).orientation;
  } catch (const Error&) {
    return 1;
  }
}

}  // namespace

void check_picture_size(const char* format, int64_t width, int64_t height, std::size_t bytes,
                        int64_t pixels_per_byte, const std::string& where) {
  require(width >= 1 && height >= 1 && width <= kMaxPngEdge && height <= kMaxPngEdge &&
              width * height <= kMaxPngPixels,
          ErrorCode::kFailure, "{}: a {} of {} x {} pixels, at most {} on a side and {} in all are read",
          where, format, width, height, kMaxPngEdge, kMaxPngPixels);
  require(width * height / pixels_per_byte <= static_cast<int64_t>(bytes), ErrorCode::kFailure,
          "{}: a {} of {} bytes cannot hold {} x {} pixels: the file is damaged", where, format, bytes, width,
          height);
}

Image turned(Image image, int orientation) {
  if (orientation < 2 || orientation > 8) return image;
  const bool swaps = orientation >= 5;  // columns become rows
  const bool from_right = orientation == 2 || orientation == 3 || orientation == 7 || orientation == 8;
  const bool from_bottom = orientation == 3 || orientation == 4 || orientation == 6 || orientation == 7;
  const int width = swaps ? image.height : image.width, height = swaps ? image.width : image.height;
  Image out{width, height, std::vector<uint8_t>(image.rgb.size())};
  std::size_t to = 0;
  for (int y = 0; y < height; ++y) {
    for (int x = 0; x < width; ++x, to += 3) {
      int column = swaps ? y : x, row = swaps ? x : y;
      if (from_right) column = image.width - 1 - column;
      if (from_bottom) row = image.height - 1 - row;
      const std::size_t from = (static_cast<std::size_t>(row) * static_cast<std::size_t>(image.width) +
                                static_cast<std::size_t>(column)) *
                               3;
      for (std::size_t i = 0; i < 3; ++i) out.rgb[to + i] = image.rgb[from + i];
    }
  }
  return out;
}

Image decode_picture(std::span<const std::byte> bytes, const std::string& where) {
  Image image = decode_stored(format_of(bytes, where), bytes, where);
  return turned(std::move(image), orientation_of(bytes, where));
}

Image read_picture(const std::filesystem::path& path) {
  const std::string bytes = read_picture_file(path);
  return decode_picture(std::as_bytes(std::span(bytes)), path.string());
}

}  // namespace darkroom
