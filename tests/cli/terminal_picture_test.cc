// Pictures for terminals: which kind a terminal gets, and that what is sent decodes to the picture.
#include "terminal_picture.h"

#include <gtest/gtest.h>

#include <cmath>
#include <map>
#include <random>
#include <regex>

#include "image/png.h"
#include "text/base64.h"

namespace cli {
namespace {

using Bytes = std::vector<uint8_t>;

Pixels noise(int width, int height) {
  std::mt19937 random(7);
  Pixels out{width, height, Bytes(static_cast<std::size_t>(width * height * 3))};
  for (uint8_t& value : out.rgb) value = static_cast<uint8_t>(random());
  return out;
}

Pixels flat(int width, int height, const Bytes& colour) {
  Pixels out{width, height, {}};
  for (int i = 0; i < width * height; ++i) out.rgb.insert(out.rgb.end(), colour.begin(), colour.end());
  return out;
}

Bytes bytes_of(const std::string& text) { return {text.begin(), text.end()}; }

// Removes `text` from the front, and demands that it is there.
void take(std::string& from, const std::string& text) {
  ASSERT_TRUE(from.starts_with(text)) << from.substr(0, 80);
  from.erase(0, text.size());
}

TEST(ChooseProtocol, ByNameElseByAnswer) {
  using enum PreviewProtocol;
  const std::string sixel = "\x1b[?62;4;22c", plain = "\x1b[?62;22c";
  const std::pair<TerminalNames, PreviewProtocol> names[] = {
      {{.term = "xterm-kitty"}, kKitty},
      {{.term = "xterm-ghostty"}, kKitty},
      {{.term = "xterm-256color", .kitty_window_id = "1"}, kKitty},
      {{.term_program = "WezTerm"}, kKitty},
      {{.term_program = "ghostty"}, kKitty},
      {{.term_program = "iTerm.app"}, kITerm2},
      {{.term = "xterm-256color", .lc_terminal = "iTerm2"}, kITerm2},
      {{.term = "xterm-256color"}, kHalfBlocks},
      {{.term_program = "vscode"}, kHalfBlocks},
      {{.term = "tmux-256color", .kitty_window_id = "1"}, kHalfBlocks},
      {{.term = "screen.xterm-256color", .lc_terminal = "iTerm2"}, kHalfBlocks},
      {{.term = "xterm-kitty", .tmux = "/tmp/tmux-0/default,1,0"}, kHalfBlocks},
      {{}, kHalfBlocks}};
  for (const auto& [terminal, expected] : names) {
    SCOPED_TRACE(terminal.term + " " + terminal.term_program);
    EXPECT_EQ(choose_protocol(terminal, ""), expected);
    EXPECT_EQ(choose_protocol(terminal, plain), expected);
    EXPECT_EQ(choose_protocol(terminal, sixel), expected == kHalfBlocks ? kSixel : expected);
  }
  for (const char* yes : {"\x1b[?1;4c", "x\x1b[?64;1;2;4;6c", "\x1b[?63;4c\x1b[?1c"})
    EXPECT_EQ(choose_protocol({}, yes), kSixel) << yes;
  // 4 is the class there, another number, or not in an answer.
  for (const char* no : {"\x1b[?4c", "\x1b[?4;6c", "\x1b[?62;14;41c", "\x1b[?62;4", ";4c", "\x1b[62;4c", "c"})
    EXPECT_EQ(choose_protocol({}, no), kHalfBlocks) << no;
}

TEST(FitCells, KeepsProportionsWithinTheTerminal) {
  using enum PreviewProtocol;
  struct Row {
    int width, height;
    TerminalSize terminal;
    PreviewProtocol protocol;
    int columns, rows;
  };
  const Row rows[] = {
      {16, 16, {80, 24, 0, 0}, kHalfBlocks, 44, 22},        {128, 128, {200, 100, 0, 0}, kKitty, 64, 32},
      {128, 64, {80, 100, 0, 0}, kHalfBlocks, 79, 20},      {64, 128, {80, 24, 0, 0}, kHalfBlocks, 22, 22},
      {16, 16, {80, 24, 800, 240}, kKitty, 22, 22},          // square cells
      {16, 16, {80, 50, 80 * 15, 50 * 30}, kSixel, 40, 20},  // 600 pixels
      {16, 16, {80, 50, 80 * 15, 50 * 30}, kKitty, 64, 32}, {1024, 1, {80, 24, 0, 0}, kHalfBlocks, 79, 1},
      {1, 1024, {80, 24, 0, 0}, kHalfBlocks, 1, 22},        {16, 16, {1, 1, 0, 0}, kHalfBlocks, 1, 1}};
  for (const Row& row : rows) {
    SCOPED_TRACE(std::to_string(row.width) + "x" + std::to_string(row.height));
    const Cells cells = fit_cells(row.width, row.height, row.terminal, row.protocol);
    EXPECT_EQ(cells.columns, row.columns);
    EXPECT_EQ(cells.rows, row.rows);
  }
}

TEST(Resized, InterpolatesAndAverages) {
  const Pixels pair{2, 1, {0, 100, 255, 200, 100, 55}};
  EXPECT_EQ(resized(pair, 2, 1).rgb, pair.rgb);
  EXPECT_EQ(resized(pair, 4, 1).rgb, (Bytes{0, 100, 255, 50, 100, 205, 150, 100, 105, 200, 100, 55}));
  EXPECT_EQ(resized(pair, 1, 1).rgb, (Bytes{100, 100, 155}));
  EXPECT_EQ(resized(pair, 1, 2).rgb, (Bytes{100, 100, 155, 100, 100, 155}));
  const Bytes colour = {1, 128, 255};
  EXPECT_EQ(resized(flat(128, 96, colour), 44, 22).rgb, flat(44, 22, colour).rgb);
  EXPECT_EQ(resized(flat(3, 5, colour), 64, 7).rgb, flat(64, 7, colour).rgb);
}

TEST(EncodeHalfBlocks, TwoPixelsACell) {
  const Pixels pixels{3, 2, {255, 0, 0, 0, 0, 9, 0, 0, 9, 0, 0, 255, 1, 2, 3, 1, 2, 3}};
  EXPECT_EQ(encode_half_blocks(pixels),
            "\x1b[38;2;255;0;0;48;2;0;0;255m\u2580\x1b[38;2;0;0;9;48;2;1;2;3m\u2580\u2580\x1b[0m\x1b[K\r\n");
  const std::string drawn =
      draw_picture(noise(16, 16), {20, 10}, {80, 24, 0, 0}, PreviewProtocol::kHalfBlocks, 1);
  std::size_t cells = 0, lines = 0;
  for (std::size_t at = drawn.find("\u2580"); at != std::string::npos; at = drawn.find("\u2580", at + 1))
    ++cells;
  for (const char c : drawn) lines += c == '\n' ? 1 : 0;
  EXPECT_EQ(cells, 200u);
  EXPECT_EQ(lines, 10u);
}

TEST(Base64, IsTheLibrarysInverse) {
  EXPECT_EQ(base64(""), "");
  EXPECT_EQ(base64("f"), "Zg==");
  EXPECT_EQ(base64("fo"), "Zm8=");
  EXPECT_EQ(base64("foobar"), "Zm9vYmFy");
  const Bytes some = noise(9, 7).rgb;
  const std::string text(some.begin(), some.end());
  EXPECT_EQ(darkroom::decode_base64(base64(text), ""), text);
}

TEST(StoredPng, IsReadBack) {
  for (const auto& [width, height] : {std::pair{1, 1}, {16, 12}, {200, 160}}) {  // the last in two blocks
    const Pixels pixels = noise(width, height);
    const std::string file = stored_png(pixels);
    const darkroom::Image image =
        darkroom::decode_png(std::as_bytes(std::span(file.data(), file.size())), "stored");
    EXPECT_EQ(image.width, width);
    EXPECT_EQ(image.height, height);
    EXPECT_EQ(image.rgb, pixels.rgb);
  }
}

TEST(EncodeKitty, ChunksHoldThePixels) {
  const Pixels pixels = noise(40, 50);
  std::string rest = encode_kitty(pixels, {30, 20}, 77), data;
  take(rest, "\x1b_Ga=T,f=24,s=40,v=50,c=30,r=20,i=77,p=1,C=1,q=2,m=1;");
  for (;;) {
    const std::size_t end = rest.find("\x1b\\");
    ASSERT_NE(end, std::string::npos);
    EXPECT_LE(end, 4096u);
    data += rest.substr(0, end);
    rest.erase(0, end + 2);
    if (rest.empty()) break;
    EXPECT_EQ(end, 4096u);
    take(rest, rest.find("\x1b_G", 1) == std::string::npos ? "\x1b_Gm=0;" : "\x1b_Gm=1;");
  }
  EXPECT_EQ(bytes_of(darkroom::decode_base64(data, "")), pixels.rgb);
  EXPECT_NE(encode_kitty(noise(2, 2), {1, 1}, 1).find("q=2,m=0;"), std::string::npos);
}

TEST(EncodeITerm2, HoldsAPng) {
  const Pixels pixels = noise(16, 12);
  std::string rest = encode_iterm2(pixels, {44, 22});
  const std::string file = stored_png(pixels);
  take(rest, "\x1b]1337;File=inline=1;size=" + std::to_string(file.size()) +
                 ";width=44;height=22;preserveAspectRatio=0:");
  ASSERT_TRUE(rest.ends_with('\a'));
  rest.pop_back();
  EXPECT_EQ(darkroom::decode_base64(rest, ""), file);
}

// What a terminal makes of a sixel picture, on a canvas that is larger; -1 where nothing is drawn.
struct SixelCanvas {
  int width = 0, height = 0;  // as announced
  std::map<int, std::array<int, 3>> palette;
  std::map<std::pair<int, int>, int> colours;  // of (x, y)
  bool valid = false;
};

SixelCanvas decode_sixel(std::string text) {
  SixelCanvas canvas;
  std::smatch match;
  static const std::regex header("\x1bP0;1q\"1;1;([0-9]+);([0-9]+)");
  static const std::regex define("#([0-9]+);2;([0-9]+);([0-9]+);([0-9]+)");
  static const std::regex use("#([0-9]+)"), run("!([0-9]+)");
  const auto next_is = [&](const std::regex& form) {
    return std::regex_search(text, match, form, std::regex_constants::match_continuous);
  };
  if (!next_is(header)) return canvas;
  canvas.width = std::stoi(match[1]), canvas.height = std::stoi(match[2]);
  text = match.suffix();
  int x = 0, top = 0, colour = -1, count = 1;
  while (!text.empty() && text != "\x1b\\") {
    if (next_is(define)) {
      canvas.palette[std::stoi(match[1])] = {std::stoi(match[2]), std::stoi(match[3]), std::stoi(match[4])};
      text = match.suffix();
    } else if (next_is(use)) {
      colour = std::stoi(match[1]);
      text = match.suffix();
    } else if (next_is(run)) {
      count = std::stoi(match[1]);
      text = match.suffix();
    } else {
      const char c = text[0];
      text.erase(0, 1);
      if (c == '$') {
        x = 0;
      } else if (c == '-') {
        x = 0, top += 6;
      } else if (c >= '?' && c <= '~') {
        for (; count > 0; --count, ++x) {
          for (int bit = 0; bit < 6; ++bit) {
            if ((c - '?') >> bit & 1) canvas.colours[{x, top + bit}] = colour;
          }
        }
        count = 1;
      } else {
        return canvas;
      }
    }
  }
  canvas.valid = text == "\x1b\\";
  return canvas;
}

TEST(EncodeSixel, DrawsEveryPixelOnceInAColourNearIt) {
  for (const auto& [width, height] : {std::pair{17, 13}, {6, 6}, {1, 1}}) {
    const SixelCanvas canvas = decode_sixel(encode_sixel(noise(width, height)));
    ASSERT_TRUE(canvas.valid);
    EXPECT_EQ(canvas.width, width);
    EXPECT_EQ(canvas.height, height);
    EXPECT_LE(canvas.palette.size(), 252u);
    EXPECT_EQ(canvas.colours.size(), static_cast<std::size_t>(width * height));
    for (const auto& [place, colour] : canvas.colours) {
      ASSERT_LT(place.first, width);
      ASSERT_LT(place.second, height);
      EXPECT_TRUE(canvas.palette.contains(colour)) << colour;
    }
  }
  // Over an area the dithered colours have the mean of the picture's.
  const Bytes colour = {10, 128, 250};
  const SixelCanvas canvas = decode_sixel(encode_sixel(flat(32, 24, colour)));
  ASSERT_TRUE(canvas.valid);
  for (std::size_t c = 0; c < 3; ++c) {
    double mean = 0;
    for (const auto& [place, entry] : canvas.colours)
      mean += canvas.palette.at(entry).at(c) * 2.55 / (32 * 24);
    EXPECT_NEAR(mean, colour[c], 4);
  }
}

TEST(DrawPicture, EndsBelowItsCells) {
  using enum PreviewProtocol;
  const Pixels pixels = noise(16, 8);
  const TerminalSize terminal{80, 24, 800, 480};  // cells of 10 × 20
  for (const PreviewProtocol protocol : {kKitty, kITerm2, kSixel}) {
    std::string drawn = draw_picture(pixels, {10, 3}, terminal, protocol, 5);
    take(drawn,
         "\r\n\r\n\r\n\x1b[3A\x1b"
         "7");
    ASSERT_TRUE(
        drawn.ends_with("\x1b"
                        "8\x1b[3B"));
    drawn.resize(drawn.size() - 6);
    if (protocol == kSixel) {
      const SixelCanvas canvas = decode_sixel(drawn);
      EXPECT_TRUE(canvas.valid);
      EXPECT_EQ(canvas.width, 100);
      EXPECT_EQ(canvas.height, 60);
    } else {
      EXPECT_EQ(drawn,
                protocol == kKitty ? encode_kitty(pixels, {10, 3}, 5) : encode_iterm2(pixels, {10, 3}));
    }
  }
  // Large latents are sent smaller where the terminal scales.
  const std::string sent = draw_picture(noise(1024, 768), {10, 3}, terminal, kKitty, 5);
  EXPECT_NE(sent.find("s=512,v=384"), std::string::npos);
}

}  // namespace
}  // namespace cli
