#include <png.h>

#include <csetjmp>
#include <cstdint>
#include <cstdio>
#include <cstring>

#include "base/error.h"
#include "image/picture_file.h"
#include "image/png.h"

// libpng reports errors by longjmp, which skips C++ destructors. So everything that owns memory lives in
// decode_png, and only read_header and read_pixels, which have no such object, are jumped out of.

namespace darkroom {
namespace {

struct ReadState {
  png_structp png = nullptr;
  png_infop info = nullptr;
  std::span<const std::byte> rest;
  png_uint_32 width = 0;
  png_uint_32 height = 0;
  std::size_t file_row_bytes = 0;  // of one row as it lies in the file
  std::size_t row_bytes = 0;       // of one row after the transformations
  char message[160] = "";

  ~ReadState() { png_destroy_read_struct(&png, &info, nullptr); }
};

void on_error(png_structp png, png_const_charp message) {
  ReadState* state = static_cast<ReadState*>(png_get_error_ptr(png));
  std::snprintf(state->message, sizeof(state->message), "%s", message);
  png_longjmp(png, 1);
}

void on_warning(png_structp, png_const_charp) {}

void on_read(png_structp png, png_bytep data, std::size_t size) {
  ReadState* state = static_cast<ReadState*>(png_get_io_ptr(png));
  if (size > state->rest.size()) png_error(png, "the file ends too early");
  std::memcpy(data, state->rest.data(), size);
  state->rest = state->rest.subspan(size);
}

// Reads up to the pixels and sets the transformations to 8-bit RGB. False on an error of libpng.
bool read_header(ReadState* state) {
  if (setjmp(png_jmpbuf(state->png))) return false;
  png_set_read_fn(state->png, state, on_read);
  png_set_user_limits(state->png, kMaxPngEdge, kMaxPngEdge);
  // Chunks that the pixels do not need (colour profiles, texts, ...) are skipped unread:
  // nothing to inflate there.
  png_set_keep_unknown_chunks(state->png, PNG_HANDLE_CHUNK_NEVER, nullptr, -1);
  png_read_info(state->png, state->info);
  state->width = png_get_image_width(state->png, state->info);
  state->height = png_get_image_height(state->png, state->info);
  state->file_row_bytes = png_get_rowbytes(state->png, state->info);
  png_set_expand(state->png);
  png_set_scale_16(state->png);
  png_set_gray_to_rgb(state->png);
  png_set_strip_alpha(state->png);
  png_set_interlace_handling(state->png);
  png_read_update_info(state->png, state->info);
  state->row_bytes = png_get_rowbytes(state->png, state->info);
  return true;
}

// Fills the rows. False on an error of libpng.
bool read_pixels(ReadState* state, png_bytepp rows) {
  if (setjmp(png_jmpbuf(state->png))) return false;
  png_read_image(state->png, rows);
  png_read_end(state->png, nullptr);
  return true;
}

}  // namespace

Image decode_png(std::span<const std::byte> bytes, const std::string& where) {
  ReadState state;
  state.png = png_create_read_struct(PNG_LIBPNG_VER_STRING, &state, on_error, on_warning);
  state.info = state.png ? png_create_info_struct(state.png) : nullptr;
  require(state.info != nullptr, ErrorCode::kFailure, "{}: the PNG library could not be started", where);
  state.rest = bytes;
  require(read_header(&state), ErrorCode::kFailure, "{}: not a readable PNG: {}", where, state.message);
  require(int64_t{state.width} * state.height <= kMaxPngPixels, ErrorCode::kFailure,
          "{}: a PNG of {} x {} pixels, at most {} pixels are read", where, state.width, state.height,
          kMaxPngPixels);
  // Deflate shrinks at most 1032 times, so a file that promises more holds less: refuse before
  // taking the memory.
  constexpr uint64_t kMaxShrinking = 1032;
  const uint64_t promised = uint64_t{state.height} * state.file_row_bytes;
  require(promised / kMaxShrinking <= bytes.size(), ErrorCode::kFailure,
          "{}: a PNG of {} bytes cannot hold {} x {} pixels: the file is damaged", where, bytes.size(),
          state.width, state.height);
  require(state.row_bytes == std::size_t{state.width} * 3, ErrorCode::kFailure,
          "{}: a row of the PNG has {} bytes after conversion, expected {}", where, state.row_bytes,
          std::size_t{state.width} * 3);
  Image image{static_cast<int>(state.width), static_cast<int>(state.height), {}};
  image.rgb.resize(state.row_bytes * state.height);
  std::vector<png_bytep> rows(state.height);
  for (std::size_t i = 0; i < rows.size(); ++i) rows[i] = image.rgb.data() + i * state.row_bytes;
  require(read_pixels(&state, rows.data()), ErrorCode::kFailure, "{}: the PNG is damaged: {}", where,
          state.message);
  return image;
}

Image read_png(const std::filesystem::path& path) {
  const std::string bytes = read_picture_file(path);
  return decode_png(std::as_bytes(std::span(bytes)), path.string());
}

}  // namespace darkroom
