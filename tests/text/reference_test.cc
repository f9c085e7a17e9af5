// The tokenizers against the ids that Hugging Face transformers gives;
// tools/fixtures/make_tokenizer_fixtures.py wrote them.
#include <fmt/format.h>
#include <gtest/gtest.h>

#include <filesystem>
#include <nlohmann/json.hpp>
#include <optional>
#include <string>
#include <vector>

#include "base/file_map.h"
#include "base/temp_folder.h"
#include "text/clip_tokenizer.h"
#include "text/t5_tokenizer.h"

namespace darkroom {
namespace {

using nlohmann::json;
namespace fs = std::filesystem;

const fs::path kFixtures = DARKROOM_SOURCE_DIR "/tests/fixtures";
const fs::path kReal = DARKROOM_SOURCE_DIR "/../shared/flux1/dev";

using Ids = std::vector<int32_t>;

json read_fixture(const std::string& name) {
  return json::parse(read_text_file(kFixtures / "tokenizers" / name, 16 << 20));
}

Ids padded(const json& ids, std::size_t size, int32_t pad) {
  Ids out = ids.get<Ids>();
  out.resize(size, pad);
  return out;
}

template <typename Tokenizer>
void expect_reference(const Tokenizer& tokenizer, const std::string& fixture) {
  const json strings = read_fixture("strings.json");
  const json expected = read_fixture(fixture);
  ASSERT_GE(strings.size(), 600u);
  ASSERT_EQ(expected["ids"].size(), strings.size());
  const auto pad = expected["pad"].get<int32_t>();
  const auto max_tokens = expected["max_tokens"].get<int64_t>();
  for (std::size_t i = 0; i < strings.size(); ++i) {
    const TokenIds got = tokenizer.encode(strings[i], max_tokens);
    EXPECT_EQ(got.ids, padded(expected["ids"][i], static_cast<std::size_t>(max_tokens), pad))
        << fixture << " string " << i << ": " << strings[i].dump(-1, ' ', true);
    EXPECT_EQ(got.truncated, expected["lengths"][i].get<int64_t>() > max_tokens) << "string " << i;
  }
  ASSERT_GE(expected["cuts"].size(), 100u);
  for (const json& cut : expected["cuts"]) {  // string, max_tokens, ids
    const auto index = cut[0].get<std::size_t>();
    const auto limit = cut[1].get<int64_t>();
    const TokenIds got = tokenizer.encode(strings[index], limit);
    EXPECT_EQ(got.ids, padded(cut[2], static_cast<std::size_t>(limit), pad))
        << "string " << index << " cut to " << limit;
    EXPECT_EQ(got.truncated, expected["lengths"][index].get<int64_t>() > limit)
        << "string " << index << " cut to " << limit;
  }
}

class CommittedTokenizers : public testing::TestWithParam<const char*> {
 protected:
  fs::path folder() const {
    const std::string name = GetParam();
    return fs::exists(kFixtures / "pipelines" / name) ? kFixtures / "pipelines" / name
                                                      : kFixtures / "tokenizers" / name;
  }
  // Saving changes no ids.
  std::string expected(const char* kind) const {
    const std::string name = GetParam();
    return fmt::format("expected_{}_{}.json", name == "saved" ? "dev_small" : name, kind);
  }
};

TEST_P(CommittedTokenizers, ClipGivesTheReferenceIds) {
  expect_reference(ClipTokenizer::load(folder() / "tokenizer"), expected("clip"));
}

TEST_P(CommittedTokenizers, T5GivesTheReferenceIds) {
  expect_reference(T5Tokenizer::load(folder() / "tokenizer_2"), expected("t5"));
}

INSTANTIATE_TEST_SUITE_P(All, CommittedTokenizers,
                         testing::Values("dev_small", "schnell_head128", "wide", "saved"));

TEST(RealTokenizers, ClipGivesTheReferenceIds) {
  if (!fs::exists(kReal / "tokenizer")) GTEST_SKIP() << "no FLUX.1 files beside this tree";
  expect_reference(ClipTokenizer::load(kReal / "tokenizer"), "expected_real_clip.json");
}

TEST(RealTokenizers, T5GivesTheReferenceIds) {
  if (!fs::exists(kReal / "tokenizer_2")) GTEST_SKIP() << "no FLUX.1 files beside this tree";
  expect_reference(T5Tokenizer::load(kReal / "tokenizer_2"), "expected_real_t5.json");
}

TEST(BuiltInTokenizers, GiveTheReferenceIds) {
  expect_reference(ClipTokenizer::built_in(), "expected_real_clip.json");
  expect_reference(T5Tokenizer::built_in(), "expected_real_t5.json");
}

struct Vector {
  const char* prompt;
  Ids ids;  // without padding
};

TEST(BuiltInTokenizers, ClipGivesThePublishedVectors) {
  const auto tokenizer = ClipTokenizer::built_in();
  for (const Vector& v :
       std::vector<Vector>{{"", {49406, 49407}},
                           {"a photo of a cat", {49406, 320, 1125, 539, 320, 2368, 49407}},
                           {"A cat holding a sign that says hello world",
                            {49406, 320, 2368, 5050, 320, 2292, 682, 1563, 3306, 1002, 49407}},
                           {"Hello, world!", {49406, 3306, 267, 1002, 256, 49407}},
                           {"a photo of an astronaut riding a horse on mars",
                            {49406, 320, 1125, 539, 550, 18376, 6765, 320, 4558, 525, 7496, 49407}},
                           {"2024", {49406, 273, 271, 273, 275, 49407}},
                           {"na\u00efve caf\u00e9", {49406, 1097, 35689, 563, 15304, 49407}},
                           {"it's a dog's life", {49406, 585, 568, 320, 1929, 568, 970, 49407}},
                           {"\u65e5\u672c\u8a9e text", {49406, 39121, 44353, 34002, 508, 4160, 49407}}}) {
    Ids want = v.ids;
    want.resize(77, 49407);
    EXPECT_EQ(tokenizer.encode(v.prompt, 77).ids, want) << v.prompt;
  }
}

TEST(BuiltInTokenizers, T5GivesThePublishedVectors) {
  const auto tokenizer = T5Tokenizer::built_in();
  for (const Vector& v : std::vector<Vector>{
           {"", {1}},
           {"hello", {21820, 1}},
           {"a photo of a cat", {3, 9, 1202, 13, 3, 9, 1712, 1}},
           {"A cat holding a sign that says hello world",
            {71, 1712, 3609, 3, 9, 1320, 24, 845, 21820, 296, 1}},
           {"a photo of an astronaut riding a horse on mars",
            {3, 9, 1202, 13, 46, 30059, 7494, 3, 9, 4952, 30, 8113, 1}},
           {"Hello, world!", {8774, 6, 296, 55, 1}},
           {"The quick brown fox jumps over the lazy dog.",
            {37, 1704, 4216, 3, 20400, 4418, 7, 147, 8, 19743, 1782, 5, 1}},
           {"cyberpunk city, neon lights, 8k, \"OPEN 24 HOURS\"",
            {9738, 102, 6513, 690,   6,   22432, 4113, 6,     505, 157,
             6,    96,  667,  20702, 997, 3,     6299, 22766, 121, 1}},
           {"  leading  and   double spaces ", {1374, 11, 1486, 4856, 1}},
           {"line1\nline2", {689, 536, 689, 357, 1}},
           {"tab\there", {3808, 270, 1}},
           {"a\u00a0b", {3, 9, 3, 115, 1}},
           {"zero\u200bwidth", {5733, 9400, 1}},
           {"x\u00b2", {3, 226, 357, 1}},
           {"\ufb01ne \u2026 \u00bd \uff21\uff22\uff23\uff5e", {1399, 3, 233, 209, 2, 357, 14213, 2, 1}},
           {"na\u00efve caf\u00e9", {3, 29, 9, 2, 162, 11949, 1}},
           {"nai\u0308ve cafe\u0301", {3, 29, 9, 2, 162, 11949, 1}},
           {"\u732b", {3, 2, 1}},
           {"\u65e5\u672c\u8a9e text", {3, 2, 1499, 1}},
           {"emoji \U0001F600 here", {3, 15, 51, 21892, 3, 2, 270, 1}},
           {"\u201cquotes\u201d \u2014 dash", {105, 8270, 15, 7, 153, 3, 318, 211, 107, 1}}}) {
    Ids want = v.ids;
    want.resize(512, 0);
    EXPECT_EQ(tokenizer.encode(v.prompt, 512).ids, want) << v.prompt;
  }
}

// The small tokenizers with other tokenizer_config.json and special_tokens_map.json files.
TEST(SettingsFiles, GiveTheReferenceIds) {
  const json variants = read_fixture("variants.json");
  ASSERT_GE(variants.size(), 9u);
  for (const json& variant : variants) {
    const TempFolder folder;
    const fs::path base = kFixtures / variant["base"].get<std::string>();
    for (const char* name : {"vocab.json", "merges.txt", "tokenizer.json"}) {
      if (fs::exists(base / name)) fs::copy_file(base / name, folder / name);
    }
    for (const char* name : {"tokenizer_config", "special_tokens_map"}) {
      if (!variant[name].is_null()) folder.write(std::string(name) + ".json", variant[name].dump());
    }
    std::optional<ClipTokenizer> clip;
    std::optional<T5Tokenizer> t5;
    if (variant["kind"] == "clip") {
      clip = ClipTokenizer::load(folder.path());
    } else {
      t5 = T5Tokenizer::load(folder.path());
    }
    for (std::size_t i = 0; i < variant["strings"].size(); ++i) {
      const std::string prompt = variant["strings"][i];
      const TokenIds got = clip ? clip->encode(prompt, 64) : t5->encode(prompt, 64);
      EXPECT_EQ(got.ids, padded(variant["ids"][i], 64, variant["pad"]))
          << variant["base"] << " " << variant["tokenizer_config"].dump().substr(0, 200) << "\n"
          << variant["special_tokens_map"].dump() << "\n"
          << prompt;
    }
  }
}

}  // namespace
}  // namespace darkroom
