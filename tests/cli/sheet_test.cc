// `darkroom generate --sheet`: many pictures, one file, whole or not at all.
#include <signal.h>

#include <nlohmann/json.hpp>
#include <thread>

#include "cli/program.h"
#include "image/png.h"

namespace cli_test {
namespace {

using darkroom::Image;
using darkroom::read_png;
using nlohmann::json;

class CliSheet : public ProgramTest {
 protected:
  // Demands success; returns what is on standard output.
  std::string draw(const Words& more) const {
    const Result result = run(small_picture(more));
    EXPECT_EQ(result.code, 0) << result.err;
    return result.out;
  }
  Image picture(const std::string& name) const { return read_png(folder() / name); }
};

// The part of a sheet where a 32x32 picture lies.
std::vector<uint8_t> cut(const Image& sheet, int column, int row) {
  std::vector<uint8_t> out;
  for (int y = row * 40; y < row * 40 + 32; ++y) {
    const auto begin = sheet.rgb.begin() + (y * sheet.width + column * 40) * 3;
    out.insert(out.end(), begin, begin + 32 * 3);
  }
  return out;
}

TEST_F(CliSheet, IsOneFileThatHoldsThePictures) {
  EXPECT_EQ(draw({"a", "-s", "5", "-n", "3", "--sheet"}), "darkroom-5-sheet.png\n");
  EXPECT_EQ(files(), Words{"darkroom-5-sheet.png"});
  draw({"a", "-s", "5", "-n", "3", "-o", "{index}"});
  const Image sheet = picture("darkroom-5-sheet.png");
  EXPECT_EQ(sheet.width, 72);
  EXPECT_EQ(sheet.height, 72);
  EXPECT_EQ(cut(sheet, 0, 0), picture("1.png").rgb);
  EXPECT_EQ(cut(sheet, 1, 0), picture("2.png").rgb);
  EXPECT_EQ(cut(sheet, 0, 1), picture("3.png").rgb);
  EXPECT_NE(picture("1.png").rgb, picture("3.png").rgb);
}

TEST_F(CliSheet, TheRecipeRepeatsTheWholeRun) {
  draw({"a", "-s", "18446744073709551615", "-n", "3", "--sheet", "--columns", "3", "-o", "a.png"});
  const json recipe = json::parse(run({"info", "a.png", "--json"}).out).at("recipe");
  EXPECT_EQ(recipe.at("seeds"), (json{18446744073709551615u, 0, 1}));
  EXPECT_EQ(recipe.at("pictures"), 3);
  EXPECT_EQ(recipe.at("columns"), 3);
  EXPECT_EQ(recipe.at("width"), 32);
  EXPECT_NE(run({"info", "a.png"}).out.find("a sheet of pictures, 112x32, with its recipe"),
            std::string::npos);
  const auto like = [&](const Words& more) {
    Words words = {"generate", "--dummy", "tiny", "--like", "a.png", "-o"};
    words.insert(words.end(), more.begin(), more.end());
    const Result result = run(words);
    EXPECT_EQ(result.code, 0) << result.err;
    EXPECT_EQ(result.err.find("note"), std::string::npos) << result.err;
  };
  like({"b.png"});
  EXPECT_EQ(picture("b.png").rgb, picture("a.png").rgb);
  EXPECT_EQ(darkroom::read_png_text(folder() / "b.png"), darkroom::read_png_text(folder() / "a.png"));
  // One of its pictures by itself.
  like({"c.png", "-n", "1", "-s", "0"});
  EXPECT_EQ(picture("c.png").rgb, cut(picture("a.png"), 1, 0));
  // Another number of pictures gets columns of its own.
  like({"d.png", "-n", "4"});
  EXPECT_EQ(picture("d.png").width, 72);
  like({"e.png", "--columns", "1"});
  EXPECT_EQ(picture("e.png").height, 112);
}

TEST_F(CliSheet, OfOnePictureIsThatPicture) {
  draw({"a", "-s", "5", "--sheet", "-o", "sheet.png"});
  draw({"a", "-s", "5", "-o", "picture.png"});
  EXPECT_EQ(picture("sheet.png").rgb, picture("picture.png").rgb);
  EXPECT_EQ(darkroom::read_png_text(folder() / "sheet.png"),
            darkroom::read_png_text(folder() / "picture.png"));
}

TEST_F(CliSheet, NamesFollowTheSameRules) {
  folder().write("a.png", "mine");
  EXPECT_EQ(
      draw({"a", "-s", "1", "-n", "2", "--sheet", "-o", "a.png", "--save-latents", "l", "--no-metadata"}),
      "a-2.png\n");
  EXPECT_EQ(files(), (Words{"a-2.png", "a.png", "l-2.safetensors", "l.safetensors"}));
  EXPECT_TRUE(darkroom::read_png_text(folder() / "a-2.png").empty());
}

TEST_F(CliSheet, ThatIsTooLargeIsRefusedBeforeAnythingIsDrawn) {
  expect_refusal({"generate", "--dummy", "tiny", "a", "-n", "1000", "--sheet", "-W", "1024", "-H", "1024"}, 2,
                 "33016x33016 pixels; at most 16384 on a side");
  EXPECT_EQ(files(), Words{});
}

// The first picture's latents show that the run is under way.
TEST_F(CliSheet, AnInterruptBetweenThePicturesLeavesNoSheet) {
  const pid_t child = start({"generate", "--dummy", "tiny", "a", "-n", "1000", "--sheet", "-W", "64", "-H",
                             "64", "-t", "1", "--save-latents", "l", "--steps", "1"});
  const std::filesystem::path first = folder() / "l.safetensors";
  for (int i = 0; i < 3000 && !std::filesystem::exists(first); ++i) {
    std::this_thread::sleep_for(std::chrono::milliseconds(10));
  }
  ASSERT_EQ(kill(child, SIGINT), 0);
  const Result result = finish(child);
  EXPECT_EQ(result.code, 130) << result.err;
  EXPECT_EQ(result.out, "");
  EXPECT_TRUE(std::filesystem::exists(first));
  for (const std::string& name : files()) EXPECT_TRUE(name.ends_with(".safetensors")) << name;
}

// At the start, and when the sheet is to be written.
TEST_F(CliSheet, AFailureHalfwayLeavesNoSheet) {
  folder().write("bad.safetensors", "nonsense");
  expect_refusal(small_picture({"a", "-n", "2", "-q", "--sheet", "--noise", "bad.safetensors"}), 3,
                 "bad.safetensors");
  // With ten digits instead of "{seed}" it is longer than any file's name may be.
  const std::string too_long = std::string(244, 'x') + "{seed}";
  expect_refusal(small_picture({"a", "-n", "2", "-q", "--sheet", "-s", "1234567890", "-o", too_long}), 5,
                 "xxx");
  EXPECT_EQ(files(), Words{"bad.safetensors"});
}

}  // namespace
}  // namespace cli_test
