#include "terminal_picture.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <bitset>
#include <cmath>
#include <cstddef>

namespace cli {
namespace {

constexpr int kMaxRows = 32;
constexpr int kMaxSixelHeight = 600;  // some hundred kilobytes a picture
constexpr int kMaxSentEdge = 512;     // where the terminal scales
// The size of a cell whose pixels are not known: small, so that a sixel picture never grows beyond its cells.
constexpr int kCellWidth = 6, kCellHeight = 12;

constexpr std::size_t index(int n) { return static_cast<std::size_t>(n); }

// The source pixels that make one pixel of the result, along one axis.
struct Taps {
  int first = 0;
  std::vector<float> weights;
};

std::vector<Taps> taps_of(int from, int to) {
  const float scale = static_cast<float>(from) / static_cast<float>(to), reach = std::max(1.0f, scale);
  std::vector<Taps> all;
  for (int i = 0; i < to; ++i) {
    const float centre = (static_cast<float>(i) + 0.5f) * scale - 0.5f;
    const int first = std::max(0, static_cast<int>(std::ceil(centre - reach)));
    const int last = std::min(from - 1, static_cast<int>(std::floor(centre + reach)));
    Taps taps{first, {}};
    float sum = 0;
    for (int k = first; k <= last; ++k) {
      const float weight = std::max(0.0f, 1 - std::abs(static_cast<float>(k) - centre) / reach);
      taps.weights.push_back(weight);
      sum += weight;
    }
    for (float& weight : taps.weights) weight /= sum;
    all.push_back(std::move(taps));
  }
  return all;
}

// Whether a DA1 answer has the attribute; its first number is the terminal's class.
bool has_attribute(std::string_view answer, std::string_view attribute) {
  const std::size_t begin = answer.find("\x1b[?"), end = answer.find('c', begin);
  if (begin == std::string_view::npos || end == std::string_view::npos) return false;
  std::string_view rest = answer.substr(begin + 3, end - begin - 3);
  for (std::size_t next = rest.find(';'); next != std::string_view::npos; next = rest.find(';')) {
    rest.remove_prefix(next + 1);
    if (rest.substr(0, rest.find(';')) == attribute) return true;
  }
  return false;
}

struct CellSize {
  int width = kCellWidth, height = kCellHeight;
};
CellSize cell_size(const TerminalSize& terminal) {
  const int columns = std::max(1, terminal.columns), rows = std::max(1, terminal.rows);
  if (terminal.pixel_width < columns || terminal.pixel_height < rows) return {};
  return {terminal.pixel_width / columns, terminal.pixel_height / rows};
}

// At most `edge` on the longer side.
Pixels within(const Pixels& pixels, int edge) {
  const int longer = std::max(pixels.width, pixels.height);
  if (longer <= edge) return pixels;
  return resized(pixels, std::max(1, pixels.width * edge / longer),
                 std::max(1, pixels.height * edge / longer));
}

std::string big_endian(uint32_t value) {
  std::string out;
  for (int shift = 24; shift >= 0; shift -= 8) out += static_cast<char>(value >> shift);
  return out;
}

std::string png_chunk(std::string_view type, std::string_view data) {
  const std::string checked = std::string(type) + std::string(data);
  uint32_t crc = 0xFFFFFFFF;
  for (const char byte : checked) {
    crc ^= static_cast<unsigned char>(byte);
    for (int bit = 0; bit < 8; ++bit) crc = crc >> 1 ^ (crc & 1 ? 0xEDB88320U : 0);
  }
  return big_endian(static_cast<uint32_t>(data.size())) + checked + big_endian(~crc);
}

// Six rows of sixels in one colour: a run of equal ones is written as "!count".
std::string sixel_runs(const std::string& sixels) {
  std::string out;
  for (std::size_t i = 0; i < sixels.size();) {
    const std::size_t end = std::min(sixels.find_first_not_of(sixels[i], i), sixels.size());
    if (end - i > 3) {
      out += fmt::format("!{}{}", end - i, sixels[i]);
    } else {
      out.append(end - i, sixels[i]);
    }
    i = end;
  }
  return out;
}

// The palette of sixel pictures: levels of red, green and blue.
constexpr std::array<int, 3> kLevels = {6, 7, 6};
constexpr int kColours = kLevels[0] * kLevels[1] * kLevels[2];

int palette_index(const uint8_t* rgb, int x, int y) {
  // Bayer's matrix.
  static constexpr int kThresholds[4][4] = {{0, 8, 2, 10}, {12, 4, 14, 6}, {3, 11, 1, 9}, {15, 7, 13, 5}};
  const float threshold = (static_cast<float>(kThresholds[y % 4][x % 4]) + 0.5f) / 16;
  int colour = 0;
  for (std::size_t c = 0; c < 3; ++c) {
    const int steps = kLevels[c] - 1;
    const int level =
        static_cast<int>(static_cast<float>(rgb[c]) / 255 * static_cast<float>(steps) + threshold);
    colour = colour * kLevels[c] + std::min(level, steps);
  }
  return colour;
}

std::string palette_entry(int colour) {
  const int blue = colour % kLevels[2], green = colour / kLevels[2] % kLevels[1],
            red = colour / kLevels[2] / kLevels[1];
  const auto percent = [](int level, int levels) { return (level * 100 + (levels - 1) / 2) / (levels - 1); };
  return fmt::format("#{};2;{};{};{}", colour, percent(red, kLevels[0]), percent(green, kLevels[1]),
                     percent(blue, kLevels[2]));
}

}  // namespace

Pixels resized(const Pixels& pixels, int width, int height) {
  const std::vector<Taps> across = taps_of(pixels.width, width), down = taps_of(pixels.height, height);
  std::vector<float> rows(index(pixels.height) * index(width) * 3);
  for (std::size_t y = 0; y < index(pixels.height); ++y) {
    for (std::size_t x = 0; x < index(width); ++x) {
      for (std::size_t k = 0; k < across[x].weights.size(); ++k) {
        const uint8_t* from = &pixels.rgb[(y * index(pixels.width) + index(across[x].first) + k) * 3];
        float* to = &rows[(y * index(width) + x) * 3];
        for (std::size_t c = 0; c < 3; ++c) to[c] += across[x].weights[k] * static_cast<float>(from[c]);
      }
    }
  }
  Pixels out{width, height, std::vector<uint8_t>(index(width) * index(height) * 3)};
  const std::size_t row_values = index(width) * 3;
  for (std::size_t y = 0; y < index(height); ++y) {
    for (std::size_t i = 0; i < row_values; ++i) {
      float sum = 0;
      for (std::size_t k = 0; k < down[y].weights.size(); ++k) {
        sum += down[y].weights[k] * rows[(index(down[y].first) + k) * row_values + i];
      }
      out.rgb[y * row_values + i] = static_cast<uint8_t>(std::clamp(sum + 0.5f, 0.0f, 255.0f));
    }
  }
  return out;
}

PreviewProtocol choose_protocol(const TerminalNames& names, std::string_view answer) {
  const bool inside =
      !names.tmux.empty() || names.term.starts_with("tmux") || names.term.starts_with("screen");
  const bool kitty = names.term == "xterm-kitty" || names.term == "xterm-ghostty" ||
                     names.term_program == "WezTerm" || names.term_program == "ghostty" ||
                     !names.kitty_window_id.empty();
  if (!inside && kitty) return PreviewProtocol::kKitty;
  const bool iterm2 = names.term_program == "iTerm.app" || names.lc_terminal == "iTerm2";
  if (!inside && iterm2) return PreviewProtocol::kITerm2;
  return has_attribute(answer, "4") ? PreviewProtocol::kSixel : PreviewProtocol::kHalfBlocks;
}

Cells fit_cells(int width, int height, const TerminalSize& terminal, PreviewProtocol protocol) {
  const CellSize cell = cell_size(terminal);
  int most_rows = std::min(kMaxRows, terminal.rows - 2);
  if (protocol == PreviewProtocol::kSixel) most_rows = std::min(most_rows, kMaxSixelHeight / cell.height);
  // Columns to a row at the picture's proportions.
  const double ratio = static_cast<double>(width) / height * cell.height / cell.width;
  const double rows = std::min<double>(most_rows, (terminal.columns - 1) / ratio);
  return {std::clamp(static_cast<int>(std::lround(rows * ratio)), 1, std::max(1, terminal.columns - 1)),
          std::max(1, static_cast<int>(std::lround(rows)))};
}

std::string draw_picture(const Pixels& pixels, Cells cells, const TerminalSize& terminal,
                         PreviewProtocol protocol, uint32_t id) {
  if (protocol == PreviewProtocol::kHalfBlocks)
    return encode_half_blocks(resized(pixels, cells.columns, 2 * cells.rows));
  std::string picture;
  if (protocol == PreviewProtocol::kKitty) {
    picture = encode_kitty(within(pixels, kMaxSentEdge), cells, id);
  } else if (protocol == PreviewProtocol::kITerm2) {
    picture = encode_iterm2(within(pixels, kMaxSentEdge), cells);
  } else {
    const CellSize cell = cell_size(terminal);
    // Whole bands of six rows: half a band more might reach below the cells.
    const int height = std::max(6, cells.rows * cell.height / 6 * 6);
    picture = encode_sixel(resized(pixels, cells.columns * cell.width, height));
  }
  // The rows are made first, so that nothing scrolls while the picture is drawn.
  std::string out;
  for (int row = 0; row < cells.rows; ++row) out += "\r\n";
  return out + fmt::format(
                   "\x1b[{}A\x1b"
                   "7{}\x1b"
                   "8\x1b[{}B",
                   cells.rows, picture, cells.rows);
}

std::string encode_half_blocks(const Pixels& pixels) {
  std::string out;
  const std::size_t width = index(pixels.width);
  for (std::size_t y = 0; y + 1 < index(pixels.height); y += 2) {
    const uint8_t* drawn = nullptr;  // whose colours are set
    for (std::size_t x = 0; x < width; ++x) {
      const uint8_t* upper = &pixels.rgb[(y * width + x) * 3];
      const uint8_t* lower = upper + width * 3;
      if (!drawn || !std::equal(upper, upper + 3, drawn) ||
          !std::equal(lower, lower + 3, drawn + width * 3)) {
        out += fmt::format("\x1b[38;2;{};{};{};48;2;{};{};{}m", upper[0], upper[1], upper[2], lower[0],
                           lower[1], lower[2]);
      }
      drawn = upper;
      out += "\u2580";  // upper half block
    }
    out += "\x1b[0m\x1b[K\r\n";
  }
  return out;
}

std::string encode_kitty(const Pixels& pixels, Cells cells, uint32_t id) {
  constexpr std::size_t kChunk = 4096;
  const std::string data = base64({reinterpret_cast<const char*>(pixels.rgb.data()), pixels.rgb.size()});
  std::string out;
  for (std::size_t at = 0; at < data.size(); at += kChunk) {
    out += "\x1b_G";
    if (at == 0) {
      out += fmt::format("a=T,f=24,s={},v={},c={},r={},i={},p=1,C=1,q=2,", pixels.width, pixels.height,
                         cells.columns, cells.rows, id);
    }
    out += fmt::format("m={};{}\x1b\\", at + kChunk < data.size() ? 1 : 0, data.substr(at, kChunk));
  }
  return out;
}

std::string encode_iterm2(const Pixels& pixels, Cells cells) {
  const std::string file = stored_png(pixels);
  return fmt::format("\x1b]1337;File=inline=1;size={};width={};height={};preserveAspectRatio=0:{}\a",
                     file.size(), cells.columns, cells.rows, base64(file));
}

std::string encode_sixel(const Pixels& pixels) {
  // 1: pixels without a colour stay as they are; "1;1: square pixels.
  std::string out = fmt::format("\x1bP0;1q\"1;1;{};{}", pixels.width, pixels.height), bands;
  std::bitset<index(kColours)> defined;
  for (int top = 0; top < pixels.height; top += 6) {
    std::vector<std::string> sixels(index(kColours));
    for (int y = top; y < std::min(top + 6, pixels.height); ++y) {
      for (int x = 0; x < pixels.width; ++x) {
        const uint8_t* rgb = &pixels.rgb[(index(y) * index(pixels.width) + index(x)) * 3];
        std::string& line = sixels[index(palette_index(rgb, x, y))];
        if (line.empty()) line.assign(index(pixels.width), '?');
        line[index(x)] = static_cast<char>('?' + ((line[index(x)] - '?') | 1 << (y - top)));
      }
    }
    for (int colour = 0; colour < kColours; ++colour) {
      std::string& line = sixels[index(colour)];
      if (line.empty()) continue;
      if (!defined[index(colour)]) out += palette_entry(colour);
      defined.set(index(colour));
      line.erase(line.find_last_not_of('?') + 1);
      bands += fmt::format("#{}{}$", colour, sixel_runs(line));
    }
    bands.back() = '-';
  }
  bands.pop_back();
  return out + bands + "\x1b\\";
}

std::string base64(std::string_view bytes) {
  static constexpr char kDigits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
  std::string out;
  for (std::size_t at = 0; at < bytes.size(); at += 3) {
    uint32_t group = 0;
    for (std::size_t i = 0; i < 3; ++i) {
      group = group << 8 | (at + i < bytes.size() ? static_cast<unsigned char>(bytes[at + i]) : 0U);
    }
    for (std::size_t i = 0; i < 4; ++i) {
      out += at + i > bytes.size() ? '=' : kDigits[group >> (18 - 6 * i) & 63];
    }
  }
  return out;
}

std::string stored_png(const Pixels& pixels) {
  constexpr std::size_t kMaxStored = 0xFFFF;  // of a block without compression (RFC 1951)
  std::string rows;
  for (std::size_t y = 0; y < index(pixels.height); ++y) {
    rows += '\0';  // no filter
    rows.append(reinterpret_cast<const char*>(&pixels.rgb[y * index(pixels.width) * 3]),
                index(pixels.width) * 3);
  }
  std::string stream = "\x78\x01";
  uint32_t low = 1, high = 0;  // Adler-32 (RFC 1950)
  for (std::size_t at = 0; at < rows.size(); at += kMaxStored) {
    const std::string_view block = std::string_view(rows).substr(at, kMaxStored);
    const uint16_t size = static_cast<uint16_t>(block.size()), check = static_cast<uint16_t>(~size);
    stream += static_cast<char>(at + kMaxStored >= rows.size() ? 1 : 0);
    for (const uint16_t number : {size, check}) {
      stream += static_cast<char>(number & 0xFF);
      stream += static_cast<char>(number >> 8);
    }
    stream += block;
    for (const char byte : block) {
      low = (low + static_cast<unsigned char>(byte)) % 65521;
      high = (high + low) % 65521;
    }
  }
  stream += big_endian(high << 16 | low);
  const std::string header = big_endian(static_cast<uint32_t>(pixels.width)) +
                             big_endian(static_cast<uint32_t>(pixels.height)) +
                             std::string("\x08\x02\0\0\0", 5);  // 8 bits, RGB
  return "\x89PNG\r\n\x1a\n" + png_chunk("IHDR", header) + png_chunk("IDAT", stream) + png_chunk("IEND", "");
}

}  // namespace cli
