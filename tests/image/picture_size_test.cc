#include "image/picture_size.h"

#include <gtest/gtest.h>

#include "base/error.h"
#include "base/temp_folder.h"
#include "image/pictures.h"

namespace darkroom {
namespace {

class PictureSizes : public testing::Test {
 protected:
  std::pair<int, int> size(const std::string& file) const {
    const PictureSize size = picture_size(folder_.write("picture", file));
    return {size.width, size.height};
  }
  std::string refusal(const std::string& file) const {
    try {
      size(file);
    } catch (const Error& error) {
      EXPECT_EQ(error.code(), ErrorCode::kFailure);
      return error.what();
    }
    return "";
  }
  TempFolder folder_;
};

// The pixels of png_file() are damaged, so none were read.
TEST_F(PictureSizes, NeedNoPixels) {
  EXPECT_EQ(size(png_file("", "", 333, 200)), std::pair(333, 200));
  const Image image = gradient(33, 17);
  EXPECT_EQ(size(jpeg_file(image)), std::pair(33, 17));
  EXPECT_EQ(size(webp_file(image)), std::pair(33, 17));
}

TEST_F(PictureSizes, AreThoseOfTheTurnedPicture) {
  for (int orientation = 1; orientation <= 8; ++orientation) {
    const std::string block = exif_block({.orientation = orientation});
    const auto expected = orientation >= 5 ? std::pair(200, 333) : std::pair(333, 200);
    EXPECT_EQ(size(png_file(png_chunk("eXIf", block), "", 333, 200)), expected) << orientation;
  }
}

TEST_F(PictureSizes, HaveTheLimitsOfPictures) {
  EXPECT_NE(refusal(png_file("", "", 16385, 8)).find("16385 x 8"), std::string::npos);
  EXPECT_NE(refusal(png_file("", "", 16384, 16384)).find("16384 x 16384"), std::string::npos);
  EXPECT_NE(refusal("no picture at all").find("picture"), std::string::npos);
  EXPECT_NE(refusal(png_file("").substr(0, 20)), "");
}

}  // namespace
}  // namespace darkroom
