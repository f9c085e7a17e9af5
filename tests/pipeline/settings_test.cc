// darkroom.json: what a model recommends becomes the default of a request, and nothing in the file
// is taken on trust.
#include <gtest/gtest.h>

#include <nlohmann/json.hpp>

#include "base/expect_error.h"
#include "base/json.h"
#include "base/temp_folder.h"
#include "checkpoint/model_settings.h"
#include "model_folder.h"
#include "pipeline/pipeline.h"
#include "pipeline/prompt_words.h"
#include "pipeline/request.h"

namespace darkroom {
namespace {

using Words = std::vector<std::string>;

constexpr const char* kEverything = R"({"width": 128, "height": 64, "steps": 20, "cfg": 2.5, "guidance": 3,
  "max_text_tokens": 24, "later": {"more": 1}, "prompts": {"about": "shapes", "grammar": ["a COLOUR SHAPE"],
  "words": ["a", "Red", "blue", "star", "left of"], "examples": ["a red star"], "later": 1}})";
constexpr const char* kPreview =
    R"({"preview": {"rgb": [[0.5, -100, 0], [1, 2, 0.25]], "bias": [0, 0.125, 100]}})";

ModelSettings parse(const std::string& text) {
  return settings_from_json(parse_json(text, "d.json"), 16, 2, "d.json");
}

TEST(ModelSettings, EveryFieldIsReadAndGivenBack) {
  const ModelSettings settings = parse(kEverything);
  EXPECT_EQ(settings.width, 128);
  EXPECT_EQ(settings.height, 64);
  EXPECT_EQ(settings.steps, 20);
  EXPECT_EQ(settings.cfg, 2.5);
  EXPECT_EQ(settings.guidance, 3.0);
  EXPECT_EQ(settings.max_text_tokens, 24);
  EXPECT_EQ(settings.prompts.about, "shapes");
  EXPECT_EQ(settings.prompts.grammar, Words{"a COLOUR SHAPE"});
  EXPECT_EQ(settings.prompts.words.size(), 5u);
  EXPECT_EQ(settings.prompts.examples, Words{"a red star"});
  nlohmann::json expected = nlohmann::json::parse(kEverything);
  expected.erase("later");
  expected["prompts"].erase("later");
  EXPECT_EQ(to_json(settings), expected);
  EXPECT_EQ(to_json(parse(kPreview)), nlohmann::json::parse(kPreview));
}

TEST(ModelSettings, EveryFieldIsOptional) {
  EXPECT_EQ(to_json(parse("{}")), nlohmann::json::object());
  EXPECT_EQ(to_json(parse(R"({"steps": null, "prompts": {}})")), nlohmann::json::object());
  const TempFolder folder;
  EXPECT_EQ(to_json(read_model_settings(folder.path(), 16, 16)), nlohmann::json::object());
}

TEST(ModelSettings, HostileFilesAreModelErrors) {
  const std::string many = nlohmann::json(Words(20000, "a")).dump();
  const std::string longer(1001, 'x');
  const std::pair<std::string, std::string> cases[] = {
      {"[]", "d.json: expected a JSON object"},
      {R"({"width": 100})", "d.json: 'width' is 100, expected a multiple of 16"},
      {R"({"width": 0})", "d.json: 'width' is 0, expected a whole number from 1 to 16384"},
      {R"({"height": 16400})", "'height' is 16400"},
      {R"({"height": "128"})", "'height' is \"128\""},
      {R"({"width": 16384, "height": 16384})", "is 268435456, at most 16777216 pixels"},
      {R"({"steps": 0})", "'steps' is 0, expected a whole number from 1 to 1000"},
      {R"({"steps": 1e3})", "'steps' is 1000.0"},
      {R"({"steps": 18446744073709551615})", "'steps' is 18446744073709551615"},
      {R"({"cfg": 0.5})", "'cfg' is 0.5, expected a number from 1 to 100"},
      {R"({"cfg": 1e300})", "'cfg' is 1e+300"},
      {R"({"guidance": -1})", "'guidance' is -1, expected a number from 0 to 1000"},
      {R"({"max_text_tokens": 4097})", "'max_text_tokens' is 4097"},
      {R"({"prompts": "any"})", "d.json: 'prompts': expected a JSON object"},
      {R"({"prompts": {"about": 1}})", "d.json: 'prompts': 'about' must be a string"},
      {R"({"prompts": {"about": ")" + longer + R"("}})", "'about' has 1001 bytes"},
      {R"({"prompts": {"words": "a b"}})", "'words' must be a list"},
      {R"({"prompts": {"words": )" + many + "}}", "'words' must be a list of at most 16384"},
      {R"({"prompts": {"words": ["a", ["b"]]}})", "'words' holds a list"},
      {R"({"prompts": {"grammar": [")" + longer + R"("]}})", "'grammar' holds \"xxx"},
      {R"({"prompts": {"examples": [7]}})", "'examples' holds 7"},
      {R"({"preview": []})", "d.json: 'preview': expected a JSON object"},
      {R"({"preview": {}})", "d.json: 'preview': the field 'rgb' is missing"},
      {R"({"preview": {"rgb": [[0, 0, 0], [0, 0, 0]]}})", "d.json: 'preview': the field 'bias' is missing"},
      {R"({"preview": {"rgb": 1, "bias": [0, 0, 0]}})", "'preview': 'rgb' must be a list of 2 rows"},
      {R"({"preview": {"rgb": [[0, 0, 0]], "bias": [0, 0, 0]}})", "'rgb' must be a list of 2 rows, one for"},
      {R"({"preview": {"rgb": {"a": 1, "b": 2}, "bias": [0, 0, 0]}})", "'rgb' must be a list of 2 rows"},
      {R"({"preview": {"rgb": [[0, 0, 0], [0, 0]], "bias": [0, 0, 0]}})", "'rgb[1]' must be a list of 3"},
      {R"({"preview": {"rgb": [null, [0, 0, 0]], "bias": [0, 0, 0]}})", "'rgb[0]' must be a list of 3"},
      {R"({"preview": {"rgb": [[0, 0, "1"], [0, 0, 0]], "bias": [0, 0, 0]}})", "'rgb[0]' holds \"1\""},
      {R"({"preview": {"rgb": [[0, 0, 0], [0, 0, 101]], "bias": [0, 0, 0]}})",
       "'rgb[1]' holds 101, expected numbers from -100 to 100"},
      {R"({"preview": {"rgb": [[0, 0, 0], [0, 0, 0]], "bias": [0, 1e300, 0]}})", "'bias' holds 1e+300"},
      {R"({"preview": {"rgb": [[0, 0, 0], [0, 0, 0]], "bias": 1}})", "'bias' must be a list of 3 numbers"},
      {R"({"preview": {"rgb": [[0, 0, 0], [0, 0, 0]], "bias": [NaN, 0, 0]}})", "not valid JSON"}};
  for (const auto& [text, message] : cases) {
    SCOPED_TRACE(text.substr(0, 60));
    expect_error(ErrorCode::kModel, message, [&, &json = text] { parse(json); });
  }
  const TempFolder folder;
  make_model_folder(folder / "m", "{\"steps\": ");
  expect_error(ErrorCode::kModel, "darkroom.json: not valid JSON", [&] { Checkpoint::open(folder / "m"); });
}

TEST(ModelSettings, AreTheDefaultsAndTheRequestWins) {
  const TempFolder folder;
  make_model_folder(folder / "m", kEverything);
  const Checkpoint model = Checkpoint::open(folder / "m");
  Job job = decide_values({}, model);
  EXPECT_EQ(job.width, 128);
  EXPECT_EQ(job.height, 64);
  EXPECT_EQ(job.steps(), 20);
  EXPECT_EQ(job.guidance, 3.0f);
  EXPECT_EQ(job.max_text_tokens, 24);
  EXPECT_EQ(job.cfg, 2.5f);
  EXPECT_TRUE(job.notes.empty());
  Request request;
  request.width = request.height = 32;
  request.steps = 3;
  request.guidance = 1.5;
  request.cfg = 4;
  request.max_text_tokens = 30;
  job = decide_values(request, model);
  EXPECT_EQ(job.width, 32);
  EXPECT_EQ(job.height, 32);
  EXPECT_EQ(job.steps(), 3);
  EXPECT_EQ(job.guidance, 1.5f);
  EXPECT_EQ(job.max_text_tokens, 30);
  EXPECT_EQ(job.cfg, 4.0f);
  request = {};
  request.sigmas = {1.0, 0.5};
  EXPECT_EQ(decide_values(request, model).steps(), 2);
}

// As diffusers has it: no true CFG without a negative prompt. A model that recommends it
// implies an empty one.
TEST(ModelSettings, AModelsOwnCfgImpliesAnEmptyNegativePrompt) {
  const TempFolder folder;
  make_model_folder(folder / "m", R"({"cfg": 2})");
  const Checkpoint guided = Checkpoint::open(folder / "m");
  const Checkpoint plain = Checkpoint::dummy("tiny");
  struct Row {
    const Checkpoint& model;
    std::optional<double> cfg;
    std::optional<std::string> negative;
    float expected_cfg;  // 1: off
    std::size_t notes;
  };
  const Row rows[] = {{plain, {}, {}, 1, 0},   {plain, {}, "", 1, 1}, {plain, 3, {}, 1, 1},
                      {plain, 3, "", 3, 0},    {plain, 1, {}, 1, 0},  {guided, {}, {}, 2, 0},
                      {guided, {}, "x", 2, 0}, {guided, 3, {}, 3, 0}, {guided, 3, "x", 3, 0},
                      {guided, 1, {}, 1, 0},   {guided, 1, "x", 1, 1}};
  for (const Row& row : rows) {
    Request request;
    request.cfg = row.cfg;
    request.negative = row.negative;
    const Job job = decide_values(request, row.model);
    SCOPED_TRACE(fmt::format("{} cfg {} negative '{}'", row.model.name(), row.cfg.value_or(0),
                             row.negative.value_or("none")));
    EXPECT_EQ(job.true_cfg, row.expected_cfg > 1);
    EXPECT_EQ(job.cfg, row.expected_cfg);
    EXPECT_EQ(job.notes.size(), row.notes);
    EXPECT_EQ(job.negative, row.negative.value_or(""));
  }
}

TEST(ModelSettings, AModelInsideAnothersFolderIsNamedAfterBoth) {
  const TempFolder folder;
  make_model_folder(folder / "pinhole", "{}");
  make_model_folder(folder / "pinhole" / "dev", "{}");
  EXPECT_EQ(Checkpoint::open(folder / "pinhole").name(), "pinhole");
  EXPECT_EQ(Checkpoint::open(folder / "pinhole" / "dev").name(), "pinhole-dev");
}

TEST(PromptWords, AreWhatAPersonWouldCount) {
  EXPECT_EQ(words_of("A red-and-blue star's edge."), (Words{"a", "red", "and", "blue", "star's", "edge"}));
  EXPECT_EQ(words_of("'quoted' \"RED\"\t\n(2 rings)!"), (Words{"quoted", "red", "2", "rings"}));
  EXPECT_EQ(words_of("CAFÉ \u732B, \u0441\u0422\u043E\u043B"),
            (Words{"café", "\u732B", "\u0441\u0442\u043E\u043B"}));
  EXPECT_EQ(words_of(""), Words{});
  EXPECT_EQ(words_of(" '' - , \x1b[!"), Words{});
}

TEST(PromptWords, UnknownOnesAreNotedOnceAndNeverRefused) {
  const TempFolder folder;
  make_model_folder(folder / "m", kEverything);
  const Checkpoint model = Checkpoint::open(folder / "m");
  const auto notes = [&](const std::string& prompt, const std::optional<std::string>& negative = {}) {
    Request request;
    request.prompt = prompt;
    request.negative = negative;
    return decide_values(request, model).notes;
  };
  EXPECT_EQ(notes(""), Words{});
  EXPECT_EQ(notes("A RED star, left of: a blue Star!"), Words{});
  EXPECT_EQ(notes("a purple star"),
            Words{"the model does not know the word purple; 'darkroom words' lists those it knows"});
  EXPECT_EQ(
      notes("a Dog above a cat, a dog"),
      Words{"the model does not know the words: dog, above, cat; 'darkroom words' lists those it knows"});
  EXPECT_EQ(notes("a red star", "fog").size(), 1u);
  const Words many = notes("b c d e f g h i j k \x1b[31m " + std::string(1000, 'x'));
  ASSERT_EQ(many.size(), 1u);
  EXPECT_NE(many[0].find("b, c, d, e, f, g, h, i and 4 more"), std::string::npos) << many[0];
  EXPECT_NE(notes(std::string(1000, 'x'))[0].find(" " + std::string(24, 'x') + "...;"), std::string::npos);
  // Models without a list know every word.
  Request request;
  request.prompt = "anything";
  EXPECT_TRUE(decide_values(request, Checkpoint::dummy("tiny")).notes.empty());
}

TEST(DecideSheet, TakesTheDecidedSizes) {
  const TempFolder folder;
  make_model_folder(folder / "m", kEverything);
  const Checkpoint model = Checkpoint::open(folder / "m");
  Request request;
  request.count = 8;
  EXPECT_FALSE(decide_values(request, model).sheet.has_value());
  request.sheet = true;
  EXPECT_EQ(decide_values(request, model).sheet->columns, 2);
  EXPECT_EQ(decide_values(request, model).sheet->width, 2 * 128 + 8);
  request.sheet_columns = 4;
  EXPECT_EQ(decide_values(request, model).sheet->columns, 4);
  request.sheet_columns = 1001;
  expect_error(ErrorCode::kUsage, "columns is 1001, allowed are 1 to 1000",
               [&] { decide_values(request, model); });
  request.sheet_columns = {};
  request.count = 1000;
  request.width = request.height = 1024;
  expect_error(ErrorCode::kUsage, "draw fewer or smaller pictures", [&] { decide_values(request, model); });
}

}  // namespace
}  // namespace darkroom
