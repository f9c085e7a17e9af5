#include <algorithm>
#include <cstdint>
#include <optional>

#include "base/error.h"
#include "image/exif.h"
#include "image/picture_source.h"
#include "image/picture_texts.h"
#include "image/text.h"

// The chunks of the RIFF container; EXIF and XMP usually lie after the pixels, which are stepped over.

namespace darkroom {
namespace {

constexpr int kMaxChunks = 1 << 16;

struct Size {
  uint32_t width = 0, height = 0;
};

uint32_t little_endian_24(std::string_view bytes) {
  return little_endian_16(bytes) | uint32_t{static_cast<uint8_t>(bytes[2])} << 16;
}

// The canvas, or the size of a lossy or of a lossless picture; nothing for another chunk.
std::optional<Size> size_in(const std::string& type, std::string_view data) {
  if (type == "VP8X" && data.size() >= 10) {
    return Size{little_endian_24(data.substr(4)) + 1, little_endian_24(data.substr(7)) + 1};
  }
  if (type == "VP8 " && data.size() >= 10) {
    return Size{little_endian_16(data.substr(6)) & 0x3FFF, little_endian_16(data.substr(8)) & 0x3FFF};
  }
  if (type == "VP8L" && data.size() >= 5) {
    const uint32_t bits = little_endian_32(data.substr(1));
    return Size{(bits & 0x3FFF) + 1, (bits >> 14 & 0x3FFF) + 1};
  }
  return std::nullopt;
}

// What the chunks have said so far.
struct Walk {
  PictureTexts found{.format = PictureFormat::kWebp};
  std::optional<int> orientation = {};
};

void read_chunk(PictureSource& source, const std::string& type, uint64_t data, uint32_t length, Walk* walk) {
  if (type == "EXIF" && length <= kMaxTextBytes) {
    Exif exif = read_exif(source.look(data, length));
    walk->orientation = exif.orientation;
    walk->found.texts.merge(exif.texts);
  } else if (type == "XMP " && length <= kMaxTextBytes) {
    walk->found.texts.emplace("XML:com.adobe.xmp", clean_utf8(source.look(data, length)));
  } else if (walk->found.width == 0) {
    const Size size = size_in(type, source.look(data, std::min<uint32_t>(length, 16))).value_or(Size{});
    walk->found.width = static_cast<int>(size.width);
    walk->found.height = static_cast<int>(size.height);
  }
}

}  // namespace

PictureTexts read_webp_texts(PictureSource& source) {
  Walk walk;
  uint64_t offset = 12;
  for (int i = 0; i < kMaxChunks; ++i) {
    const std::string_view head = source.look(offset, 8);
    if (head.size() < 8) break;
    const std::string type(head.substr(0, 4));
    const uint32_t length = little_endian_32(head.substr(4));
    if (offset + 8 + length > source.size() && walk.found.width != 0)
      break;  // cut off: what was before counts
    read_chunk(source, type, offset + 8, length, &walk);
    offset += uint64_t{8} + length + length % 2;
  }
  require(walk.found.width > 0 && walk.found.height > 0, ErrorCode::kFailure,
          "{}: the WebP says no size: it is damaged", source.where());
  const auto xmp = walk.found.texts.find("XML:com.adobe.xmp");
  if (!walk.orientation && xmp != walk.found.texts.end()) walk.orientation = xmp_orientation(xmp->second);
  walk.found.orientation = walk.orientation.value_or(1);
  return std::move(walk.found);
}

}  // namespace darkroom
