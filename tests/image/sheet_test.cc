#include "image/sheet.h"

#include <gtest/gtest.h>

#include "base/error.h"

namespace darkroom {
namespace {

SheetLayout square_pictures(int64_t pictures, int64_t columns = 0) {
  return make_sheet_layout(
      {.pictures = pictures, .columns = columns, .picture_width = 128, .picture_height = 128});
}

TEST(SheetLayout, SquarePicturesMakeNearlySquareSheets) {
  const std::pair<int, int> columns[] = {{1, 1}, {2, 2}, {3, 2},  {4, 2},  {5, 3},  {6, 3},    {7, 3},
                                         {8, 3}, {9, 3}, {10, 4}, {12, 4}, {24, 5}, {100, 10}, {1000, 32}};
  for (const auto& [pictures, expected] : columns) {
    const SheetLayout layout = square_pictures(pictures);
    EXPECT_EQ(layout.columns, expected) << pictures;
    EXPECT_GE(layout.columns * layout.rows, pictures);
    EXPECT_LT(layout.columns * (layout.rows - 1), pictures) << "a row would be empty";
  }
}

TEST(SheetLayout, TheShapeOfThePicturesCounts) {
  EXPECT_EQ(make_sheet_layout({.pictures = 6, .picture_width = 512, .picture_height = 64}).columns, 1);
  EXPECT_EQ(make_sheet_layout({.pictures = 6, .picture_width = 64, .picture_height = 512}).columns, 6);
  EXPECT_EQ(make_sheet_layout({.pictures = 8, .picture_width = 128, .picture_height = 256}).columns, 4);
}

TEST(SheetLayout, GivenColumnsAreTakenUpToTheNumberOfPictures) {
  const SheetLayout layout = square_pictures(8, 5);
  EXPECT_EQ(layout.columns, 5);
  EXPECT_EQ(layout.rows, 2);
  EXPECT_EQ(layout.width, 5 * 128 + 4 * 8);
  EXPECT_EQ(layout.height, 2 * 128 + 8);
  EXPECT_EQ(square_pictures(3, 7).columns, 3);
}

TEST(SheetLayout, AbsurdSizesAreRefusedWithTheirNumbers) {
  require_sheet_fits(make_sheet_layout({.pictures = 4, .picture_width = 4088, .picture_height = 4088}));
  const auto message = [](const SheetOptions& options) -> std::string {
    try {
      require_sheet_fits(make_sheet_layout(options));
      return "";
    } catch (const Error& error) {
      EXPECT_EQ(error.code(), ErrorCode::kUsage);
      return error.what();
    }
  };
  EXPECT_NE(message({.pictures = 1000, .picture_width = 1024, .picture_height = 1024}).find("33016x33016"),
            std::string::npos);
  EXPECT_NE(message({.pictures = 4, .picture_width = 4096, .picture_height = 4096}), "")
      << "8200 * 8200 > 2^26";
  EXPECT_NE(message({.pictures = 1000, .columns = 1, .picture_width = 16, .picture_height = 16}), "");
  const int64_t most = 1 << 20;
  EXPECT_NE(message({.pictures = most, .picture_width = most, .picture_height = most}), "");
}

Image flat(int width, int height, uint8_t level) {
  return {width, height, std::vector<uint8_t>(static_cast<std::size_t>(width * height * 3), level)};
}

TEST(Sheet, PicturesStandRowByRowWithGuttersBetween) {
  Sheet sheet(make_sheet_layout({.pictures = 3, .columns = 2, .picture_width = 2, .picture_height = 1}));
  for (const int index : {2, 0, 1}) sheet.place(index, flat(2, 1, static_cast<uint8_t>(10 + index)));
  const Image image = sheet.take();
  ASSERT_EQ(image.width, 12);
  ASSERT_EQ(image.height, 10);
  for (int y = 0; y < 10; ++y) {
    for (int x = 0; x < 12; ++x) {
      const int expected = y == 0 && x < 2 ? 10 : y == 0 && x >= 10 ? 11 : y == 9 && x < 2 ? 12 : 64;
      for (int c = 0; c < 3; ++c) {
        EXPECT_EQ(image.rgb[static_cast<std::size_t>((y * 12 + x) * 3 + c)], expected) << x << " " << y;
      }
    }
  }
}

TEST(Sheet, OnePictureIsThatPicture) {
  Image picture = flat(4, 3, 7);
  picture.rgb[5] = 200;
  Sheet sheet(make_sheet_layout({.pictures = 1, .picture_width = 4, .picture_height = 3}));
  sheet.place(0, picture);
  const Image image = sheet.take();
  EXPECT_EQ(image.width, 4);
  EXPECT_EQ(image.rgb, picture.rgb);
}

TEST(Sheet, RefusesWhatHasNoPlace) {
  Sheet sheet(make_sheet_layout({.pictures = 2, .picture_width = 4, .picture_height = 3}));
  EXPECT_THROW(sheet.place(0, flat(3, 4, 0)), Error);
  EXPECT_THROW(sheet.place(2, flat(4, 3, 0)), Error);
  EXPECT_THROW(sheet.place(-1, flat(4, 3, 0)), Error);
}

}  // namespace
}  // namespace darkroom
