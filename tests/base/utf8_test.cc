#include "base/utf8.h"

#include <gtest/gtest.h>

#include <string>

namespace darkroom {
namespace {

TEST(Utf8, ReplacesEachBadByte) {
  const std::string bad = "\uFFFD";
  EXPECT_EQ(repaired_utf8("a\xff\xfe b"), "a" + bad + bad + " b");
  EXPECT_EQ(repaired_utf8("\xc3"), bad);                                // cut
  EXPECT_EQ(repaired_utf8("\xe2\x82 x"), bad + bad + " x");             // cut
  EXPECT_EQ(repaired_utf8("\xc0\xaf"), bad + bad);                      // overlong
  EXPECT_EQ(repaired_utf8("\xe0\x80\xaf"), bad + bad + bad);            // overlong
  EXPECT_EQ(repaired_utf8("\xf0\x80\x80\xaf"), bad + bad + bad + bad);  // overlong
  EXPECT_EQ(repaired_utf8("\xed\xa0\x80"), bad + bad + bad);            // a surrogate
  EXPECT_EQ(repaired_utf8("\xf4\x90\x80\x80"), bad + bad + bad + bad);  // above U+10FFFF
  EXPECT_EQ(repaired_utf8("\xf5\x80\x80\x80\xf8"), bad + bad + bad + bad + bad);
  const std::string good = "a\u00e9\u20ac\U0001F600\U0010FFFF";
  EXPECT_EQ(repaired_utf8(good), good);
  EXPECT_EQ(repaired_utf8(std::string("a\0b", 3)), std::string("a\0b", 3));
  EXPECT_EQ(repaired_utf8(""), "");
}

TEST(Utf8, KnowsWhatIsValid) {
  for (const char* good : {"", "a", "\u00e9", "\u0080\u07ff\u0800\ue000\uffff\U00010000\U0010FFFF"}) {
    EXPECT_TRUE(is_valid_utf8(good)) << good;
  }
  for (const char* bad :
       {"\x80", "a\xc3", "\xc3(", "\xc1\xbf", "\xe0\x9f\xbf", "\xed\xa0\x80", "\xed\xbf\xbf",
        "\xf0\x8f\xbf\xbf", "\xf4\x90\x80\x80", "\xf5\x80\x80\x80", "\xff", "\xf0\x9f\x98"}) {
    EXPECT_FALSE(is_valid_utf8(bad));
  }
}

// Every code point there is, through the encoder, the validity check and the decoder.
TEST(Utf8, GoesThereAndBack) {
  std::u32string all;
  for (char32_t code = 0; code <= 0x10FFFF; ++code) {
    if (code < 0xD800 || code > 0xDFFF) all += code;
  }
  const std::string text = to_utf8(all);
  EXPECT_EQ(text.size(), 0x80u + 2 * 0x780u + 3 * (0xF800u - 0x800u) + 4 * 0x100000u);
  EXPECT_TRUE(is_valid_utf8(text));
  EXPECT_TRUE(to_code_points(text) == all);
  EXPECT_TRUE(repaired_utf8(text) == text);
}

}  // namespace
}  // namespace darkroom
