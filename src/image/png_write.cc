#include <png.h>

#include <algorithm>
#include <csetjmp>
#include <cstdint>
#include <cstdio>
#include <cstring>
#include <optional>

#include "base/error.h"
#include "base/file_map.h"
#include "base/utf8.h"
#include "image/png.h"
#include "image/text.h"

// libpng reports errors by longjmp, which skips C++ destructors. So everything that owns memory
// lives in encode_png, and only write_all, which has no such object, is jumped out of; callbacks
// keep C++ exceptions inside.

namespace darkroom {
namespace {

struct WriteState {
  png_structp png = nullptr;
  png_infop info = nullptr;
  std::vector<std::byte>* out = nullptr;
  const uint8_t* pixels = nullptr;
  png_uint_32 width = 0;
  png_uint_32 height = 0;
  png_textp texts = nullptr;
  int text_count = 0;
  char message[160] = "";

  ~WriteState() { png_destroy_write_struct(&png, &info); }
};

void on_error(png_structp png, png_const_charp message) {
  WriteState* state = static_cast<WriteState*>(png_get_error_ptr(png));
  std::snprintf(state->message, sizeof(state->message), "%s", message);
  png_longjmp(png, 1);
}

void on_warning(png_structp, png_const_charp) {}

bool append(std::vector<std::byte>* out, const uint8_t* data, std::size_t size) noexcept {
  try {
    const std::byte* first = reinterpret_cast<const std::byte*>(data);
    out->insert(out->end(), first, first + size);
    return true;
  } catch (...) {
    return false;
  }
}

void on_write(png_structp png, png_bytep data, std::size_t size) {
  WriteState* state = static_cast<WriteState*>(png_get_io_ptr(png));
  if (!append(state->out, data, size)) png_error(png, "out of memory");
}

void on_flush(png_structp) {}

// False when libpng reported an error; state->message says which.
bool write_all(WriteState* state) {
  if (setjmp(png_jmpbuf(state->png))) return false;
  png_set_write_fn(state->png, state, on_write, on_flush);
  png_set_user_limits(state->png, PNG_UINT_31_MAX, PNG_UINT_31_MAX);
  png_set_IHDR(state->png, state->info, state->width, state->height, 8, PNG_COLOR_TYPE_RGB,
               PNG_INTERLACE_NONE, PNG_COMPRESSION_TYPE_DEFAULT, PNG_FILTER_TYPE_DEFAULT);
  png_set_text(state->png, state->info, state->texts, state->text_count);
  png_write_info(state->png, state->info);
  const std::size_t row_bytes = std::size_t{state->width} * 3;
  for (png_uint_32 row = 0; row < state->height; ++row) {
    png_write_row(state->png, state->pixels + row * row_bytes);
  }
  png_write_end(state->png, nullptr);
  return true;
}

// A text ready for libpng, which wants pointers to zero-terminated bytes.
struct EncodedText {
  std::string key;
  std::string bytes;
  bool latin1 = false;
};

EncodedText encode_text(const PngText& text) {
  const bool good_key =
      !text.key.empty() && text.key.size() <= 79 && text.key.front() != ' ' && text.key.back() != ' ' &&
      text.key.find("  ") == std::string::npos &&
      std::all_of(text.key.begin(), text.key.end(), [](char c) { return c >= ' ' && c <= '~'; });
  require(good_key, ErrorCode::kUsage,
          "PNG text key '{}': expected 1 to 79 printable ASCII characters and single spaces between them",
          clean_utf8(text.key).substr(0, 100));
  EncodedText out{text.key, clean_utf8(text.text), true};
  std::optional<std::string> latin1 = latin1_from_utf8(out.bytes);
  // Latin-1 bytes that would also be UTF-8 are ambiguous to readers, ours included: those go as iTXt.
  const bool ambiguous = latin1 && *latin1 != out.bytes && is_valid_utf8(*latin1);
  out.latin1 = latin1 && !ambiguous;
  if (out.latin1) out.bytes = std::move(*latin1);
  return out;
}

}  // namespace

std::vector<std::byte> encode_png(const Image& image, std::span<const PngText> texts) {
  require(
      image.width >= 1 && image.height >= 1 &&
          image.rgb.size() == static_cast<uint64_t>(image.width) * static_cast<uint64_t>(image.height) * 3,
      ErrorCode::kUsage, "a picture of {} x {} pixels with {} values cannot be written: expected 3 per pixel",
      image.width, image.height, image.rgb.size());
  std::vector<EncodedText> encoded;
  for (const PngText& text : texts) encoded.push_back(encode_text(text));
  std::vector<png_text> pointers;
  char no_language[] = "";
  for (EncodedText& text : encoded) {
    png_text item{};
    item.compression = text.latin1 ? PNG_TEXT_COMPRESSION_NONE : PNG_ITXT_COMPRESSION_NONE;
    item.key = text.key.data();
    item.text = text.bytes.data();
    if (text.latin1) {
      item.text_length = text.bytes.size();
    } else {
      item.itxt_length = text.bytes.size();
      item.lang = no_language;
      item.lang_key = no_language;
    }
    pointers.push_back(item);
  }
  std::vector<std::byte> out;
  WriteState state;
  state.png = png_create_write_struct(PNG_LIBPNG_VER_STRING, &state, on_error, on_warning);
  state.info = state.png ? png_create_info_struct(state.png) : nullptr;
  require(state.info != nullptr, ErrorCode::kOutput, "PNG: the library could not be started");
  state.out = &out;
  state.pixels = image.rgb.data();
  state.width = static_cast<png_uint_32>(image.width);
  state.height = static_cast<png_uint_32>(image.height);
  state.texts = pointers.data();
  state.text_count = static_cast<int>(pointers.size());
  require(write_all(&state), ErrorCode::kOutput, "PNG: the picture could not be encoded: {}", state.message);
  return out;
}

void write_png(const Image& image, const std::filesystem::path& path, const PngOptions& options) {
  write_file_atomically(path, encode_png(image, options.texts), options.overwrite);
}

}  // namespace darkroom
