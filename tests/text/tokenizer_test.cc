// What the tokenizers promise beyond the reference's ids: refusals, bad UTF-8, limits, time.
#include <gtest/gtest.h>

#include <algorithm>
#include <chrono>
#include <filesystem>
#include <string>

#include "../../fuzz/tokenizer_bundle.h"
#include "base/expect_error.h"
#include "base/file_map.h"
#include "base/temp_folder.h"
#include "text/clip_tokenizer.h"
#include "text/t5_tokenizer.h"

namespace darkroom {
namespace {

namespace fs = std::filesystem;

const fs::path kWide = DARKROOM_SOURCE_DIR "/tests/fixtures/tokenizers/wide";
const fs::path kBroken = DARKROOM_SOURCE_DIR "/fuzz/broken";

constexpr const char* kFiles[] = {"vocab.json", "merges.txt", "tokenizer.json", "tokenizer_config.json",
                                  "special_tokens_map.json"};

using Sections = std::map<std::string, std::string>;

ClipTokenizer clip_from(const Sections& sections) {
  return ClipTokenizer::from_files({.tokenizer_json = section(sections, "tokenizer.json"),
                                    .vocab_json = section(sections, "vocab.json").value_or(""),
                                    .merges_txt = section(sections, "merges.txt").value_or(""),
                                    .tokenizer_config_json = section(sections, "tokenizer_config.json"),
                                    .special_tokens_map_json = section(sections, "special_tokens_map.json")},
                                   "some/folder");
}

T5Tokenizer t5_from(const Sections& sections) {
  return T5Tokenizer::from_files({.tokenizer_json = section(sections, "tokenizer.json").value_or(""),
                                  .tokenizer_config_json = section(sections, "tokenizer_config.json"),
                                  .special_tokens_map_json = section(sections, "special_tokens_map.json")},
                                 "some/folder");
}

template <typename Load>
void expect_all_refused(const char* name, const Load& load) {
  int count = 0;
  for (const auto& entry : fs::directory_iterator(kBroken / name)) {
    SCOPED_TRACE(entry.path().filename().string());
    const std::string bytes = fs::file_size(entry) ? read_text_file(entry.path(), 1 << 20) : "";
    try {
      load(parse_bundle(bytes));
      ADD_FAILURE() << "no error";
    } catch (const Error& e) {
      const std::string message = e.what();
      EXPECT_EQ(static_cast<int>(e.code()), static_cast<int>(ErrorCode::kModel)) << message;
      EXPECT_TRUE(std::ranges::any_of(kFiles, [&](const char* file) {
        return message.starts_with(fmt::format("some/folder/{}: ", file));
      })) << message;
      EXPECT_TRUE(std::ranges::all_of(message, [](char c) { return c >= ' ' && c <= '~'; })) << message;
    }
    ++count;
  }
  EXPECT_GE(count, 20);
}

TEST(ClipTokenizer, RefusesEveryBrokenFolder) {
  expect_all_refused("clip_tokenizer", [](const Sections& sections) { clip_from(sections); });
}

TEST(T5Tokenizer, RefusesEveryBrokenFolder) {
  expect_all_refused("t5_tokenizer", [](const Sections& sections) { t5_from(sections); });
}

// The bundle that the broken ones are made from is a good one, so that they fail for the
// reason in their name.
TEST(ClipTokenizer, TakesTheBundleThatTheBrokenOnesComeFrom) {
  const auto tokenizer =
      clip_from(parse_bundle("=== vocab.json\n{\"a\": 0, \"b</w>\": 1, \"ab</w>\": 2, \"<|startoftext|>\": "
                             "3, \"<|endoftext|>\": 4}\n"
                             "=== merges.txt\n#version: 0.2\na b</w>\n"));
  EXPECT_EQ(tokenizer.encode("AB aab x", 8).ids, (std::vector<int32_t>{3, 2, 0, 2, 4, 4, 4, 4}));
  EXPECT_EQ(tokenizer.vocabulary_size(), 5);
}

// What fuzz/make_broken_tokenizers.py puts around a vocabulary.
std::string clip_document(const std::string& pattern, const std::string& model,
                          const std::string& more = "") {
  const std::string normalizer =
      R"({"type": "Sequence", "normalizers": [{"type": "NFC"}, {"type": "Replace", "pattern": )"
      R"({"Regex": "\\s+"}, "content": " "}, {"type": "Lowercase"}]})";
  const std::string split = R"({"type": "Split", "pattern": {"Regex": ")" + pattern +
                            R"("}, "behavior": "Removed", "invert": true})";
  const std::string bytes = R"({"type": "ByteLevel", "add_prefix_space": false, "trim_offsets": true})";
  return fmt::format(
      R"({{"normalizer": {}, "pre_tokenizer": {{"type": "Sequence", "pretokenizers": [{}, {}]}},)"
      R"( "model": {}{}}})",
      normalizer, split, bytes, model, more);
}

constexpr const char* kWords = R"('s|'t|'re|'ve|'m|'ll|'d|[\\p{L}]+|[\\p{N}]|[^\\s\\p{L}\\p{N}]+)";
constexpr const char* kVocab =
    R"({"a": 0, "b</w>": 1, "ab</w>": 2, "<|startoftext|>": 3, "<|endoftext|>": 4})";

TEST(ClipTokenizer, TakesMergesAsTextsAndAsPairs) {
  const std::string specials = R"(<\\|startoftext\\|>|<\\|endoftext\\|>|)";
  for (const std::string& pattern : {std::string(kWords), specials + kWords}) {
    for (const char* merges : {R"(["a b</w>"])", R"([["a", "b</w>"]])"}) {
      for (const char* kind : {"", R"("type": "BPE", "end_of_word_suffix": "</w>", )"}) {
        const std::string document =
            clip_document(pattern, fmt::format(R"({{{}"vocab": {}, "merges": {}}})", kind, kVocab, merges));
        const auto tokenizer = clip_from({{"tokenizer.json", document}});
        EXPECT_EQ(tokenizer.encode("AB aab x", 8).ids, (std::vector<int32_t>{3, 2, 0, 2, 4, 4, 4, 4}));
      }
    }
  }
}

// transformers 5 reads neither vocab.json nor merges.txt then.
TEST(ClipTokenizer, PrefersTokenizerJson) {
  const std::string document =
      clip_document(kWords, fmt::format(R"({{"vocab": {}, "merges": []}})", kVocab),
                    R"(, "added_tokens": [{"id": 5, "content": "[X]", "normalized": false}])");
  const auto tokenizer = clip_from({{"tokenizer.json", document},
                                    {"vocab.json", R"({"<|startoftext|>": 0, "<|endoftext|>": 1})"},
                                    {"merges.txt", "not a merge"}});
  EXPECT_EQ(tokenizer.encode("AB[X]", 8).ids, (std::vector<int32_t>{3, 0, 1, 5, 4, 4, 4, 4}));
  const TempFolder folder;
  folder.write("tokenizer.json", document);
  folder.write("vocab.json", "not JSON");
  EXPECT_EQ(ClipTokenizer::load(folder.path()).encode("AB[X]", 8).ids, tokenizer.encode("AB[X]", 8).ids);
}

// tokenizer_config.json decides on the side; without it what tokenizer.json remembers of the last call.
TEST(Tokenizers, TakeTheSideFromTheSettingsFirst) {
  const std::string model = fmt::format(R"({{"vocab": {}, "merges": []}})", kVocab);
  for (const char* state : {"padding", "truncation"}) {
    const std::string left =
        clip_document(kWords, model, fmt::format(R"(, "{}": {{"direction": "Left"}})", state));
    expect_error(ErrorCode::kModel, fmt::format("direction of '{}' is 'Left'", state), [&] {
      clip_from({{"tokenizer.json", left}});
    });
    clip_from({{"tokenizer.json", left},
               {"tokenizer_config.json", fmt::format(R"({{"{}_side": "right"}})", state)}});
  }
}

TEST(T5Tokenizer, TakesTheBundleThatTheBrokenOnesComeFrom) {
  const auto tokenizer = t5_from(parse_bundle(
      "=== tokenizer.json\n{\"model\": {\"type\": \"Unigram\", \"unk_id\": 2, \"vocab\": [[\"<pad>\", 0.0], "
      "[\"</s>\", 0.0], [\"<unk>\", 0.0], [\"\u2581\", -2.0], [\"\u2581a\", -3.0]]}}\n"));
  EXPECT_EQ(tokenizer.encode("a xy a", 6).ids, (std::vector<int32_t>{4, 3, 2, 4, 1, 0}));
  EXPECT_EQ(tokenizer.vocabulary_size(), 5 + 100);  // T5's sentinels
}

TEST(ClipTokenizer, NamesMissingFiles) {
  const TempFolder folder;
  expect_error(ErrorCode::kModel, "vocab.json", [&] { ClipTokenizer::load(folder.path()); });
  folder.write("vocab.json", "{}");
  expect_error(ErrorCode::kModel, "merges.txt", [&] { ClipTokenizer::load(folder.path()); });
  expect_error(ErrorCode::kModel, "vocab.json", [&] { ClipTokenizer::load(folder.path() / "absent"); });
}

TEST(T5Tokenizer, NamesMissingFiles) {
  const TempFolder folder;
  expect_error(ErrorCode::kModel, "tokenizer.json", [&] { T5Tokenizer::load(folder.path()); });
}

TEST(ClipTokenizer, TakesBadBytesForReplacementCharacters) {
  const auto tokenizer = ClipTokenizer::load(kWide / "tokenizer");
  EXPECT_EQ(tokenizer.encode("a\xff\xc3 \xed\xa0\x80z", 77).ids,
            tokenizer.encode("a\uFFFD\uFFFD \uFFFD\uFFFD\uFFFDz", 77).ids);
  EXPECT_NE(tokenizer.encode("a\xff", 77).ids, tokenizer.encode("a", 77).ids);
}

TEST(T5Tokenizer, TakesBadBytesForReplacementCharacters) {
  const auto tokenizer = T5Tokenizer::load(kWide / "tokenizer_2");
  EXPECT_EQ(tokenizer.encode("a\xff\xc3 \xed\xa0\x80z", 77).ids,
            tokenizer.encode("a\uFFFD\uFFFD \uFFFD\uFFFD\uFFFDz", 77).ids);
}

TEST(Tokenizers, RefuseOddSizes) {
  const auto clip = ClipTokenizer::load(kWide / "tokenizer");
  const auto t5 = T5Tokenizer::load(kWide / "tokenizer_2");
  for (const int64_t size :
       {int64_t{1}, int64_t{0}, int64_t{-77}, int64_t{1'000'001}, INT64_MAX, INT64_MIN}) {
    expect_error(ErrorCode::kUsage, "expected 2 to 1000000", [&] { clip.encode("a", size); });
    if (size != 1) expect_error(ErrorCode::kUsage, "expected 1 to 1000000", [&] { t5.encode("a", size); });
  }
}

TEST(Tokenizers, MoveAndKeepTheirIds) {
  auto clip = ClipTokenizer::load(kWide / "tokenizer");
  auto t5 = T5Tokenizer::load(kWide / "tokenizer_2");
  const auto clip_ids = clip.encode("a cat <|endoftext|>", 77).ids;
  const auto t5_ids = t5.encode("a cat </s>", 77).ids;
  const ClipTokenizer moved_clip = std::move(clip);
  const T5Tokenizer moved_t5 = std::move(t5);
  EXPECT_EQ(moved_clip.encode("a cat <|endoftext|>", 77).ids, clip_ids);
  EXPECT_EQ(moved_t5.encode("a cat </s>", 77).ids, t5_ids);
}

// Quadratic time would take minutes for these; the bound is a hundred times what they need.
TEST(Tokenizers, TakeLongPromptsInGoodTime) {
  const auto clip = ClipTokenizer::load(kWide / "tokenizer");
  const auto t5 = T5Tokenizer::load(kWide / "tokenizer_2");
  std::vector<std::string> prompts(8);
  prompts[0] = std::string(100'000, 'a');
  for (int64_t i = 0; i < 100'000; ++i) prompts[1] += static_cast<char>('a' + i * i % 26);
  for (int i = 0; i < 25'000; ++i) prompts[2] += "a cat ";
  prompts[3] = "a";
  for (int i = 0; i < 50'000; ++i) prompts[3] += i % 2 ? "\u0316" : "\u0300";
  prompts[4] = std::string(100'000, ' ');
  for (int i = 0; i < 20'000; ++i) prompts[5] += "<|endoftext|></s>";
  prompts[6] = std::string(100'000, '\xff');
  for (int i = 0; i < 30'000; ++i) prompts[7] += "\u2581";
  const auto start = std::chrono::steady_clock::now();
  for (const std::string& prompt : prompts) {
    clip.encode(prompt, 1'000'000);
    t5.encode(prompt, 1'000'000);
  }
  EXPECT_LT(std::chrono::steady_clock::now() - start, std::chrono::seconds(60));
}

}  // namespace
}  // namespace darkroom
