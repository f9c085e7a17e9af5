// PNG files: writing pictures with texts beside the pixels, reading pictures, and reading only the texts.
//
// Reading treats the file as hostile: sizes are checked before memory is taken, and whatever is wrong becomes
// an Error (kFailure) that names the file. What the texts mean is recipe.h.
#pragma once

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <map>
#include <span>
#include <string>
#include <vector>

#include "image/image.h"

namespace darkroom {

// One text beside the pixels. Both are UTF-8; bytes that are not, and NUL, are written as U+FFFD.
struct PngText {
  std::string key;  // 1 to 79 printable ASCII characters
  std::string text;
};

struct PngOptions {
  std::vector<PngText> texts = {};  // written before the pixels, in this order
  bool overwrite = false;           // replace an existing file
};

// The bytes of a PNG file: 8-bit RGB. A text in Latin-1 becomes a tEXt chunk and any other a UTF-8 iTXt
// chunk, as Pillow does. Errors: kUsage for an image whose size does not match its values, or a bad key.
std::vector<std::byte> encode_png(const Image& image, std::span<const PngText> texts);

// Writes them to `path`, whole or not at all. Errors: as encode_png, and kOutput when it cannot be
// written or exists.
void write_png(const Image& image, const std::filesystem::path& path, const PngOptions& options = {});

// The largest picture that is read.
inline constexpr int64_t kMaxPngEdge = 16384;
inline constexpr int64_t kMaxPngPixels = int64_t{1} << 26;

// The picture as 8-bit RGB: grey and palette expanded, 16 bits scaled to 8, transparency dropped. At most
// kMaxPngEdge pixels on a side and kMaxPngPixels in all; files up to 256 MiB. `where` opens the message of
// every error. Errors: kFailure for anything but a complete, undamaged PNG within those limits.
Image decode_png(std::span<const std::byte> bytes, const std::string& where);
Image read_png(const std::filesystem::path& path);

// All texts (tEXt, zTXt, iTXt, and those of EXIF, see picture_texts.h) as UTF-8; of two with the same key
// the last. Pixels are not looked at, and after their beginning the file may be cut off. tEXt and zTXt are
// Latin-1 by the standard; when their bytes are well-formed UTF-8 with characters beyond ASCII they are
// taken as that, because some programs write it. At most 8 MiB of text each, inflated, 32 MiB in all and 256
// texts. Errors: kFailure.
std::map<std::string, std::string> decode_png_text(std::span<const std::byte> bytes,
                                                   const std::string& where);
std::map<std::string, std::string> read_png_text(const std::filesystem::path& path);

}  // namespace darkroom
