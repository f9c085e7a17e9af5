// Pictures that an earlier version drew, one for each format of a recipe, are drawn again from their own
// recipes, to the byte. The reference backend, since its sums are the same on every processor.
#include <gtest/gtest.h>

#include <string>

#include "cli/program.h"
#include "image/png.h"
#include "image/recipe.h"

namespace {

using cli_test::Result;
using cli_test::Words;

const std::string kFolder = DARKROOM_SOURCE_DIR "/tests/api/recipes/";

class StoredRecipe : public cli_test::ProgramTest {
 protected:
  void expect_same_picture(int format, const Words& more = {}) {
    const std::string stored = kFolder + "format" + std::to_string(format) + ".png";
    const std::string text = darkroom::read_png_text(stored).at("darkroom");
    ASSERT_NE(text.find("\"format\":" + std::to_string(format)), std::string::npos) << text;
    Words words = {"generate",  "--like",           stored, "--dummy",  "tiny", "--backend",
                   "reference", "--no-embed-cache", "-o",   "again.png"};
    words.insert(words.end(), more.begin(), more.end());
    const Result result = run(words);
    ASSERT_EQ(result.code, 0) << result.err;
    const darkroom::Image before = darkroom::read_png(stored),
                          again = darkroom::read_png(folder() / "again.png");
    EXPECT_EQ(again.width, before.width);
    EXPECT_EQ(again.height, before.height);
    EXPECT_EQ(again.rgb, before.rgb);
  }
};

TEST_F(StoredRecipe, Format1DrawsTheSameBytes) { expect_same_picture(1); }

TEST_F(StoredRecipe, Format2WithSamplerAndGuidanceDrawsTheSameBytes) { expect_same_picture(2); }

TEST_F(StoredRecipe, Format3FromAPictureDrawsTheSameBytes) {
  expect_same_picture(3, {"--init", kFolder + "format1.png"});
}

}  // namespace
