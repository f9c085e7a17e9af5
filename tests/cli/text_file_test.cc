// Prompts and schedules from files: byte order marks, other encodings, limits.
#include <nlohmann/json.hpp>

#include "cli/program.h"

namespace cli_test {
namespace {

const std::string kMark = "\xef\xbb\xbf";

class CliTextFile : public ProgramTest {
 protected:
  // The recipe of a picture that is drawn with these words.
  nlohmann::json recipe(const Words& more, const RunOptions& options = {}) const {
    Words words = small_picture({"-s", "1", "-o", "a.png", "--overwrite"});
    words.insert(words.end(), more.begin(), more.end());
    const Result result = run(words, options);
    EXPECT_EQ(result.code, 0) << result.err;
    return nlohmann::json::parse(run({"info", "a.png", "--json"}).out).at("recipe");
  }
};

TEST_F(CliTextFile, OneByteOrderMarkIsDropped) {
  folder().write("p.txt", kMark + "a red circle\r\n");
  EXPECT_EQ(recipe({"--prompt-file", "p.txt"}).at("prompt"), "a red circle");
  EXPECT_EQ(recipe({"--prompt-file", "-"}, {.input = kMark + "a red circle"}).at("prompt"), "a red circle");
  EXPECT_EQ(recipe({"--prompt-file", "-"}, {.input = kMark + kMark + "a"}).at("prompt"), kMark + "a");
  EXPECT_EQ(recipe({"--prompt-file", "-"}, {.input = "a " + kMark + "b"}).at("prompt"), "a " + kMark + "b");
  EXPECT_EQ(recipe({"--prompt-file", "-"}, {.input = kMark}).at("prompt"), "");
  EXPECT_EQ(recipe({"--prompt-file", "-"}, {.input = kMark + "\n"}).at("prompt"), "");
  // What is on the command line is meant.
  EXPECT_EQ(recipe({"-p", kMark + "a"}).at("prompt"), kMark + "a");
  folder().write("s.txt", kMark + "1\n4.5\n1\n");
  EXPECT_EQ(
      recipe({"a", "--negative", "b", "--cfg", "2", "--guidance-schedule", "s.txt"}).at("guidance_schedule"),
      "1,4.5,1");
}

TEST_F(CliTextFile, OtherEncodingsAreNamed) {
  for (const std::string& text :
       {std::string("\xff\xfe"
                    "a\0",
                    4),
        std::string("\xfe\xff\0a", 4), std::string("\xff\xfe\0\0a\0\0\0", 8), std::string("a\0b\0", 4),
        std::string("\0a\0b", 4), std::string("a\0\0\0", 4)}) {
    folder().write("p.txt", text);
    expect_refusal({"generate", "--dummy", "tiny", "--prompt-file", "p.txt"}, 2,
                   "--prompt-file p.txt: this is UTF-16 text; save it as UTF-8");
    expect_refusal({"plan", "--dummy", "tiny", "--guidance-schedule", "p.txt"}, 2, "this is UTF-16 text");
  }
}

TEST_F(CliTextFile, TheLimitCountsThePromptAlone) {
  const std::string longest(1 << 20, 'a');
  folder().write("p.txt", kMark + longest + "\r\n");
  EXPECT_EQ(recipe({"--prompt-file", "p.txt"}).at("prompt").get<std::string>().size(), longest.size());
  folder().write("p.txt", longest + "a");
  expect_refusal({"generate", "--dummy", "tiny", "--prompt-file", "p.txt"}, 2, "more than 1048576 bytes");
  expect_refusal({"generate", "--dummy", "tiny", "--prompt-file", "."}, 2, "--prompt-file .: Is a directory");
}

}  // namespace
}  // namespace cli_test
