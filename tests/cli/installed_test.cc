// Models that come with the program: found by name, their own defaults, the words that they know.
#include <nlohmann/json.hpp>

#include "cli/program.h"
#include "model_folder.h"

namespace cli_test {
namespace {

using nlohmann::json;

constexpr const char* kPinhole = R"({"width": 32, "height": 48, "steps": 2, "cfg": 2.0, "max_text_tokens": 24,
  "prompts": {"about": "coloured shapes", "grammar": ["a COLOUR SHAPE"], "words": ["a", "red", "star", "ring"],
  "examples": ["a red star"]}})";

class CliInstalled : public ProgramTest {
 protected:
  void SetUp() override {
    darkroom::make_model_folder(folder() / "assets/pinhole", kPinhole);
    darkroom::make_model_folder(folder() / "assets/pinhole/dev",
                                R"({"width": 48, "height": 32, "steps": 1})");
  }
  Result run_here(const Words& words) const { return run(words, here_); }
  // Demands success; the recipe of the one picture that it draws.
  json recipe_of(Words words) const {
    words.insert(words.begin(), "generate");
    const Result result = run_here(words);
    EXPECT_EQ(result.code, 0) << result.err;
    const Result info = run({"info", "--json", result.out.substr(0, result.out.find('\n'))});
    return json::parse(info.out).at("recipe");
  }

  const RunOptions here_ = {.environment = {{"DARKROOM_ASSETS", "assets"}}};
};

TEST_F(CliInstalled, WithoutAModelPinholeDrawsWithItsOwnSettings) {
  const Result result = run_here({"generate", "a red star", "-s", "1"});
  EXPECT_EQ(result.code, 0) << result.err;
  EXPECT_EQ(result.err.find("note"), std::string::npos) << result.err;
  const json recipe = recipe_of({"a red star"});
  EXPECT_EQ(recipe.at("model"), "pinhole");
  EXPECT_EQ(recipe.at("width"), 32);
  EXPECT_EQ(recipe.at("height"), 48);
  EXPECT_EQ(recipe.at("steps"), 2);
  EXPECT_EQ(recipe.at("cfg"), 2.0);
  EXPECT_EQ(recipe.at("max_text_tokens"), 24);
}

TEST_F(CliInstalled, FlagsAndRecipesWin) {
  const json off = recipe_of({"a", "--cfg", "1", "--steps", "1", "-W", "16", "-s", "3", "-o", "off.png"});
  EXPECT_EQ(off.at("cfg"), 1.0);
  EXPECT_EQ(off.at("steps"), 1);
  EXPECT_EQ(off.at("width"), 16);
  const json again = recipe_of({"--like", "off.png"});
  EXPECT_EQ(again, off);
  EXPECT_EQ(recipe_of({"a", "--cfg", "4"}).at("cfg"), 4.0);
}

TEST_F(CliInstalled, ModelsAreFoundByName) {
  EXPECT_EQ(recipe_of({"a", "-m", "pinhole"}).at("model"), "pinhole");
  const json dev = recipe_of({"a", "-m", "pinhole/dev"});
  EXPECT_EQ(dev.at("model"), "pinhole-dev");
  EXPECT_EQ(dev.at("width"), 48);
  EXPECT_EQ(dev.at("cfg"), 1.0);
  const Result plan = run_here({"plan", "-m", "pinhole/dev", "--json"});
  EXPECT_EQ(json::parse(plan.out).at("width"), 48) << plan.err;
  // A path that exists comes first, whatever its name.
  darkroom::make_model_folder(folder() / "pinhole", R"({"width": 16, "height": 16, "steps": 1})");
  EXPECT_EQ(recipe_of({"a", "-m", "pinhole"}).at("width"), 16);
}

// As huggingface_hub itself finds its cache.
TEST_F(CliInstalled, ANameOfTheHubsCacheIsAModel) {
  const std::filesystem::path repository = folder() / "home/hub/models--org--name";
  darkroom::make_model_folder(repository / "snapshots/c0ffee", R"({"width": 48, "height": 48, "steps": 1})");
  folder().write("home/hub/models--org--name/refs/main", "c0ffee");
  for (const auto& [variable, value] :
       {std::pair("HF_HUB_CACHE", "home/hub"), std::pair("HF_HOME", "home")}) {
    const RunOptions options{.environment = {{variable, value}}};
    const Result plan = run({"plan", "-m", "org/name", "--json"}, options);
    ASSERT_EQ(plan.code, 0) << plan.err;
    EXPECT_EQ(json::parse(plan.out).at("model"), "name");
    EXPECT_EQ(json::parse(plan.out).at("width"), 48);
    EXPECT_EQ(json::parse(run({"info", "org/name", "--json"}, options).out).at("name"), "name");
  }
  expect_refusal({"plan", "-m", "org/other"}, 3, "`hf download org/other` brings it there",
                 {.environment = {{"HF_HOME", "home"}}});
}

TEST_F(CliInstalled, WhatIsNotFoundSaysWhereItWasLookedFor) {
  expect_refusal(
      {"generate", "a", "-m", "pinhole/turbo"}, 3,
      "pinhole/turbo: there is no such file or folder, and no model of that name (looked in assets, ", here_);
  expect_refusal({"generate", "a", "-m", "pinhole/turbo"}, 3, "share/darkroom)", here_);
  expect_refusal({"generate", "a", "-m", "./pinhole"}, 3, "./pinhole: there is no such file or folder",
                 here_);
  expect_refusal({"generate", "a", "-m", "../assets/pinhole"}, 3, "there is no such file or folder", here_);
  expect_refusal({"words", "-m", ""}, 3, "there is no such file or folder", here_);
  folder().write("assets/pinhole/darkroom.json", R"({"steps": "many"})");
  expect_refusal({"generate", "a"}, 3, "darkroom.json: 'steps' is \"many\"", here_);
}

TEST_F(CliInstalled, WordsTellsWhatAModelUnderstands) {
  const Result text = run_here({"words"});
  EXPECT_EQ(text.code, 0);
  EXPECT_EQ(text.err, "");
  EXPECT_EQ(
      text.out,
      "pinhole: coloured shapes\n\nForms of a prompt\n  a COLOUR SHAPE\n\nWords (4)\n  a red star ring\n\n"
      "Examples\n  a red star\n");
  const Result as_json = run_here({"words", "--json"});
  json expected = json::parse(kPinhole).at("prompts");
  expected["model"] = "pinhole";
  EXPECT_EQ(json::parse(as_json.out), expected);
  expect_refusal({"words", "-m", "pinhole/dev"}, 1, "pinhole-dev: this model has no list of words", here_);
  expect_refusal({"words", "--dummy", "tiny"}, 1, "dummy-tiny: this model has no list of words");
  // A stranger's file must not steer the terminal.
  folder().write("assets/pinhole/darkroom.json",
                 R"({"prompts": {"about": "a\u001b[31m\nb", "words": ["\u0007"]}})");
  EXPECT_EQ(run_here({"words"}).out, "pinhole: a\\x1b[31m\\x0ab\n\nWords (1)\n  \\x07\n");
}

TEST_F(CliInstalled, UnknownWordsGetOneNoteForAllPictures) {
  const Result result = run_here({"generate", "a purple star, RING", "-n", "2", "-s", "1"});
  EXPECT_EQ(result.code, 0) << result.err;
  const std::string note =
      "darkroom: note: the model does not know the word purple; 'darkroom words' lists those it knows\n";
  const std::size_t first = result.err.find(note);
  ASSERT_NE(first, std::string::npos) << result.err;
  EXPECT_EQ(result.err.find("note", first + note.size()), std::string::npos) << result.err;
}

}  // namespace
}  // namespace cli_test
