#include <webp/decode.h>

#include <cstdint>

#include "base/error.h"
#include "image/read_picture.h"

namespace darkroom {

Image decode_webp(std::span<const std::byte> bytes, const std::string& where) {
  const uint8_t* data = reinterpret_cast<const uint8_t*>(bytes.data());
  WebPBitstreamFeatures features = {};
  const VP8StatusCode status = WebPGetFeatures(data, bytes.size(), &features);
  require(status == VP8_STATUS_OK, ErrorCode::kFailure, "{}: not a readable WebP: {}", where,
          status == VP8_STATUS_NOT_ENOUGH_DATA ? "the file ends too early" : "its header is damaged");
  require(!features.has_animation, ErrorCode::kFailure,
          "{}: an animated WebP: one picture is read, save one of its frames", where);
  // One colour everywhere takes no bits a pixel, so the size says nothing about the file.
  check_picture_size("WebP", features.width, features.height, bytes.size(), INT64_MAX, where);
  Image image{features.width, features.height, {}};
  image.rgb.resize(static_cast<std::size_t>(features.width) * static_cast<std::size_t>(features.height) * 3);
  const uint8_t* end =
      WebPDecodeRGBInto(data, bytes.size(), image.rgb.data(), image.rgb.size(), features.width * 3);
  require(end != nullptr, ErrorCode::kFailure, "{}: the WebP is damaged or incomplete", where);
  return image;
}

}  // namespace darkroom
