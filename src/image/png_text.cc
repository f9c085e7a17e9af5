#include <zlib.h>

#include <algorithm>
#include <cstdint>
#include <optional>
#include <string_view>

#include "base/error.h"
#include "base/utf8.h"
#include "image/exif.h"
#include "image/picture_source.h"
#include "image/picture_texts.h"
#include "image/png.h"
#include "image/text.h"

// The texts are read by this walk over the chunks and not by libpng: it needs no pixels, no setjmp, and its
// limits are all in sight.

namespace darkroom {
namespace {

constexpr std::size_t kMaxTextsBytes = std::size_t{32} << 20;
constexpr std::size_t kMaxTexts = 256;

// Removes the bytes before the first NUL from `rest`, and the NUL, and returns them.
std::string_view take_until_nul(std::string_view* rest, const std::string& where) {
  const std::size_t end = rest->find('\0');
  require(end != std::string_view::npos, ErrorCode::kFailure, "{}: a field has no end", where);
  const std::string_view field = rest->substr(0, end);
  rest->remove_prefix(end + 1);
  return field;
}

std::string inflate_text(std::string_view compressed, const std::string& where) {
  struct Stream : z_stream {
    Stream() : z_stream{} {}
    ~Stream() { inflateEnd(this); }
  } stream;
  require(inflateInit(&stream) == Z_OK, ErrorCode::kFailure, "{}: cannot start to inflate it", where);
  stream.next_in = reinterpret_cast<Bytef*>(const_cast<char*>(compressed.data()));
  stream.avail_in = static_cast<uInt>(compressed.size());  // at most kMaxTextBytes
  std::string text;
  int status = Z_OK;
  while (status == Z_OK) {
    char buffer[16384];
    stream.next_out = reinterpret_cast<Bytef*>(buffer);
    stream.avail_out = sizeof(buffer);
    status = inflate(&stream, Z_NO_FLUSH);
    text.append(buffer, sizeof(buffer) - stream.avail_out);
    require(text.size() <= kMaxTextBytes, ErrorCode::kFailure, "{}: more than {} bytes when inflated", where,
            kMaxTextBytes);
  }
  require(status == Z_STREAM_END, ErrorCode::kFailure, "{}: its compressed text is damaged or incomplete",
          where);
  return text;
}

std::string utf8_of_either(std::string_view bytes) {
  return is_valid_utf8(bytes) ? clean_utf8(bytes) : clean_utf8(utf8_from_latin1(bytes));
}

// One text chunk's key and text.
PngText read_text(std::string_view type, std::string_view data, const std::string& where) {
  const std::string_view key = take_until_nul(&data, where);
  require(!key.empty() && key.size() <= 79, ErrorCode::kFailure,
          "{}: its key has {} characters, expected 1 to 79", where, key.size());
  PngText out{utf8_from_latin1(key), {}};
  if (type == "tEXt") {
    out.text = utf8_of_either(data);
    return out;
  }
  const bool international = type == "iTXt";
  const std::size_t flags = international ? 2 : 1;
  require(data.size() >= flags, ErrorCode::kFailure, "{}: {} bytes after its key, expected at least {}",
          where, data.size(), flags);
  const bool compressed = international ? data[0] != 0 : true;
  const char method = data[flags - 1];
  require(!compressed || method == 0, ErrorCode::kFailure, "{}: compression method {}, expected 0", where,
          static_cast<int>(static_cast<uint8_t>(method)));
  data.remove_prefix(flags);
  if (international) {
    take_until_nul(&data, where);  // language
    take_until_nul(&data, where);  // translated key
  }
  const std::string text = compressed ? inflate_text(data, where) : std::string(data);
  out.text = international ? clean_utf8(text) : utf8_of_either(text);
  return out;
}

struct Chunk {
  std::string type;
  uint64_t offset = 0;  // of its length
  uint32_t length = 0;  // of its data

  uint64_t data() const { return offset + 8; }
  uint64_t end() const { return data() + length + 4; }
};

bool is_letter(char c) { return (c >= 'A' && c <= 'Z') || (c >= 'a' && c <= 'z'); }

// The chunk at `offset`, or nothing when the file ends there or inside it.
std::optional<Chunk> chunk_at(PictureSource& source, uint64_t offset) {
  const std::string_view head = source.look(offset, 8);
  if (head.size() < 8) return std::nullopt;
  Chunk chunk{std::string(head.substr(4)), offset, big_endian_32(head)};
  const bool fits = chunk.end() <= source.size() && std::ranges::all_of(chunk.type, is_letter);
  return fits ? std::optional(chunk) : std::nullopt;
}

// The data of a chunk, its checksum compared.
std::string read_chunk(PictureSource& source, const Chunk& chunk, const std::string& where) {
  const std::string_view bytes = source.look(chunk.offset + 4, chunk.length + std::size_t{8});
  const std::string_view covered = bytes.substr(0, chunk.length + std::size_t{4});
  const uint32_t found = big_endian_32(bytes.substr(covered.size()));
  const uint32_t computed =
      static_cast<uint32_t>(crc32_z(0, reinterpret_cast<const Bytef*>(covered.data()), covered.size()));
  require(found == computed, ErrorCode::kFailure, "{}: checksum {:08x}, expected {:08x}: the PNG is damaged",
          where, found, computed);
  return std::string(covered.substr(4));
}

bool is_text(std::string_view type) { return type == "tEXt" || type == "zTXt" || type == "iTXt"; }

// A file with more chunks is no picture; programs write far fewer before their texts.
constexpr int kMaxChunks = 1 << 20;

// What a walk over the chunks has found so far.
struct Walk {
  PictureTexts found = {};
  std::optional<int> exif_orientation = {}, raw_orientation = {};
  std::map<std::string, std::string> exif_texts = {};
  std::size_t count = 0, bytes_in_all = 0;
  bool has_pixels = false;
};

void read_header(PictureSource& source, const Chunk& chunk, Walk* walk) {
  constexpr uint32_t kMaxEdge = 0x7FFFFFFF;
  const std::string place = source.where() + ": the IHDR chunk";
  require(chunk.length == 13, ErrorCode::kFailure, "{}: {} bytes, expected 13", place, chunk.length);
  const std::string data = read_chunk(source, chunk, place);
  const uint32_t width = big_endian_32(data), height = big_endian_32(data.substr(4));
  require(width - 1 < kMaxEdge && height - 1 < kMaxEdge, ErrorCode::kFailure, "{}: {} x {} pixels", place,
          width, height);
  walk->found.width = static_cast<int>(width);
  walk->found.height = static_cast<int>(height);
}

void take_exif(const Exif& exif, std::optional<int>* orientation, Walk* walk) {
  *orientation = exif.orientation;
  walk->exif_texts.insert(exif.texts.begin(), exif.texts.end());
}

void read_text_chunk(PictureSource& source, const Chunk& chunk, Walk* walk) {
  const std::string place =
      fmt::format("{}: the {} chunk at byte {}", source.where(), chunk.type, chunk.offset);
  require(chunk.length <= kMaxTextBytes, ErrorCode::kFailure, "{}: {} bytes, at most {} are read", place,
          chunk.length, kMaxTextBytes);
  PngText text = read_text(chunk.type, read_chunk(source, chunk, place), place);
  walk->count += 1;
  walk->bytes_in_all += text.text.size();
  require(walk->count <= kMaxTexts && walk->bytes_in_all <= kMaxTextsBytes, ErrorCode::kFailure,
          "{}: text number {} and {} bytes in all, at most {} texts and {} bytes are read", place,
          walk->count, walk->bytes_in_all, kMaxTexts, kMaxTextsBytes);
  if (text.key == "Raw profile type exif" || text.key == "Raw profile type APP1") {
    take_exif(read_exif(exif_in_raw_profile(text.text)), &walk->raw_orientation, walk);
  }
  walk->found.texts[text.key] = std::move(text.text);
}

void read_any_chunk(PictureSource& source, const Chunk& chunk, Walk* walk) {
  if (is_text(chunk.type)) {
    read_text_chunk(source, chunk, walk);
  } else if (chunk.type == "eXIf" && chunk.length <= kMaxTextBytes) {
    take_exif(read_exif(source.look(chunk.data(), chunk.length)), &walk->exif_orientation, walk);
  }
}

// The order is Pillow's: EXIF's own, then ImageMagick's copy of it, then XMP's.
int orientation_of(const Walk& walk) {
  if (walk.exif_orientation) return *walk.exif_orientation;
  if (walk.raw_orientation) return *walk.raw_orientation;
  const auto xmp = walk.found.texts.find("XML:com.adobe.xmp");
  return xmp == walk.found.texts.end() ? 1 : xmp_orientation(xmp->second).value_or(1);
}

PictureTexts finished(Walk walk) {
  walk.found.orientation = orientation_of(walk);
  walk.found.texts.merge(walk.exif_texts);  // what a text of the PNG itself says comes first
  return std::move(walk.found);
}

}  // namespace

PictureTexts read_png_texts(PictureSource& source) {
  Walk walk;
  uint64_t offset = 8;
  for (int chunks = 0; chunks < kMaxChunks; ++chunks) {
    const std::optional<Chunk> chunk = chunk_at(source, offset);
    // Where the pixels have begun, a file that is cut or damaged can still have a recipe in front of them.
    const bool in_pixels = walk.has_pixels || source.look(offset + 4, 4) == "IDAT";
    if (!chunk && in_pixels) return finished(std::move(walk));
    require(chunk.has_value(), ErrorCode::kFailure,
            "{}: the chunk at byte {} of {} is cut off or damaged, and it comes before the pixels",
            source.where(), offset, source.size());
    require((chunks == 0) == (chunk->type == "IHDR"), ErrorCode::kFailure,
            "{}: the PNG's chunk number {} is '{}': IHDR must be the first and only there", source.where(),
            chunks + 1, chunk->type);
    if (chunks == 0) read_header(source, *chunk, &walk);
    if (chunk->type == "IEND") return finished(std::move(walk));
    walk.has_pixels = walk.has_pixels || chunk->type == "IDAT";
    read_any_chunk(source, *chunk, &walk);
    offset = chunk->end();
  }
  fail(ErrorCode::kFailure, "{}: more than {} chunks", source.where(), kMaxChunks);
}

std::map<std::string, std::string> decode_png_text(std::span<const std::byte> bytes,
                                                   const std::string& where) {
  PictureSource source(bytes, where);
  require(picture_kind(source.look(0, 16)) == "PNG", ErrorCode::kFailure, "{}: not a PNG file", where);
  return read_png_texts(source).texts;
}

std::map<std::string, std::string> read_png_text(const std::filesystem::path& path) {
  PictureSource source(path);
  require(picture_kind(source.look(0, 16)) == "PNG", ErrorCode::kFailure, "{}: not a PNG file",
          path.string());
  return read_png_texts(source).texts;
}

}  // namespace darkroom
