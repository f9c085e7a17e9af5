#include "image/exif.h"

#include <gtest/gtest.h>

#include "base/utf8.h"
#include "image/pictures.h"

namespace darkroom {
namespace {

TEST(Exif, UserCommentInEveryCode) {
  EXPECT_EQ(decode_user_comment(unicode_comment("a cat", true), false), "a cat") << "zeros tell the order";
  EXPECT_EQ(decode_user_comment(unicode_comment("a cat", false), true), "a cat");
  EXPECT_EQ(decode_user_comment(std::string("UNICODE\0", 8) + "\xFF\xFE" + std::string("a\0", 2), true), "a");
  EXPECT_EQ(decode_user_comment(std::string("UNICODE\0", 8) + "\xFE\xFF" + std::string("\0a", 2), false),
            "a");
  EXPECT_EQ(decode_user_comment(std::string("UNICODE\0\xD8\x3D\xDC\x31\0 ", 14), true), "\U0001F431 ");
  EXPECT_EQ(decode_user_comment(std::string("UNICODE\0\xD8\x3D\0 ", 12), true), "\uFFFD ") << "half a pair";
  EXPECT_EQ(decode_user_comment(std::string("UNICODE\0", 8) + "caf\u00E9", true), "caf\u00E9")
      << "UTF-8, wrongly named";
  EXPECT_EQ(decode_user_comment(std::string("ASCII\0\0\0", 8) + "a cat", true), "a cat");
  EXPECT_EQ(decode_user_comment(std::string(8, '\0') + "a cat" + std::string(3, '\0'), true), "a cat");
  EXPECT_EQ(decode_user_comment("{\"prompt\": 1}", true), "{\"prompt\": 1}") << "without a code";
  EXPECT_EQ(decode_user_comment("", true), "");
}

TEST(Exif, OrientationOutOfRangeIsNone) {
  EXPECT_EQ(read_exif(exif_block({.orientation = 6})).orientation, 6);
  EXPECT_FALSE(read_exif(exif_block({.orientation = 9})).orientation);
  EXPECT_FALSE(read_exif(exif_block({})).orientation);
}

TEST(Exif, DamagedBlocksSayLess) {
  const std::string block = exif_block(
      {.orientation = 6, .comment = unicode_comment("a", true), .description = "a long description"});
  for (std::size_t size = 0; size < block.size(); ++size) read_exif(std::string(block.substr(0, size)));
  for (std::size_t i = 0; i < block.size(); ++i) {
    for (int value = 0; value < 256; ++value) {
      std::string broken = block;
      broken[i] = static_cast<char>(value);
      for (const auto& [key, text] : read_exif(broken).texts) ASSERT_TRUE(is_valid_utf8(text)) << key;
    }
  }
}

TEST(Exif, XmpUserComment) {
  EXPECT_EQ(
      xmp_user_comment("<exif:UserComment><rdf:Alt><rdf:li xml:lang=\"x-default\">{&quot;c&quot;: &quot;a "
                       "&amp; b&quot;}</rdf:li></rdf:Alt></exif:UserComment>"),
      "{\"c\": \"a & b\"}");
  EXPECT_EQ(xmp_user_comment("<exif:UserComment>"), "");
  EXPECT_EQ(xmp_user_comment("<exif:UserComment"), "");
  EXPECT_EQ(xmp_orientation("<tiff:Orientation>3</tiff:Orientation>"), 3);
  EXPECT_FALSE(xmp_orientation("tiff:Orientation=\"9\""));
  EXPECT_FALSE(xmp_orientation("tiff:Orientation"));
}

}  // namespace
}  // namespace darkroom
