// Text for people, against the library's own ideas of it.
#include "text.h"

#include <gtest/gtest.h>

#include "base/printable.h"
#include "base/utf8.h"

namespace cli_test {
namespace {

std::string utf8(char32_t code) {
  std::string out;
  darkroom::append_utf8(out, code);
  return out;
}

// What the library never shows as it is, the program does not either. The library escapes all
// that is not ASCII.
TEST(CliText, InvisibleCharactersAreSpelledAsTheLibrarySpellsThem) {
  const std::pair<char32_t, char32_t> ranges[] = {
      {0x00, 0x1F},     {0x7F, 0x9F},      // C0, DEL, C1
      {0x61C, 0x61C},   {0x200E, 0x200F},  // text direction: marks,
      {0x202A, 0x202E}, {0x2066, 0x2069},  // embeddings and overrides, isolates
      {0xAD, 0xAD},     {0x200B, 0x200D},   {0x2060, 0x2064},   {0xFEFF, 0xFEFF},  // of no width
      {0x2028, 0x2029},                                                            // line ends
      {0xFFF9, 0xFFFB}, {0xE0001, 0xE0001}, {0xE0020, 0xE007F},                    // annotations, tags
      {0x115F, 0x1160}, {0x3164, 0x3164},   {0xE0100, 0xE01EF}};                   // blank letters, variants
  for (const auto& [first, last] : ranges) {
    for (char32_t code = first; code <= last; ++code) {
      EXPECT_EQ(cli::printable("a" + utf8(code) + "b"), darkroom::printable("a" + utf8(code) + "b"))
          << static_cast<uint32_t>(code);
    }
  }
}

TEST(CliText, VisibleTextStaysAsItIs) {
  for (const std::string text : {"caf\u00e9", "\u732b", "\u05d7\u05ea\u05d5\u05dc", "\u0642\u0637\u0629",
                                 "\U0001f431", "\u2764\ufe0f", "a\u00a0b", "e\u0301"})
    EXPECT_EQ(cli::printable(text), text);
}

// All texts of one and two bytes, and those of four that begin like a character.
TEST(CliText, Utf8IsWhatTheLibraryTakes) {
  const auto agree = [](const std::string& text) {
    EXPECT_EQ(!cli::first_invalid_utf8(text), darkroom::is_valid_utf8(text)) << darkroom::printable(text);
  };
  const char edges[] = {'\x00', '\x7f', '\x80', '\x8f', '\x90', '\x9f', '\xa0', '\xbf', '\xc0'};
  for (int a = 0; a < 256; ++a) {
    agree({static_cast<char>(a)});
    for (int b = 0; b < 256; ++b) {
      agree({static_cast<char>(a), static_cast<char>(b)});
      for (const char c : edges) {
        agree({static_cast<char>(a), static_cast<char>(b), c});
        if (a >= 0xE0) agree({static_cast<char>(a), static_cast<char>(b), c, '\x80'});
      }
    }
  }
}

TEST(CliText, OnlyWhatIsCloseIsProposed) {
  const std::vector<std::string> flags = {"--like", "--steps", "--seed", "--sheet", "--negative", "--width"};
  EXPECT_EQ(cli::closest("--size", flags), std::nullopt);
  EXPECT_EQ(cli::closest("--zebra", flags), std::nullopt);
  EXPECT_EQ(cli::closest("--lkie", flags), "--like");
  EXPECT_EQ(cli::closest("--step", flags), "--steps");
  EXPECT_EQ(cli::closest("--witdh", flags), "--width");
  EXPECT_EQ(cli::closest("--negative-prompt", flags), "--negative");
}

}  // namespace
}  // namespace cli_test
