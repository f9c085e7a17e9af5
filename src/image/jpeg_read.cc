#include <cstdio>
// jpeglib.h needs it.
#include <jerror.h>
#include <jpeglib.h>

#include <csetjmp>
#include <cstdint>

#include "base/error.h"
#include "image/read_picture.h"

// libjpeg reports errors by a call that must not return, so they leave by longjmp, which skips C++
// destructors. Everything that owns memory lives in decode_jpeg; only read_header and read_rows, which have
// no such object, are jumped out of.

namespace darkroom {
namespace {

constexpr int kMaxScans = 200;  // programs write about ten; each goes over the whole picture

struct ReadState {
  jpeg_decompress_struct jpeg = {};
  jpeg_error_mgr errors = {};
  jpeg_progress_mgr progress = {};
  jpeg_source_mgr source = {};
  std::jmp_buf jump;
  bool is_created = false;
  char message[JMSG_LENGTH_MAX] = "";

  ~ReadState() {
    if (is_created) jpeg_destroy_decompress(&jpeg);
  }
};

ReadState* state_of(j_common_ptr jpeg) { return static_cast<ReadState*>(jpeg->client_data); }

[[noreturn]] void stop(ReadState* state) { std::longjmp(state->jump, 1); }

void on_error(j_common_ptr jpeg) {
  ReadState* state = state_of(jpeg);
  jpeg->err->format_message(jpeg, state->message);
  stop(state);
}

// Warnings tell of pixels that were made up: damaged data. What has nothing to do with pixels is let pass.
void on_message(j_common_ptr jpeg, int level) {
  if (level >= 0) return;
  const int code = jpeg->err->msg_code;
  if (code == JWRN_HIT_MARKER || code == JWRN_HUFF_BAD_CODE || code == JWRN_JPEG_EOF) on_error(jpeg);
}

void on_output(j_common_ptr) {}

void on_start(j_decompress_ptr) {}

boolean on_need(j_decompress_ptr jpeg) {
  ReadState* state = state_of(reinterpret_cast<j_common_ptr>(jpeg));
  std::snprintf(state->message, sizeof(state->message), "the file ends too early");
  stop(state);
}

void on_skip(j_decompress_ptr jpeg, long count) {
  if (count <= 0) return;
  if (static_cast<unsigned long>(count) > jpeg->src->bytes_in_buffer) on_need(jpeg);
  jpeg->src->next_input_byte += count;
  jpeg->src->bytes_in_buffer -= static_cast<std::size_t>(count);
}

void on_end(j_decompress_ptr) {}

void on_progress(j_common_ptr jpeg) {
  ReadState* state = state_of(jpeg);
  if (state->jpeg.input_scan_number <= kMaxScans) return;
  std::snprintf(state->message, sizeof(state->message), "more than %d scans", kMaxScans);
  stop(state);
}

void connect(ReadState* state, std::span<const std::byte> bytes) {
  state->jpeg.err = jpeg_std_error(&state->errors);
  state->errors.error_exit = on_error;
  state->errors.emit_message = on_message;
  state->errors.output_message = on_output;
  state->jpeg.client_data = state;
  state->source.next_input_byte = reinterpret_cast<const JOCTET*>(bytes.data());
  state->source.bytes_in_buffer = bytes.size();
  state->source.init_source = on_start;
  state->source.fill_input_buffer = on_need;
  state->source.skip_input_data = on_skip;
  state->source.resync_to_restart = jpeg_resync_to_restart;
  state->source.term_source = on_end;
  state->progress.progress_monitor = on_progress;
}

// False on an error of libjpeg; state->message says which.
bool read_header(ReadState* state) {
  if (setjmp(state->jump)) return false;
  jpeg_create_decompress(&state->jpeg);
  state->is_created = true;
  state->jpeg.src = &state->source;
  state->jpeg.progress = &state->progress;
  jpeg_read_header(&state->jpeg, TRUE);
  const J_COLOR_SPACE stored = state->jpeg.jpeg_color_space;
  const bool has_black = stored == JCS_CMYK || stored == JCS_YCCK;
  state->jpeg.out_color_space = has_black ? JCS_CMYK : JCS_RGB;
  return true;
}

// The rows as they come, state->jpeg.output_components bytes a pixel. False on an error of libjpeg.
bool read_rows(ReadState* state, uint8_t* out) {
  if (setjmp(state->jump)) return false;
  jpeg_start_decompress(&state->jpeg);
  const std::size_t row_bytes =
      std::size_t{state->jpeg.output_width} * static_cast<std::size_t>(state->jpeg.output_components);
  while (state->jpeg.output_scanline < state->jpeg.output_height) {
    JSAMPROW row = out + state->jpeg.output_scanline * row_bytes;
    jpeg_read_scanlines(&state->jpeg, &row, 1);
  }
  return true;
}

// a * b / 255, rounded, as Pillow does it.
int product_of_bytes(int a, int b) {
  const int product = a * b + 128;
  return ((product >> 8) + product) >> 8;
}

// RGB from inks that are stored inverted, as Adobe's programs and all after them do.
std::vector<uint8_t> rgb_from_cmyk(const std::vector<uint8_t>& cmyk) {
  std::vector<uint8_t> rgb;
  rgb.reserve(cmyk.size() / 4 * 3);
  for (std::size_t i = 0; i < cmyk.size(); i += 4) {
    const int light = cmyk[i + 3];
    for (std::size_t ink = 0; ink < 3; ++ink) {
      rgb.push_back(static_cast<uint8_t>(light - product_of_bytes(255 - cmyk[i + ink], light)));
    }
  }
  return rgb;
}

}  // namespace

Image decode_jpeg(std::span<const std::byte> bytes, const std::string& where) {
  ReadState state;
  connect(&state, bytes);
  require(read_header(&state), ErrorCode::kFailure, "{}: not a readable JPEG: {}", where, state.message);
  // A block of 8 x 8 pixels takes a bit or more, except in the arithmetic code.
  constexpr int64_t kPixelsPerByte = 8 * 64, kPixelsPerByteOfArithmetic = int64_t{1} << 20;
  check_picture_size("JPEG", state.jpeg.image_width, state.jpeg.image_height, bytes.size(),
                     state.jpeg.arith_code ? kPixelsPerByteOfArithmetic : kPixelsPerByte, where);
  const bool has_black = state.jpeg.out_color_space == JCS_CMYK;
  const std::size_t pixels = std::size_t{state.jpeg.image_width} * state.jpeg.image_height;
  std::vector<uint8_t> values(pixels * (has_black ? 4 : 3));
  require(read_rows(&state, values.data()), ErrorCode::kFailure, "{}: the JPEG is damaged: {}", where,
          state.message);
  Image image{static_cast<int>(state.jpeg.image_width), static_cast<int>(state.jpeg.image_height), {}};
  image.rgb = has_black ? rgb_from_cmyk(values) : std::move(values);
  return image;
}

}  // namespace darkroom
