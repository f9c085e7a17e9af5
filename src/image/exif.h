// EXIF and XMP: how a picture is to be turned, and the texts that programs leave there.
//
// Both are read as far as they are sound: a damaged block of them says less, and never refuses a picture.
// Used inside this room only.
#pragma once

#include <map>
#include <optional>
#include <string>
#include <string_view>

namespace darkroom {

struct Exif {
  std::optional<int> orientation = {};  // 1 to 8
  // UTF-8: "UserComment", "ImageDescription", "MakerNote", "Software", "prompt",
  // "workflow"; see picture_texts.h.
  std::map<std::string, std::string> texts = {};
};

// A block that begins with a TIFF header, or with "Exif\0\0" and then one. Takes linear time on any input.
Exif read_exif(std::string_view block);

// EXIF's UserComment as UTF-8: 8 bytes that name a code and then the text (UTF-16 in either order of bytes,
// ASCII, or UTF-8 whatever the code says), or the text alone. `big_endian`: the order of the block, which
// counts where the text does not tell.
std::string decode_user_comment(std::string_view bytes, bool big_endian);

// The orientation in an XMP packet, 1 to 8.
std::optional<int> xmp_orientation(std::string_view packet);

// The text of exif:UserComment in an XMP packet, "" if there is none.
std::string xmp_user_comment(std::string_view packet);

// The EXIF block in a PNG text "Raw profile type exif" or "Raw profile type APP1", as ImageMagick writes it:
// three lines of heading, then hexadecimal digits. Empty when it is none.
std::string exif_in_raw_profile(std::string_view text);

}  // namespace darkroom
