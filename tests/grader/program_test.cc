// The program `grade`, run as a user runs it.
#include "cli/program.h"

#include <nlohmann/json.hpp>

#include "grader/scene.h"
#include "image/png.h"
#include "image/recipe.h"

namespace darkroom::grader {
namespace {

using nlohmann::json;

class GradeProgram : public cli_test::ProgramTest {
 protected:
  json graded(const cli_test::Words& words) const {
    const cli_test::Result result = run(words);
    EXPECT_EQ(result.code, 0) << result.err;
    EXPECT_EQ(result.err, "");
    return json::parse(result.out, nullptr, false);
  }
  void refused(const cli_test::Words& words, int code, const std::string& part) const {
    const cli_test::Result result = run(words);
    EXPECT_EQ(result.code, code) << result.err;
    EXPECT_EQ(result.out, "");
    EXPECT_TRUE(result.err.starts_with("grade: ")) << result.err;
    EXPECT_EQ(std::ranges::count(result.err, '\n'), 1) << result.err;
    EXPECT_NE(result.err.find(part), std::string::npos) << result.err << "lacks: " << part;
  }
};

TEST_F(GradeProgram, OnePicture) {
  const json grade =
      graded({"--caption", "A small pink heart at the top on a white background.", kFixtures + "00.png"});
  EXPECT_EQ(grade["holds"], false);
  EXPECT_EQ(grade["claims"].size(), 6u);
  EXPECT_EQ(grade["claims"][4],
            json::parse(R"({"claim": "size", "shape": 1, "expected": "small", "seen": "large",
                                                "holds": false})"));
  EXPECT_EQ(grade["background"]["colour"], "white");
  EXPECT_EQ(grade["shapes"][0]["kind"], "heart");
  EXPECT_EQ(grade["shapes"][0]["rgb"], json({255, 150, 190}));
  EXPECT_GT(grade["shapes"][0]["confidence"], 0.3);
  EXPECT_LT(grade["shapes"][0]["outline_error"], 0.02);
  EXPECT_EQ(grade["noise"]["pieces"], 0);
}

TEST_F(GradeProgram, TheRecipeTellsTheCaption) {
  Recipe recipe;
  recipe.prompt = "a pink heart on a white background";
  const Image image = read_png(kFixtures + "00.png");
  write_png(image, folder() / "own.png", {.texts = recipe_texts(recipe)});
  EXPECT_EQ(graded({"own.png"})["holds"], true);
  const json both = graded({"own.png", "--", "./own.png"});
  EXPECT_EQ(both["pictures"].size(), 2u);
  EXPECT_EQ(both["summary"]["single"]["right"], 2);
  refused({kFixtures + "00.png"}, 1, "00.png");
  recipe.prompt = "a cat";
  write_png(image, folder() / "cat.png", {.texts = recipe_texts(recipe)});
  refused({"cat.png"}, 2, "'cat', expected a colour");
}

TEST_F(GradeProgram, AList) {
  const json all = graded({"--list", kFixtures + "captions.json", kFixtures});
  EXPECT_EQ(all["pictures"].size(), 60u);
  EXPECT_EQ(all["summary"]["all_right"], json::parse(R"({"of": 60, "right": 60, "share": 1.0})"));
  EXPECT_EQ(all["summary"]["single"]["of"].get<int>() + all["summary"]["pair"]["of"].get<int>(), 60);
  EXPECT_EQ(all["summary"]["claims"]["relation"]["of"], all["summary"]["pair"]["of"]);
  EXPECT_EQ(all["summary"]["confusion"]["kind"]["heart"].size(), 1u);

  folder().write("wrong.json", R"({"00.png": "a large red heart on a white background"})");
  const json wrong = graded({"--list", "wrong.json", kFixtures});
  EXPECT_EQ(wrong["summary"]["all_right"]["share"], 0.0);
  EXPECT_EQ(wrong["summary"]["pair"]["share"], nullptr);
  EXPECT_EQ(wrong["summary"]["confusion"]["colour"], json::parse(R"({"red": {"pink": 1}})"));
}

TEST_F(GradeProgram, WrongOptions) {
  EXPECT_EQ(run({"--help"}).code, 0);
  refused({}, 2, "there is no picture");
  refused({"--captions", "x", "y.png"}, 2, "there is no option '--captions'");
  refused({"y.png", "--caption"}, 2, "--caption needs a value");
  refused({"--list", "a.json"}, 2, "--list needs one folder");
  refused({"--list", "a.json", "--caption", "x", "b"}, 2, "leave --caption out");
}

TEST_F(GradeProgram, WrongFiles) {
  const std::string caption = "a red circle on a white background";
  refused({"--caption", caption, "absent.png"}, 1, "absent.png");
  folder().write("broken.png", "\x89PNG\r\n\x1a\nrubbish");
  refused({"--caption", caption, "broken.png"}, 1, "broken.png: not a readable PNG");
  folder().write("not.json", "{");
  refused({"--list", "not.json", "."}, 1, "not.json");
  folder().write("numbers.json", R"({"a.png": 1})");
  refused({"--list", "numbers.json", "."}, 1, "the caption of 'a.png' is not a text");
  folder().write("empty.json", "{}");
  refused({"--list", "empty.json", "."}, 1, "no picture in the list");
  folder().write("array.json", "[]");
  refused({"--list", "array.json", "."}, 1, "expected an object");
  refused({"--caption", "a \n\x1b[31m", kFixtures + "00.png"}, 2, "\\x1b");
  write_png(blank(16, 16, {}), folder() / "tiny.png");
  refused({"--caption", caption, "tiny.png"}, 1, "16 x 16 pixels");
  EXPECT_EQ(run({"--caption", caption, kFixtures + "00.png"}, {.standard_output = "/dev/full"}).code, 5);
}

}  // namespace
}  // namespace darkroom::grader
