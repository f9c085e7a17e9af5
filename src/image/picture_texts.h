// What a picture file says beside its pixels: its format, its size, how it is to be turned, its texts. PNG,
// JPEG and WebP, told apart by their first bytes and never by a name.
//
// Pixels are not looked at: a text is found in pictures of any size and with damaged pixels. Files are
// taken as hostile: at most 8 MiB of text each, inflated, 32 MiB in all and 256 texts. What the texts
// mean is found_recipe.h.
#pragma once

#include <filesystem>
#include <map>
#include <string>
#include <string_view>

namespace darkroom {

class PictureSource;

enum class PictureFormat { kPng, kJpeg, kWebp };

// "PNG", "JPEG" or "WebP".
const char* format_name(PictureFormat format);

struct PictureTexts {
  PictureFormat format = PictureFormat::kPng;
  int width = 0;  // pixels, as stored
  int height = 0;
  int orientation = 1;  // 1 to 8 as EXIF counts them; 1: as stored
  // UTF-8, by the keys of PNG texts. EXIF's are "UserComment", "ImageDescription", "MakerNote", "Software"
  // and, where one holds "prompt:{..}" or "workflow:{..}" as ComfyUI writes it, "prompt" and "workflow";
  // XMP's own is "XML:com.adobe.xmp"; a JPEG's comment is "Comment".
  std::map<std::string, std::string> texts = {};
};

// Errors: kFailure, the file in front, for a file of no such format (named where it is known) and for one
// whose structure is damaged before its pixels.
PictureTexts read_picture_texts(const std::filesystem::path& path);
PictureTexts read_picture_texts(PictureSource& source);

// The same of one format; the source must hold it.
PictureTexts read_png_texts(PictureSource& source);
PictureTexts read_jpeg_texts(PictureSource& source);
PictureTexts read_webp_texts(PictureSource& source);

// The format of the picture that begins with `head` (16 bytes or more): "PNG", "JPEG", "WebP", "GIF", "BMP",
// "TIFF", "AVIF", "HEIC", "JPEG XL", "PSD"; empty for none of them.
std::string_view picture_kind(std::string_view head);

// Whether darkroom reads pictures of that kind.
bool is_read_kind(std::string_view kind);

// Fails with kFailure: "PATH: a GIF picture; ..", or "not a picture .." for an empty kind.
[[noreturn]] void fail_unread_kind(std::string_view kind, const std::string& where);

}  // namespace darkroom
