// The embedding cache as a user meets it: where it is, what says that it was used, and what
// never stops a run.
#include "cli/program.h"
#include "image/png.h"

namespace cli_test {
namespace {

namespace fs = std::filesystem;

class CliCache : public ProgramTest {
 protected:
  // Demands success; returns what is on standard error.
  std::string draw(const Words& more, const std::map<std::string, std::string>& environment = {}) const {
    const Result result = run(small_picture(more), {.environment = environment});
    EXPECT_EQ(result.code, 0) << result.err;
    return result.err;
  }
  static bool cached(const std::string& err) { return err.find("text from the cache") != std::string::npos; }
  std::size_t entries(const char* folder_name) const {
    const fs::path path = folder() / folder_name;
    if (!fs::exists(path)) return 0;
    return static_cast<std::size_t>(std::distance(fs::directory_iterator(path), fs::directory_iterator()));
  }
};

TEST_F(CliCache, TheSecondRunSaysThatItWasUsed) {
  const Words flags = {"a", "-s", "1", "--embed-cache", "kept"};
  const std::string first = draw(flags), second = draw(flags);
  EXPECT_FALSE(cached(first)) << first;
  EXPECT_TRUE(cached(second)) << second;
  EXPECT_NE(second.find(" planned, from the cache\n"), std::string::npos) << second;
  EXPECT_EQ(entries("kept"), 1u);
  EXPECT_EQ(darkroom::read_png(folder() / "darkroom-1.png").rgb,
            darkroom::read_png(folder() / "darkroom-1-2.png").rgb);
  // One of two texts.
  const std::string partly = draw({"a", "--negative", "b", "--cfg", "2", "--embed-cache", "kept"});
  EXPECT_NE(partly.find("1 of 2 texts from the cache"), std::string::npos) << partly;
  EXPECT_FALSE(cached(partly)) << partly;
}

TEST_F(CliCache, TheFolderIsTheUsersUnlessOneIsGiven) {
  const std::string here = folder().path().string();
  const std::map<std::string, std::string> xdg = {{"XDG_CACHE_HOME", here + "/xdg"}},
                                           home = {{"XDG_CACHE_HOME", ""}, {"HOME", here + "/home"}},
                                           relative = {{"XDG_CACHE_HOME", "xdg2"}, {"HOME", here + "/home2"}},
                                           none = {{"XDG_CACHE_HOME", ""}, {"HOME", ""}},
                                           nowhere = {{"XDG_CACHE_HOME", ".cache"}, {"HOME", "home3"}},
                                           here_only = {{"XDG_CACHE_HOME", ""}, {"HOME", "."}};
  draw({"a"}, xdg);
  EXPECT_EQ(entries("xdg/darkroom/embeddings"), 1u);
  EXPECT_TRUE(cached(draw({"a"}, xdg)));
  draw({"a"}, home);
  EXPECT_EQ(entries("home/.cache/darkroom/embeddings"), 1u);
  draw({"a"}, relative);
  EXPECT_EQ(entries("home2/.cache/darkroom/embeddings"), 1u);
  EXPECT_EQ(entries("xdg2"), 0u);
  // A relative folder would be another one for each folder that the program is started in.
  const Words before = files();
  for (const auto& environment : {nowhere, here_only}) {
    EXPECT_FALSE(cached(draw({"a", "-o", "a.png"}, environment)));
    EXPECT_FALSE(cached(draw({"a", "-o", "a.png", "--overwrite"}, environment)));
  }
  EXPECT_EQ(files().size(), before.size() + 2);  // the pictures
  for (const auto& environment : {xdg, none})
    EXPECT_FALSE(cached(draw({"b", "--no-embed-cache"}, environment)));
  EXPECT_EQ(draw({"b"}, none).find("note"), std::string::npos);
  EXPECT_EQ(entries("xdg/darkroom/embeddings"), 1u);
}

TEST_F(CliCache, ItNeverStopsARun) {
  folder().write("file", "x");
  const std::string impossible = draw({"a", "--embed-cache", "file"});
  EXPECT_NE(impossible.find("note: a result is not cached: file/"), std::string::npos) << impossible;
  const Words flags = {"a", "-s", "1", "--embed-cache", "kept"};
  draw(flags);
  for (const auto& entry : fs::directory_iterator(folder() / "kept")) fs::resize_file(entry.path(), 20);
  const std::string damaged = draw(flags);
  EXPECT_NE(damaged.find("a cached result is damaged; it is deleted and computed again"), std::string::npos)
      << damaged;
  EXPECT_TRUE(cached(draw(flags)));
  const std::string small = draw({"b", "--embed-cache", "kept", "--embed-cache-size", "900"});
  EXPECT_NE(small.find("is not cached: the cache is limited to 900"), std::string::npos) << small;
}

TEST_F(CliCache, WrongFlagsAreRefused) {
  expect_refusal(small_picture({"a", "--embed-cache", "x", "--no-embed-cache"}), 2, "leave one out");
  expect_refusal(small_picture({"a", "--embed-cache-size", "some"}), 2, "embed-cache-size is 'some'");
}

}  // namespace
}  // namespace cli_test
