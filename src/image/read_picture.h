// Reads a picture of any kind that is taken: PNG, JPEG or WebP, told apart by its first bytes, and turned as
// its EXIF says, as Pillow's exif_transpose() and so diffusers' load_image() do.
//
// Files are taken as hostile: sizes are checked before memory is taken. What is stored beside the pixels
// is in picture_texts.h.
#pragma once

#include <filesystem>
#include <span>
#include <string>

#include "image/image.h"

namespace darkroom {

// The picture as 8-bit RGB, upright. Transparency is dropped, grey and CMYK are converted (the latter
// as Pillow does, without a colour profile). At most kMaxPngEdge pixels on a side and kMaxPngPixels
// in all; files up to 256 MiB. Errors: kFailure, the file in front, for anything but one complete
// picture of these formats.
Image read_picture(const std::filesystem::path& path);
Image decode_picture(std::span<const std::byte> bytes, const std::string& where);

// JPEG: baseline and progressive, 8 bits; grey, YCbCr, RGB, CMYK and YCCK. As stored, not turned. Errors:
// kFailure for a damaged or cut file, or one of more than 200 scans.
Image decode_jpeg(std::span<const std::byte> bytes, const std::string& where);

// WebP: lossy and lossless, one picture. As stored, not turned. Errors: kFailure; an animation is refused.
Image decode_webp(std::span<const std::byte> bytes, const std::string& where);

// The picture turned or mirrored as EXIF's orientation 1 to 8 asks for; other values leave it as it is.
Image turned(Image image, int orientation);

// Fails with kFailure unless a picture of width x height pixels is within the limits, and plausible
// for a file of `bytes` bytes that holds at most `pixels_per_byte` pixels in each. `format` names
// it in the message.
void check_picture_size(const char* format, int64_t width, int64_t height, std::size_t bytes,
                        int64_t pixels_per_byte, const std::string& where);

}  // namespace darkroom
