// Pictures as text for a terminal: kitty's graphics protocol, iTerm2's inline images, sixel, or half blocks
// in 24-bit colours. Only strings: nothing here looks at the terminal or writes to it.
//
// References: sw.kovidgoyal.net/kitty/graphics-protocol, iterm2.com/documentation-images.html,
// the VT330/VT340 programmer reference (sixel), ECMA-48 (cursor, colours), and the VT510 manual
// for DA1 and DECSC.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace cli {

// 8-bit RGB, rows from the top.
struct Pixels {
  int width = 0, height = 0;
  std::vector<uint8_t> rgb;
};

// Another size, by a triangle filter: bilinear where it grows, an average where it shrinks. Sizes from 1.
Pixels resized(const Pixels& pixels, int width, int height);

enum class PreviewProtocol : uint8_t { kKitty, kITerm2, kSixel, kHalfBlocks };

// The environment variables that tell terminals apart; "" where unset.
struct TerminalNames {
  std::string term = {}, term_program = {}, lc_terminal = {}, kitty_window_id = {}, tmux = {};
};

// What the terminal can show. `answer` is what it sends when asked for its attributes (DA1, "\x1b[?62;4c"),
// "" if nothing; 4 among them is sixel. tmux and screen pass on no other pictures, in any terminal.
PreviewProtocol choose_protocol(const TerminalNames& names, std::string_view answer);

struct TerminalSize {
  int columns = 80, rows = 24;
  int pixel_width = 0, pixel_height = 0;  // of all cells; 0: not known
};

struct Cells {
  int columns = 0, rows = 0;
};

// The place for a picture of width × height: its proportions, within the terminal less two rows, and at most
// 32 rows (sixel: and 600 pixels).
Cells fit_cells(int width, int height, const TerminalSize& terminal, PreviewProtocol protocol);

// Draws in the cells whose first the cursor is on, and leaves it in the first column below them. `id` is for
// kitty: drawing under the same one again replaces the picture.
std::string draw_picture(const Pixels& pixels, Cells cells, const TerminalSize& terminal,
                         PreviewProtocol protocol, uint32_t id);

// Two pixels to a cell: a picture of `columns` × 2 · `rows`.
std::string encode_half_blocks(const Pixels& pixels);
// Shown in `cells`, without moving the cursor.
std::string encode_kitty(const Pixels& pixels, Cells cells, uint32_t id);
std::string encode_iterm2(const Pixels& pixels, Cells cells);
// Pixel for pixel, in 252 colours with ordered dithering.
std::string encode_sixel(const Pixels& pixels);

std::string base64(std::string_view bytes);  // RFC 4648, padded
// A PNG file without compression.
std::string stored_png(const Pixels& pixels);

}  // namespace cli
