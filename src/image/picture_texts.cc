#include "image/picture_texts.h"

#include <algorithm>
#include <array>

#include "base/error.h"
#include "image/picture_source.h"

namespace darkroom {
namespace {

using std::string_view_literals::operator""sv;

struct Signature {
  std::size_t offset;
  std::string_view bytes;
  std::string_view kind;
};

constexpr Signature kSignatures[] = {
    {0, "\x89PNG\r\n\x1A\n"sv, "PNG"},
    {0, "\xFF\xD8\xFF"sv, "JPEG"},
    {8, "WEBP"sv, "WebP"},
    {0, "GIF87a"sv, "GIF"},
    {0, "GIF89a"sv, "GIF"},
    {0, "II*\0"sv, "TIFF"},
    {0, "MM\0*"sv, "TIFF"},
    {4, "ftypavif"sv, "AVIF"},
    {4, "ftypavis"sv, "AVIF"},
    {4, "ftypheic"sv, "HEIC"},
    {4, "ftypheix"sv, "HEIC"},
    {4, "ftypmif1"sv, "HEIC"},
    {0, "\xFF\x0A"sv, "JPEG XL"},
    {0, "\0\0\0\x0CJXL \r\n\x87\n"sv, "JPEG XL"},
    {0, "\0\0\0\x0CjP  \r\n\x87\n"sv, "JPEG 2000"},
    {0, "8BPS"sv, "Photoshop"},
    {0, "qoif"sv, "QOI"},
};

// Two letters are a weak sign: the four bytes that must be zero are looked at as well.
bool is_bmp(std::string_view head) {
  return head.size() >= 14 && head.starts_with("BM") && head.substr(6, 4) == "\0\0\0\0"sv;
}

}  // namespace

const char* format_name(PictureFormat format) {
  switch (format) {
    case PictureFormat::kPng:
      return "PNG";
    case PictureFormat::kJpeg:
      return "JPEG";
    case PictureFormat::kWebp:
      return "WebP";
  }
  return "";
}

std::string_view picture_kind(std::string_view head) {
  for (const Signature& signature : kSignatures) {
    if (head.size() < signature.offset) continue;
    if (signature.kind == "WebP" && !head.starts_with("RIFF")) continue;
    if (head.substr(signature.offset).starts_with(signature.bytes)) return signature.kind;
  }
  return is_bmp(head) ? "BMP" : "";
}

bool is_read_kind(std::string_view kind) { return kind == "PNG" || kind == "JPEG" || kind == "WebP"; }

void fail_unread_kind(std::string_view kind, const std::string& where) {
  require(!kind.empty(), ErrorCode::kFailure, "{}: not a picture: PNG, JPEG and WebP are read", where);
  fail(ErrorCode::kFailure, "{}: {} {} picture, and PNG, JPEG and WebP are read: convert it to one of them",
       where, kind.starts_with('A') ? "an" : "a", kind);
}

PictureTexts read_picture_texts(PictureSource& source) {
  const std::string_view kind = picture_kind(source.look(0, 32));
  if (kind == "PNG") return read_png_texts(source);
  if (kind == "JPEG") return read_jpeg_texts(source);
  if (kind == "WebP") return read_webp_texts(source);
  fail_unread_kind(kind, source.where());
}

PictureTexts read_picture_texts(const std::filesystem::path& path) {
  PictureSource source(path);
  return read_picture_texts(source);
}

}  // namespace darkroom
