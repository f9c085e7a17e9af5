#include "text/unicode.h"

#include <gtest/gtest.h>

#include <string>

#include "base/utf8.h"

namespace darkroom {
namespace {

std::string lower(std::string_view text) {
  std::u32string out;
  for (const char32_t code : to_code_points(text)) append_lower(out, code);
  return to_utf8(out);
}

std::string composed(std::string_view text) { return to_utf8(nfc(to_code_points(text))); }

std::string clusters(std::string_view text) {
  std::string out;
  ClusterFinder finder;
  for (const char32_t code : to_code_points(text)) {
    if (finder.starts_cluster(code) && !out.empty()) out += '|';
    append_utf8(out, code);
  }
  return out;
}

TEST(Unicode, LowersEachCodePointByItself) {
  EXPECT_EQ(lower("A\u00c4\u0130\u1e9e I"), "a\u00e4i\u0307\u00df i");
  EXPECT_EQ(lower("\u03a3\u0391\u03a3"), "\u03c3\u03b1\u03c3");  // no final sigma
  EXPECT_EQ(lower("\u00df\ufb01\u01c5"), "\u00df\ufb01\u01c6");
  EXPECT_EQ(lower("\U00010D50\U00010D65\u1c89\ua7cb"), "\U00010D70\U00010D85\u1c8a\u0264");  // Unicode 16
}

TEST(Unicode, Composes) {
  EXPECT_EQ(composed("e\u0301"), "\u00e9");
  EXPECT_EQ(composed("q\u0307\u0323"), "q\u0323\u0307");  // marks in order
  EXPECT_EQ(composed("\u1100\u1161\u11a8"), "\uac01");    // Hangul
  EXPECT_EQ(composed("\uac00\u11a7"), "\uac00\u11a7");    // no tail
  EXPECT_EQ(composed("\u212b\u2126"), "\u00c5\u03a9");    // singletons
  EXPECT_EQ(composed("\u0958"), "\u0915\u093c");          // excluded from composition
  EXPECT_EQ(composed("\u0301e"), "\u0301e");
  EXPECT_EQ(composed("a\u0315\u0300"), "\u00e0\u0315");
  EXPECT_EQ(composed("\U00011935\U00011930"), "\U00011935\U00011930");  // newer than the reference's Unicode
}

TEST(Unicode, ComposesLongRunsOfMarksInGoodTime) {
  std::u32string text = U"a";
  for (int i = 0; i < 100'000; ++i) text += i % 2 ? U'\u0316' : U'\u0300';
  EXPECT_EQ(nfc(text).size(), text.size() - 1);  // one mark composes; quadratic ordering would take minutes
}

TEST(Unicode, FindsClusters) {
  EXPECT_EQ(clusters("ae\u0301x"), "a|e\u0301|x");
  EXPECT_EQ(clusters("\r\n\n\u0301"), "\r\n|\n|\u0301");
  EXPECT_EQ(clusters("\u1100\u1161\u11a8\u1100"), "\u1100\u1161\u11a8|\u1100");
  EXPECT_EQ(clusters("\U0001F1E9\U0001F1EA\U0001F1EB"), "\U0001F1E9\U0001F1EA|\U0001F1EB");
  EXPECT_EQ(clusters("\U0001F468\u200d\U0001F469a"), "\U0001F468\u200d\U0001F469|a");
  EXPECT_EQ(clusters("a\u0897b"), "a\u0897|b");  // a mark since Unicode 16
}

TEST(Unicode, KnowsKinds) {
  for (const char32_t code : std::u32string(U"aZ\u00e9\u4e2d\u02b0\U00016100")) {
    EXPECT_TRUE(is_letter(code) && !is_number(code)) << static_cast<uint32_t>(code);
  }
  for (const char32_t code : std::u32string(U"0\u0665\u00bd\u2167\U0001CCF0")) {
    EXPECT_TRUE(is_number(code) && !is_letter(code)) << static_cast<uint32_t>(code);
  }
  for (const char32_t code : std::u32string(U" \t\n\u0085\u00a0\u2003\u3000")) {
    EXPECT_TRUE(is_space(code)) << static_cast<uint32_t>(code);
  }
  for (const uint32_t code : {0x200Bu, 0x1Cu, 0xFEFFu, 0x180Eu, 0x5Fu, 0u})
    EXPECT_FALSE(is_space(code)) << code;
  // A mark and a digit of Unicode 16, which the reference's patterns know; a mark of 17, which they do not.
  EXPECT_TRUE(is_word(0x897) && is_word(0x10D40) && !is_word(0x1ACF));
  EXPECT_TRUE(is_word('_') && is_word('7') && is_word(0x301) && is_word(0x24B6) && !is_word('-'));
}

}  // namespace
}  // namespace darkroom
