#include <algorithm>
#include <cstdint>

#include "base/error.h"
#include "image/exif.h"
#include "image/picture_source.h"
#include "image/picture_texts.h"
#include "image/text.h"

// Segments up to the first scan: size, EXIF, XMP and comment all lie before it.

namespace darkroom {
namespace {

using std::string_view_literals::operator""sv;

constexpr int kMaxSegments = 1 << 16;
constexpr uint8_t kStartOfScan = 0xDA, kEndOfImage = 0xD9, kApp1 = 0xE1, kComment = 0xFE;

struct Segment {
  uint8_t marker = 0;
  uint64_t data = 0;       // where its data begin
  std::size_t length = 0;  // of them
};

// SOF0 to SOF15; in between lie DHT, JPG and DAC.
bool is_frame(uint8_t marker) {
  return marker >= 0xC0 && marker <= 0xCF && marker != 0xC4 && marker != 0xC8 && marker != 0xCC;
}

// TEM, RST0 to RST7 and SOI have no length.
bool is_alone(uint8_t marker) { return marker == 0x01 || (marker >= 0xD0 && marker <= 0xD8); }

// The segment whose marker is at `offset` or after fill bytes there.
Segment segment_at(PictureSource& source, uint64_t offset) {
  const uint64_t start = offset;
  require(offset < source.size() && source.byte(offset) == 0xFF, ErrorCode::kFailure,
          "{}: the JPEG has no marker at byte {} of {}: it is damaged or incomplete", source.where(), offset,
          source.size());
  constexpr uint64_t kMaxFill = 1 << 20;
  while (offset < source.size() && source.byte(offset) == 0xFF && offset - start < kMaxFill) ++offset;
  const std::string_view head = source.look(offset, 3);
  Segment segment{head.empty() ? uint8_t{0} : static_cast<uint8_t>(head[0]), offset + 1, 0};
  if (is_alone(segment.marker)) return segment;
  const std::size_t length = head.size() < 3 ? 0 : big_endian_16(head.substr(1));
  require(length >= 2 && offset + 1 + length <= source.size(), ErrorCode::kFailure,
          "{}: the JPEG's segment at byte {} says {} bytes, {} are left: it is damaged or incomplete",
          source.where(), offset, length, source.size() - offset);
  return {segment.marker, offset + 3, length - 2};
}

// What the segments have said so far.
struct Walk {
  PictureTexts found{.format = PictureFormat::kJpeg};
  std::string exif = {};  // long EXIF lies in several segments
};

void read_frame(PictureSource& source, const Segment& segment, Walk* walk) {
  const std::string_view data = source.look(segment.data, segment.length);
  const uint32_t height = data.size() < 5 ? 0 : big_endian_16(data.substr(1));
  const uint32_t width = data.size() < 5 ? 0 : big_endian_16(data.substr(3));
  require(width > 0 && height > 0, ErrorCode::kFailure, "{}: a JPEG of {} x {} pixels", source.where(), width,
          height);
  walk->found.width = static_cast<int>(width);
  walk->found.height = static_cast<int>(height);
}

void read_app1(std::string_view data, Walk* walk) {
  constexpr std::string_view kExif = "Exif\0\0"sv, kXmp = "http://ns.adobe.com/xap/1.0/\0"sv;
  if (data.starts_with(kExif) && walk->exif.size() < kMaxTextBytes) {
    walk->exif += data.substr(kExif.size());
  } else if (data.starts_with(kXmp)) {
    walk->found.texts.emplace("XML:com.adobe.xmp", clean_utf8(data.substr(kXmp.size())));
  }
}

void read_segment(PictureSource& source, const Segment& segment, Walk* walk) {
  if (is_frame(segment.marker)) {
    read_frame(source, segment, walk);
  } else if (segment.marker == kApp1) {
    read_app1(source.look(segment.data, segment.length), walk);
  } else if (segment.marker == kComment) {
    walk->found.texts.emplace("Comment", clean_utf8(source.look(segment.data, segment.length)));
  }
}

PictureTexts finished(Walk walk) {
  Exif exif = read_exif(walk.exif);
  const auto xmp = walk.found.texts.find("XML:com.adobe.xmp");
  std::optional<int> orientation = exif.orientation;
  if (!orientation && xmp != walk.found.texts.end()) orientation = xmp_orientation(xmp->second);
  walk.found.orientation = orientation.value_or(1);
  walk.found.texts.merge(exif.texts);
  return std::move(walk.found);
}

}  // namespace

PictureTexts read_jpeg_texts(PictureSource& source) {
  Walk walk;
  uint64_t offset = 2;
  for (int i = 0; i < kMaxSegments; ++i) {
    const Segment segment = segment_at(source, offset);
    if (segment.marker == kStartOfScan || segment.marker == kEndOfImage) break;
    read_segment(source, segment, &walk);
    offset = segment.data + segment.length;
  }
  require(walk.found.width > 0, ErrorCode::kFailure, "{}: the JPEG says no size: it is damaged",
          source.where());
  return finished(std::move(walk));
}

}  // namespace darkroom
