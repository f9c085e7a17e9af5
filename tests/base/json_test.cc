#include "base/json.h"

#include <gtest/gtest.h>

#include <filesystem>
#include <nlohmann/json.hpp>
#include <string>

#include "base/expect_error.h"
#include "base/file_map.h"
#include "base/printable.h"
#include "base/temp_folder.h"

namespace darkroom {
namespace {

constexpr std::size_t kLimit = 1 << 20;

std::string nested(int depth) {
  return std::string(static_cast<std::size_t>(depth), '[') +
         std::string(static_cast<std::size_t>(depth), ']');
}

TEST(ParseJson, ReadsValidText) {
  EXPECT_EQ(parse_json(R"({"a": [1, 2.5, "x", null, true]})", "w")["a"].size(), 5u);
  EXPECT_EQ(parse_json(R"({"a": 1, "a": 2})", "w")["a"], 2);  // as in Python
  EXPECT_EQ(parse_json(nested(64), "w").size(), 1u);
  // Brackets in a text do not nest.
  EXPECT_EQ(parse_json("[\"" + std::string(100, '[') + "\\\"[\"]", "w").size(), 1u);
}

TEST(ParseJson, RefusesWhatIsNotJson) {
  for (const char* text : {"", " ", "{", "[1,]", "{\"a\":}", "nul", "1 2", "{'a':1}", "\"\xFF\"", "[1e999]",
                           "// c\n{}", "{\"a\":1}}", "[NaN]", "\"\\ud800\"", "[01]", "\"\n\""}) {
    expect_error(ErrorCode::kModel, "where.json: not valid JSON", [&] { parse_json(text, "where.json"); });
  }
}

TEST(ParseJson, DoesNotStopAtAZeroByte) {
  expect_error(ErrorCode::kModel, "a zero byte at 2", [] { parse_json(std::string("{}\0{}", 5), "w"); });
}

TEST(ParseJson, RefusesDeepNestingAtAnyDepth) {
  expect_error(ErrorCode::kModel, "nested 65 deep", [] { parse_json(nested(65), "w"); });
  expect_error(ErrorCode::kModel, "nested 1000000 deep", [] { parse_json(nested(1'000'000), "w"); });
  expect_error(ErrorCode::kModel, "nested", [] { parse_json(std::string(1'000'000, '['), "w"); });
}

TEST(ParseJson, MessagesStayShortAndPrintable) {
  expect_error(ErrorCode::kModel, "not valid JSON",
               [] { parse_json("\x1b[2J" + std::string(100000, 'x'), "w"); });
  expect_error(ErrorCode::kModel, "not valid JSON",
               [] { parse_json("\"" + std::string(100000, 'x') + "\xFF\"", "w"); });
}

TEST(ReadJsonFile, ChecksTheSize) {
  const TempFolder folder;
  const std::filesystem::path path = folder.write("config.json", "{\"a\": 1}");
  EXPECT_EQ(read_json_file(path, 8)["a"], 1);
  expect_error(ErrorCode::kModel, "8 bytes, more than the 7", [&] { read_json_file(path, 7); });
  expect_error(ErrorCode::kModel, "cannot open", [&] { read_json_file(folder / "absent", 7); });
}

TEST(JsonFields, ReadsTypedValuesAndFallsBack) {
  const nlohmann::json object = parse_json(
      R"({"n": 3, "x": 2.5, "b": true, "t": "text", "l": [1, 2], "nothing": null, "low": -9223372036854775808})",
      "w");
  const JsonFields f(object, "w");
  EXPECT_EQ(f.integer("n", 7, 0, 10), 3);
  EXPECT_EQ(f.integer("absent", 7, 0, 10), 7);
  EXPECT_EQ(f.integer("nothing", 7, 0, 10), 7);
  EXPECT_EQ(f.integer("low", 7, INT64_MIN, INT64_MAX), INT64_MIN);
  EXPECT_EQ(f.required_integer("n", 3, 3), 3);
  EXPECT_EQ(f.number("x", 0, 0, 10), 2.5);
  EXPECT_EQ(f.number("n", 0, 0, 10), 3.0);  // Python writes 3 for 3.0 too
  EXPECT_TRUE(f.boolean("b", false));
  EXPECT_EQ(f.text("t", ""), "text");
  EXPECT_EQ(f.text("absent", "x"), "x");
  EXPECT_EQ(f.integers("l", {}, 0, 10), (std::vector<int64_t>{1, 2}));
  EXPECT_EQ(f.integers("absent", {5}, 0, 10), (std::vector<int64_t>{5}));
  EXPECT_TRUE(f.has("n"));
  EXPECT_FALSE(f.has("nothing"));
}

TEST(JsonFields, ErrorsNameTheFileTheFieldAndTheNumbers) {
  const nlohmann::json object = parse_json(
      R"({"n": -3, "big": 18446744073709551615, "real": 2.0, "t": "text", "l": [1, "x"], "deep": [[1]]})",
      "w");
  const JsonFields f(object, "a.json");
  const auto integer = [&](const char* name) { return [&f, name] { f.integer(name, 0, 1, 1000); }; };
  expect_error(ErrorCode::kModel, "a.json: 'n' is -3, expected a whole number from 1 to 1000", integer("n"));
  expect_error(ErrorCode::kModel, "'big' is 18446744073709551615", integer("big"));
  expect_error(ErrorCode::kModel, "'real' is 2.0, expected a whole number", integer("real"));
  expect_error(ErrorCode::kModel, "'t' is \"text\"", integer("t"));
  expect_error(ErrorCode::kModel, "'deep' is a list", integer("deep"));
  expect_error(ErrorCode::kModel, "the field 'absent' is missing",
               [&] { f.required_integer("absent", 0, 1); });
  expect_error(ErrorCode::kModel, "'t' is \"text\", expected a number", [&] { f.number("t", 0, 0, 1); });
  expect_error(ErrorCode::kModel, "'real' is 2.0, expected a number from 0 to 1",
               [&] { f.number("real", 0, 0, 1); });
  expect_error(ErrorCode::kModel, "'n' must be true or false", [&] { f.boolean("n", false); });
  expect_error(ErrorCode::kModel, "'n' must be a string", [&] { f.text("n", ""); });
  expect_error(ErrorCode::kModel, "'l' is \"x\"", [&] { f.integers("l", {}, 0, 9); });
  expect_error(ErrorCode::kModel, "must be a list", [&] { f.integers("n", {}, 0, 9); });
  expect_error(ErrorCode::kModel, "expected a JSON object, found array",
               [] { JsonFields(nlohmann::json::array(), "w"); });
}

TEST(JsonFields, ListsOfTextsAreBounded) {
  const nlohmann::json object =
      parse_json(R"({"good": ["a", "bc"], "none": [], "text": "a", "mixed": ["a", 1], "empty": [""]})", "w");
  const JsonFields f(object, "w");
  EXPECT_EQ(f.texts("good", 2, 2), (std::vector<std::string>{"a", "bc"}));
  EXPECT_TRUE(f.texts("none", 0, 0).empty());
  EXPECT_TRUE(f.texts("absent", 2, 2).empty());
  expect_error(ErrorCode::kModel, "'good' must be a list of at most 1 strings",
               [&] { f.texts("good", 1, 2); });
  expect_error(ErrorCode::kModel, "'good' holds \"bc\", expected strings of 1 to 1 bytes",
               [&] { f.texts("good", 2, 1); });
  expect_error(ErrorCode::kModel, "'text' must be a list", [&] { f.texts("text", 2, 2); });
  expect_error(ErrorCode::kModel, "'mixed' holds 1,", [&] { f.texts("mixed", 2, 2); });
  expect_error(ErrorCode::kModel, "'empty' holds \"\",", [&] { f.texts("empty", 2, 2); });
}

TEST(JsonFields, ListsAreBounded) {
  nlohmann::json object;
  object["l"] = std::vector<int>(65, 1);
  expect_error(ErrorCode::kModel, "at most 64", [&] { JsonFields(object, "w").integers("l", {}, 0, 9); });
}

// Every file of fuzz/broken/config that is no index must fail in one of the ways that a
// model's config is read.
TEST(JsonFields, BrokenConfigsGiveErrors) {
  int files = 0;
  for (const auto& entry : std::filesystem::directory_iterator(DARKROOM_SOURCE_DIR "/fuzz/broken/config")) {
    if (entry.path().filename().string().starts_with("index_")) continue;
    ++files;
    SCOPED_TRACE(entry.path().filename().string());
    expect_error(ErrorCode::kModel, entry.path().string(), [&] {
      const nlohmann::json object = read_json_file(entry.path(), kLimit);
      const JsonFields fields(object, entry.path().string());
      fields.required_integer("num_layers", 1, 1000);
      fields.integer("num_attention_heads", 24, 1, 1024);
      fields.number("scaling_factor", 0.36, 1e-6, 1e6);
      fields.boolean("guidance_embeds", false);
      fields.text("_class_name", "");
      fields.integers("axes_dims_rope", {16, 56, 56}, 1, 1024);
    });
  }
  EXPECT_GE(files, 20);
}

TEST(Printable, EscapesAndCuts) {
  EXPECT_EQ(printable("a.weight"), "a.weight");
  EXPECT_EQ(printable("\x1b[0m\n\xC3\xA9"), "\\x1b[0m\\x0a\\xc3\\xa9");
  EXPECT_EQ(printable("abcdef", 3), "abc...");
}

}  // namespace
}  // namespace darkroom
