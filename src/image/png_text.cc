#include <zlib.h>

#include <cstdint>
#include <string_view>

#include "base/error.h"
#include "base/utf8.h"
#include "image/picture_file.h"
#include "image/png.h"
#include "image/text.h"

// The texts are read by this walk over the chunks and not by libpng: it needs no pixels, no setjmp, and its
// limits are all in sight.

namespace darkroom {
namespace {

constexpr std::size_t kMostTextBytes = std::size_t{8} << 20;
constexpr std::size_t kMostTextBytesInAll = std::size_t{32} << 20;
constexpr std::size_t kMostTexts = 256;

uint32_t big_endian_32(std::string_view bytes) {
  uint32_t value = 0;
  for (std::size_t i = 0; i < 4; ++i) value = value << 8 | static_cast<uint8_t>(bytes[i]);
  return value;
}

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
  stream.avail_in = static_cast<uInt>(compressed.size());  // at most kMostTextBytes
  std::string text;
  int status = Z_OK;
  while (status == Z_OK) {
    char buffer[16384];
    stream.next_out = reinterpret_cast<Bytef*>(buffer);
    stream.avail_out = sizeof(buffer);
    status = inflate(&stream, Z_NO_FLUSH);
    text.append(buffer, sizeof(buffer) - stream.avail_out);
    require(text.size() <= kMostTextBytes, ErrorCode::kFailure, "{}: more than {} bytes when inflated", where,
            kMostTextBytes);
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
  std::string_view type;
  std::string_view data;
  std::size_t offset = 0;
};

// The chunk at `offset`. All arithmetic is on sizes already known to lie inside the file.
Chunk take_chunk(std::string_view file, std::size_t offset, const std::string& where) {
  const std::size_t left = file.size() - offset;
  require(left >= 12, ErrorCode::kFailure,
          "{}: the PNG ends at byte {} without an IEND chunk: it is incomplete", where, file.size());
  const std::size_t length = big_endian_32(file.substr(offset, 4));
  require(length <= left - 12, ErrorCode::kFailure,
          "{}: the chunk at byte {} says {} bytes, {} are left: the PNG is damaged or incomplete", where,
          offset, length, left - 12);
  return {file.substr(offset + 4, 4), file.substr(offset + 8, length), offset};
}

void check_crc(std::string_view file, const Chunk& chunk, const std::string& where) {
  const std::string_view covered = file.substr(chunk.offset + 4, chunk.data.size() + 4);
  const uint32_t found = big_endian_32(file.substr(chunk.offset + 8 + chunk.data.size(), 4));
  const uint32_t computed =
      static_cast<uint32_t>(crc32_z(0, reinterpret_cast<const Bytef*>(covered.data()), covered.size()));
  require(found == computed, ErrorCode::kFailure, "{}: checksum {:08x}, expected {:08x}: the PNG is damaged",
          where, found, computed);
}

bool is_text(std::string_view type) { return type == "tEXt" || type == "zTXt" || type == "iTXt"; }

}  // namespace

std::map<std::string, std::string> decode_png_text(std::span<const std::byte> bytes,
                                                   const std::string& where) {
  using std::string_view_literals::operator""sv;
  const std::string_view file(reinterpret_cast<const char*>(bytes.data()), bytes.size());
  require(file.starts_with("\x89PNG\r\n\x1A\n"sv), ErrorCode::kFailure, "{}: not a PNG file", where);
  std::map<std::string, std::string> texts;
  std::size_t count = 0;
  std::size_t bytes_in_all = 0;
  for (std::size_t offset = 8;;) {
    const Chunk chunk = take_chunk(file, offset, where);
    require(offset != 8 || chunk.type == "IHDR", ErrorCode::kFailure, "{}: the PNG does not begin with IHDR",
            where);
    if (chunk.type == "IEND") return texts;
    if (is_text(chunk.type)) {
      const std::string place = fmt::format("{}: the {} chunk at byte {}", where, chunk.type, offset);
      check_crc(file, chunk, place);
      require(chunk.data.size() <= kMostTextBytes, ErrorCode::kFailure, "{}: {} bytes, at most {} are read",
              place, chunk.data.size(), kMostTextBytes);
      PngText text = read_text(chunk.type, chunk.data, place);
      bytes_in_all += text.text.size();
      require(++count <= kMostTexts && bytes_in_all <= kMostTextBytesInAll, ErrorCode::kFailure,
              "{}: text number {} and {} bytes in all, at most {} texts and {} bytes are read", place, count,
              bytes_in_all, kMostTexts, kMostTextBytesInAll);
      texts[text.key] = std::move(text.text);
    }
    offset += chunk.data.size() + 12;
  }
}

std::map<std::string, std::string> read_png_text(const std::filesystem::path& path) {
  const std::string bytes = read_picture_file(path);
  return decode_png_text(std::as_bytes(std::span(bytes)), path.string());
}

}  // namespace darkroom
