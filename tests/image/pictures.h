// Small pictures of all formats, made for the tests: PNG chunks, JPEG segments, WebP chunks, EXIF blocks.
#pragma once

#include <webp/encode.h>
#include <zlib.h>

#include <cstdio>
// jpeglib.h needs it.
#include <jpeglib.h>

#include <cstdint>
#include <cstdlib>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "image/image.h"
#include "image/png.h"

namespace darkroom {

inline std::string as_text(std::span<const std::byte> bytes) {
  return std::string(reinterpret_cast<const char*>(bytes.data()), bytes.size());
}

inline std::span<const std::byte> as_file(const std::string& text) { return std::as_bytes(std::span(text)); }

inline std::string number(uint64_t value, int bytes, bool big_endian) {
  std::string out;
  for (int i = 0; i < bytes; ++i) {
    out += static_cast<char>(value >> 8 * (big_endian ? bytes - 1 - i : i));
  }
  return out;
}

inline std::string png_chunk(const std::string& type, const std::string& data) {
  const std::string covered = type + data;
  const auto crc = crc32_z(0, reinterpret_cast<const Bytef*>(covered.data()), covered.size());
  return number(data.size(), 4, true) + covered + number(crc, 4, true);
}

// A PNG of any size with chunks before its pixels and after them; the pixels are `pixels`,
// not looked at here.
inline std::string png_file(const std::string& before, const std::string& after = "", uint32_t width = 2,
                            uint32_t height = 2, const std::string& pixels = "damaged") {
  return "\x89PNG\r\n\x1A\n" +
         png_chunk("IHDR",
                   number(width, 4, true) + number(height, 4, true) + std::string("\x08\x02\0\0\0", 5)) +
         before + png_chunk("IDAT", pixels) + after + png_chunk("IEND", "");
}

inline std::string png_text(const std::string& key, const std::string& text) {
  return png_chunk("tEXt", key + '\0' + text);
}

struct JpegOptions {
  int quality = 95;
  bool progressive = false;
  bool gray = false;
};

// The bytes of a JPEG, with segments put in after its first marker.
inline std::string jpeg_file(const Image& image, const std::string& segments = "", JpegOptions options = {}) {
  jpeg_compress_struct jpeg = {};
  jpeg_error_mgr errors = {};
  jpeg.err = jpeg_std_error(&errors);
  jpeg_create_compress(&jpeg);
  unsigned char* out = nullptr;
  unsigned long size = 0;
  jpeg_mem_dest(&jpeg, &out, &size);
  jpeg.image_width = static_cast<JDIMENSION>(image.width);
  jpeg.image_height = static_cast<JDIMENSION>(image.height);
  jpeg.input_components = 3;
  jpeg.in_color_space = JCS_RGB;
  jpeg_set_defaults(&jpeg);
  if (options.gray) jpeg_set_colorspace(&jpeg, JCS_GRAYSCALE);
  jpeg_set_quality(&jpeg, options.quality, TRUE);
  if (options.progressive) jpeg_simple_progression(&jpeg);
  jpeg_start_compress(&jpeg, TRUE);
  while (jpeg.next_scanline < jpeg.image_height) {
    JSAMPROW row = const_cast<JSAMPROW>(&image.rgb[jpeg.next_scanline * jpeg.image_width * 3]);
    jpeg_write_scanlines(&jpeg, &row, 1);
  }
  jpeg_finish_compress(&jpeg);
  jpeg_destroy_compress(&jpeg);
  std::string file(reinterpret_cast<char*>(out), size);
  std::free(out);
  return file.insert(2, segments);
}

inline std::string jpeg_segment(uint8_t marker, const std::string& data) {
  return std::string("\xFF") + static_cast<char>(marker) + number(data.size() + 2, 2, true) + data;
}

inline std::string riff_chunk(const std::string& type, const std::string& data) {
  return type + number(data.size(), 4, false) + data + std::string(data.size() % 2, '\0');
}

// A lossless WebP, with chunks after its pixels.
inline std::string webp_file(const Image& image, const std::string& chunks = "") {
  uint8_t* out = nullptr;
  const std::size_t size =
      WebPEncodeLosslessRGB(image.rgb.data(), image.width, image.height, image.width * 3, &out);
  const std::string simple(reinterpret_cast<char*>(out), size);
  WebPFree(out);
  if (chunks.empty()) return simple;
  const std::string header = riff_chunk(
      "VP8X", std::string("\x0C\0\0\0", 4) + number(static_cast<uint64_t>(image.width - 1), 3, false) +
                  number(static_cast<uint64_t>(image.height - 1), 3, false));
  const std::string body = "WEBP" + header + simple.substr(12) + chunks;
  return "RIFF" + number(body.size(), 4, false) + body;
}

struct ExifOptions {
  bool big_endian = false;
  int orientation = 0;                                  // 0: none
  std::string comment = {};                             // UserComment, with its code in front
  std::string make = {}, model = {}, description = {};  // ASCII
};

// An EXIF block from the TIFF header on.
inline std::string exif_block(const ExifOptions& options) {
  const bool big = options.big_endian;
  struct Entry {
    uint32_t tag, type, count;
    std::string value;  // 4 bytes, or what lies elsewhere
  };
  std::vector<Entry> first, second;
  const auto ascii = [&](uint32_t tag, const std::string& text) {
    if (!text.empty()) first.push_back({tag, 2, static_cast<uint32_t>(text.size() + 1), text + '\0'});
  };
  ascii(0x010E, options.description);
  ascii(0x010F, options.make);
  ascii(0x0110, options.model);
  if (options.orientation != 0) {
    first.push_back(
        {0x0112, 3, 1, number(static_cast<uint64_t>(options.orientation), 2, big) + std::string(2, '\0')});
  }
  if (!options.comment.empty()) {
    first.push_back({0x8769, 4, 1, {}});  // where the second folder lies: filled in below
    second.push_back({0x9286, 7, static_cast<uint32_t>(options.comment.size()), options.comment});
  }
  const std::size_t first_bytes = 2 + first.size() * 12 + 4, second_at = 8 + first_bytes;
  std::size_t next = second_at + 2 + second.size() * 12 + 4;  // of the values that lie elsewhere
  std::string values;
  const auto folder = [&](const std::vector<Entry>& entries) {
    std::string out = number(entries.size(), 2, big);
    for (const Entry& entry : entries) {
      out += number(entry.tag, 2, big) + number(entry.type, 2, big) + number(entry.count, 4, big);
      if (entry.value.empty()) {
        out += number(second_at, 4, big);
      } else if (entry.value.size() <= 4) {
        out += (entry.value + std::string(4, '\0')).substr(0, 4);
      } else {
        out += number(next, 4, big);
        next += entry.value.size();
        values += entry.value;
      }
    }
    return out + std::string(4, '\0');
  };
  const std::string folders = folder(first) + folder(second);
  return (big ? std::string("MM\0*", 4) : std::string("II*\0", 4)) + number(8, 4, big) + folders + values;
}

// Text as EXIF's UserComment in UTF-16; ASCII only.
inline std::string unicode_comment(const std::string& text, bool big_endian) {
  std::string out("UNICODE\0", 8);
  for (const char c : text) out += number(static_cast<uint8_t>(c), 2, big_endian);
  return out;
}

inline std::string exif_segment(const std::string& block) {
  return jpeg_segment(0xE1, std::string("Exif\0\0", 6) + block);
}

// A picture in which no two pixels near each other are the same.
inline Image gradient(int width, int height) {
  Image image{width, height, {}};
  for (int y = 0; y < height; ++y) {
    for (int x = 0; x < width; ++x) {
      image.rgb.push_back(static_cast<uint8_t>(255 * x / width));
      image.rgb.push_back(static_cast<uint8_t>(255 * y / height));
      image.rgb.push_back(static_cast<uint8_t>(100 + x + y));
    }
  }
  return image;
}

}  // namespace darkroom
