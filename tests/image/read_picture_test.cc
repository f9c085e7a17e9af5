#include "image/read_picture.h"

#include <gtest/gtest.h>

#include <cmath>

#include "base/error.h"
#include "image/pictures.h"

namespace darkroom {
namespace {

// The message of what decode_picture() refuses.
std::string refusal(const std::string& file) {
  try {
    decode_picture(as_file(file), "p");
  } catch (const Error& error) {
    EXPECT_EQ(error.code(), ErrorCode::kFailure);
    return error.what();
  }
  return "";
}

void expect_close(const Image& a, const Image& b, int most) {
  ASSERT_EQ(a.width, b.width);
  ASSERT_EQ(a.height, b.height);
  for (std::size_t i = 0; i < a.rgb.size(); ++i) {
    ASSERT_LE(std::abs(int{a.rgb[i]} - int{b.rgb[i]}), most) << i;
  }
}

TEST(ReadPicture, OpensByContent) {
  const Image image = gradient(33, 17);
  EXPECT_EQ(decode_picture(encode_png(image, {}), "p").rgb, image.rgb);
  EXPECT_EQ(decode_picture(as_file(webp_file(image)), "p").rgb, image.rgb);
  expect_close(decode_picture(as_file(jpeg_file(image)), "p"), image, 24);
  expect_close(decode_picture(as_file(jpeg_file(image, "", {.progressive = true})), "p"), image, 24);
}

TEST(ReadPicture, GreyJpegHasThreeEqualValues) {
  const Image image = decode_picture(as_file(jpeg_file(gradient(16, 16), "", {.gray = true})), "p");
  ASSERT_EQ(image.rgb.size(), 16u * 16 * 3);
  for (std::size_t i = 0; i < image.rgb.size(); i += 3) {
    ASSERT_EQ(image.rgb[i], image.rgb[i + 1]);
    ASSERT_EQ(image.rgb[i], image.rgb[i + 2]);
  }
}

// 3 x 2 pixels, lettered abc / def: what Pillow's exif_transpose makes of each orientation.
TEST(ReadPicture, TurnsAsEveryOrientationSays) {
  const std::vector<std::pair<int, std::string>> upright = {{1, "abc def"},  {2, "cba fed"},  {3, "fed cba"},
                                                            {4, "def abc"},  {5, "ad be cf"}, {6, "da eb fc"},
                                                            {7, "fc eb da"}, {8, "cf be ad"}};
  Image stored{3, 2, {}};
  for (const char letter : std::string("abcdef"))
    stored.rgb.insert(stored.rgb.end(), 3, static_cast<uint8_t>(letter));
  const auto letters = [](const Image& image) {
    std::string out;
    for (int i = 0; i < image.width * image.height; ++i) {
      if (i > 0 && i % image.width == 0) out += ' ';
      out += static_cast<char>(image.rgb[static_cast<std::size_t>(i) * 3]);
    }
    return out;
  };
  for (const auto& [orientation, expected] : upright) {
    EXPECT_EQ(letters(turned(stored, orientation)), expected) << orientation;
    for (const bool big_endian : {false, true}) {
      const std::string block = exif_block({.big_endian = big_endian, .orientation = orientation});
      std::string png = as_text(encode_png(stored, {}));
      png.insert(png.size() - 12, png_chunk("eXIf", block));  // after the pixels, as some write it
      EXPECT_EQ(letters(decode_picture(as_file(png), "p")), expected) << orientation;
      EXPECT_EQ(letters(decode_picture(as_file(webp_file(stored, riff_chunk("EXIF", block))), "p")),
                expected);
      const Image jpeg = decode_picture(as_file(jpeg_file(gradient(24, 16), exif_segment(block))), "p");
      expect_close(jpeg, turned(decode_picture(as_file(jpeg_file(gradient(24, 16))), "p"), orientation), 0);
    }
  }
  for (const int other : {0, 9, -1, 100000}) EXPECT_EQ(letters(turned(stored, other)), "abc def");
}

TEST(ReadPicture, OrientationOfXmpAndOfImageMagick) {
  const std::string xmp = "XML:com.adobe.xmp" + std::string(5, '\0') + "<x tiff:Orientation=\"6\"/>";
  std::string png = as_text(encode_png(gradient(3, 2), {}));
  std::string with_xmp = png, with_profile = png;
  with_xmp.insert(33, png_chunk("iTXt", xmp));
  EXPECT_EQ(decode_picture(as_file(with_xmp), "p").width, 2);
  std::string hex;
  for (const char c : exif_block({.orientation = 8})) hex += fmt::format("{:02x}", static_cast<uint8_t>(c));
  with_profile.insert(
      33, png_text("Raw profile type exif", "\nexif\n  26\n" + hex.substr(0, 20) + "\n" + hex.substr(20)));
  EXPECT_EQ(decode_picture(as_file(with_profile), "p").width, 2);
}

// A block of EXIF that is damaged says nothing; the picture is read as it is stored.
TEST(ReadPicture, DamagedExifTurnsNothing) {
  const std::string block = exif_block({.orientation = 6});
  for (std::size_t size = 0; size < block.size() - 8; ++size) {
    const Image image =
        decode_picture(as_file(webp_file(gradient(3, 2), riff_chunk("EXIF", block.substr(0, size)))), "p");
    EXPECT_EQ(image.width, size < 20 ? 3 : image.width) << size;
  }
}

TEST(ReadPicture, EveryCutOffFileIsRefusedInOneLine) {
  const Image image = gradient(40, 24);
  const std::string jpeg = jpeg_file(image), webp = webp_file(image);
  const std::string progressive = jpeg_file(image, "", {.progressive = true});
  for (const std::string* file : {&jpeg, &webp, &progressive}) {
    for (std::size_t size = 0; size + 3 < file->size(); ++size) {
      const std::string message = refusal(file->substr(0, size));
      ASSERT_EQ(message.find("p: "), 0u) << size;
      ASSERT_EQ(message.find('\n'), std::string::npos) << message;
    }
  }
}

TEST(ReadPicture, FlippedBytesAreReadOrRefused) {
  const Image image = gradient(24, 24);
  for (const std::string& file : {jpeg_file(image, exif_segment(exif_block({.orientation = 6}))),
                                  webp_file(image), jpeg_file(image, "", {.progressive = true})}) {
    for (std::size_t i = 0; i < file.size(); ++i) {
      for (const char flip : {'\x01', '\x80', '\xFF'}) {
        std::string broken = file;
        broken[i] = static_cast<char>(broken[i] ^ flip);
        try {
          const Image read = decode_picture(as_file(broken), "p");
          ASSERT_EQ(read.rgb.size(),
                    static_cast<std::size_t>(read.width) * static_cast<std::size_t>(read.height) * 3);
        } catch (const Error&) {
        }
      }
    }
  }
}

TEST(ReadPicture, RefusesWhatIsTooLargeBeforeItTakesMemory) {
  std::string jpeg = jpeg_file(gradient(16, 16));
  const std::size_t frame = jpeg.find("\xFF\xC0");
  jpeg.replace(frame + 5, 4, "\x3F\xFF\x3F\xFF");  // 16383 x 16383
  EXPECT_NE(refusal(jpeg).find("a JPEG of 16383 x 16383 pixels, at most"), std::string::npos)
      << refusal(jpeg);
  jpeg.replace(frame + 5, 4, std::string("\x1F\x40\x1F\x40"));  // 8000 x 8000
  EXPECT_NE(refusal(jpeg).find("cannot hold 8000 x 8000 pixels"), std::string::npos) << refusal(jpeg);
  const std::string webp = "RIFF" + number(30, 4, false) + "WEBP" +
                           riff_chunk("VP8L", std::string("\x2F\xFF\xFF\xFF\x0F\0\0\0\0\0", 10));
  EXPECT_NE(refusal(webp).find("16384 x 16384"), std::string::npos) << refusal(webp);
}

TEST(ReadPicture, NamesOtherKinds) {
  EXPECT_NE(refusal("GIF89a..........................").find("a GIF picture"), std::string::npos);
  EXPECT_NE(refusal(std::string("II*\0............", 16)).find("a TIFF picture"), std::string::npos);
  EXPECT_NE(refusal(std::string("\0\0\0\x20"
                                "ftypavif........",
                                20))
                .find("an AVIF picture"),
            std::string::npos);
  EXPECT_NE(refusal("hello").find("not a picture"), std::string::npos);
  EXPECT_NE(refusal("BM, a letter to all of you").find("not a picture"), std::string::npos);
}

}  // namespace
}  // namespace darkroom
