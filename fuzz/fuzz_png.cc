// libFuzzer target: everything that reads a stranger's PNG, and turns it into another size. The first byte
// picks the reader, the rest is its input.
#include <zlib.h>

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "base/error.h"
#include "image/found_recipe.h"
#include "image/png.h"
#include "image/resize.h"

namespace {

uint32_t read_32(const uint8_t* p) {
  return uint32_t{p[0]} << 24 | uint32_t{p[1]} << 16 | uint32_t{p[2]} << 8 | p[3];
}

// Mutated chunks rarely have a right checksum, and readers stop there: this makes them right, so that what
// lies behind the checksum is reached too. Also gives the file its signature.
std::vector<uint8_t> with_checksums(std::span<const uint8_t> input) {
  std::vector<uint8_t> file = {0x89, 'P', 'N', 'G', '\r', '\n', 0x1A, '\n'};
  const std::size_t skip = input.size() >= 8 && input[0] == 0x89 ? 8 : 0;
  file.insert(file.end(), input.begin() + static_cast<std::ptrdiff_t>(skip), input.end());
  for (std::size_t at = 8; file.size() - at >= 12;) {
    const std::size_t length = read_32(&file[at]);
    if (length > file.size() - at - 12) break;
    const uint32_t crc = static_cast<uint32_t>(crc32_z(0, &file[at + 4], length + 4));
    for (std::size_t i = 0; i < 4; ++i) file[at + 8 + length + i] = static_cast<uint8_t>(crc >> (24 - 8 * i));
    at += length + 12;
  }
  return file;
}

// Reads back what was read, in both spellings: this must not fail.
void write_again(const darkroom::Recipe& recipe) {
  const darkroom::Recipe again = darkroom::from_json(darkroom::to_json(recipe), "again");
  if (again.seed != recipe.seed || again.sigmas != recipe.sigmas) __builtin_trap();
  // A line is known by its steps or sigmas; what draws a picture has one of them.
  const darkroom::Recipe line = darkroom::from_a1111_text(darkroom::to_a1111_text(recipe), "again").recipe;
  const bool is_drawn = recipe.steps || !recipe.sigmas.empty();
  if (is_drawn && (line.seed != recipe.seed || line.steps != recipe.steps)) __builtin_trap();
  const darkroom::Image pixel{1, 1, {1, 2, 3}};
  darkroom::decode_png_text(darkroom::encode_png(pixel, darkroom::recipe_texts(recipe)), "again");
}

// In a size that its first pixels choose.
void resize(const darkroom::Image& image) {
  darkroom::fit_image(image, 1 + image.rgb.front() % 64, 1 + image.rgb.back() % 64);
}

void read(uint8_t reader, std::span<const uint8_t> input) {
  const std::string_view text(reinterpret_cast<const char*>(input.data()), input.size());
  switch (reader % 6) {
    case 0:
      darkroom::decode_png_text(std::as_bytes(input), "input");
      break;
    case 1: {
      const std::vector<uint8_t> file = with_checksums(input);
      for (const auto& [key, value] : darkroom::decode_png_text(std::as_bytes(std::span(file)), "input")) {
        if (key == "parameters") darkroom::from_a1111_text(value, "input");
      }
      break;
    }
    case 2:
      write_again(darkroom::from_a1111_text(text, "input").recipe);
      break;
    case 3:
      write_again(darkroom::from_json(text, "input"));
      break;
    case 4:
      resize(darkroom::decode_png(std::as_bytes(input), "input"));
      break;
    case 5: {
      const std::vector<uint8_t> file = with_checksums(input);
      resize(darkroom::decode_png(std::as_bytes(std::span(file)), "input"));
      break;
    }
  }
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, std::size_t size) {
  if (size == 0) return 0;
  try {
    read(data[0], {data + 1, size - 1});
  } catch (const darkroom::Error&) {  // the only way to refuse; anything else is a finding
  }
  return 0;
}
