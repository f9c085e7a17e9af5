// Folders of tokenizers that are written from a vocabulary, and vocabularies that are taken from folders.
#include "text/tokenizer_files.h"

#include <gtest/gtest.h>

#include <functional>
#include <nlohmann/json.hpp>

#include "base/expect_error.h"
#include "text/base64.h"
#include "text/same_ids.h"
#include "text/t5_tokenizer.h"

namespace darkroom {
namespace {

using nlohmann::json;
using Texts = std::map<std::string, std::string>;

ClipTokenizerFiles clip_files(const Texts& texts) {
  return {.vocab_json = texts.at("vocab.json"),
          .merges_txt = texts.at("merges.txt"),
          .tokenizer_config_json = texts.at("tokenizer_config.json"),
          .special_tokens_map_json = texts.at("special_tokens_map.json")};
}

T5TokenizerFiles t5_texts(const Texts& texts, bool with_config = true) {
  T5TokenizerFiles out{texts.at("tokenizer.json"), std::nullopt, std::nullopt};
  if (!with_config) return out;
  out.tokenizer_config_json = texts.at("tokenizer_config.json");
  out.special_tokens_map_json = texts.at("special_tokens_map.json");
  return out;
}

T5TokenizerFiles files_in(const std::filesystem::path& folder) {
  const auto text = [&](const char* name) { return read_text_file(folder / name, 16 << 20); };
  T5TokenizerFiles out{text("tokenizer.json"), text("tokenizer_config.json"), std::nullopt};
  if (std::filesystem::exists(folder / "special_tokens_map.json"))
    out.special_tokens_map_json = text("special_tokens_map.json");
  return out;
}

TEST(TokenizerFiles, ClipsGiveTheIdsOfTheBuiltInOne) {
  const ClipTokenizerFiles files = clip_files(built_in_clip_files());
  expect_same_ids(ClipTokenizer::from_files(files, "tokenizer"), ClipTokenizer::built_in(), 500);
}

// What only looks like the built-in one would give other ids once it is left out of a file.
TEST(TokenizerFiles, ClipsThatDifferAnywhereAreNotBuiltIn) {
  const ClipTokenizerFiles files = clip_files(built_in_clip_files());
  const auto is_built_in = [&](const std::function<void(ClipTokenizerFiles&)>& change) {
    ClipTokenizerFiles other = files;
    change(other);
    return ClipTokenizer::from_files(other, "tokenizer").is_built_in();
  };
  EXPECT_TRUE(is_built_in([](ClipTokenizerFiles&) {}));
  const auto with_config = [&](const std::function<void(json&)>& change) {
    return is_built_in([&](ClipTokenizerFiles& other) {
      json config = json::parse(*other.tokenizer_config_json);
      change(config);
      other.tokenizer_config_json = config.dump();
    });
  };
  EXPECT_TRUE(with_config([](json&) {}));
  EXPECT_FALSE(with_config([](json& config) { config["pad_token"] = "!"; }));
  EXPECT_FALSE(with_config([](json& config) {
    config["added_tokens_decoder"]["49408"] = {{"content", "<mine>"},  {"lstrip", false},
                                               {"normalized", true},   {"rstrip", false},
                                               {"single_word", false}, {"special", false}};
  }));
  EXPECT_FALSE(is_built_in([](ClipTokenizerFiles& other) {
    const std::size_t second = other.merges_txt.find('\n') + 1,
                      third = other.merges_txt.find('\n', second) + 1;
    other.merges_txt.erase(second, third - second);
  }));
}

TEST(TokenizerFiles, T5sGiveTheIdsOfTheBuiltInOne) {
  const Texts texts = t5_files(built_in_t5(), "tokenizer_2");
  const T5Tokenizer want = T5Tokenizer::built_in();
  expect_same_ids(T5Tokenizer::from_files(t5_texts(texts), "tokenizer_2"), want, 2000);
  expect_same_ids(T5Tokenizer::from_files(t5_texts(texts, false), "tokenizer_2"), want, 200);
  EXPECT_TRUE(T5Tokenizer::pieces_of(t5_texts(texts), "tokenizer_2") == built_in_t5());
}

// Unused pieces in the middle and at the end, special tokens of other names and ids, a user-defined piece.
TEST(TokenizerFiles, T5sHoldWhatAGgufMay) {
  const T5Pieces pieces{
      .tokens = {"</s>", "<mine>", "<?>", "\u2581", "\u2581a", "ab", "a", "<end>", "[PAD8]"},
      .scores = {0, -1000, 0, -2, -3, -10'000, -4, 0, -10'000},
      .token_type = {1, 4, 2, 1, 1, 5, 1, 3, 5},
      .eos = 7,
      .padding = 0};
  const T5Tokenizer want = T5Tokenizer::from_pieces(pieces, "file.gguf");
  EXPECT_EQ(want.encode("a ab<mine> x", 12).ids, (std::vector<int32_t>{4, 4, 2, 1, 3, 2, 7, 0, 0, 0, 0, 0}));
  const Texts texts = t5_files(pieces, "file.gguf");
  const T5Tokenizer got = T5Tokenizer::from_files(t5_texts(texts), "tokenizer_2");
  expect_same_ids(got, want, 500);
  const T5Pieces again = T5Tokenizer::pieces_of(t5_texts(texts), "tokenizer_2");
  EXPECT_EQ(again.token_type, (std::vector<int32_t>{3, 4, 2, 1, 1, 5, 1, 3}));
  expect_same_ids(T5Tokenizer::from_pieces(again, "file.gguf"), want, 500);
}

TEST(TokenizerFiles, PiecesOfAFolderGiveItsIds) {
  for (const char* name : {"pipelines/dev_small", "pipelines/schnell_head128", "tokenizers/wide"}) {
    SCOPED_TRACE(name);
    const std::filesystem::path folder = kFixtures / name / "tokenizer_2";
    const T5Pieces pieces = T5Tokenizer::pieces_of(files_in(folder), folder);
    expect_same_ids(T5Tokenizer::from_pieces(pieces, "file.gguf"), T5Tokenizer::load(folder), 300);
  }
}

// A token beyond the vocabulary has an id there; between two such there is nothing.
TEST(TokenizerFiles, AddedTokensBehindTheVocabularyArePieces) {
  T5TokenizerFiles files = t5_texts(t5_files(built_in_t5(), "tokenizer_2"));
  json config = json::parse(*files.tokenizer_config_json);
  config["added_tokens_decoder"]["32100"] = {{"content", "<mine>"}, {"special", true}};
  files.tokenizer_config_json = config.dump();
  const T5Pieces pieces = T5Tokenizer::pieces_of(files, "tokenizer_2");
  ASSERT_EQ(pieces.size(), 32'101u);
  EXPECT_EQ(pieces.tokens.back(), "<mine>");
  expect_same_ids(T5Tokenizer::from_pieces(pieces, "file.gguf"),
                  T5Tokenizer::from_files(files, "tokenizer_2"), 100);
}

TEST(TokenizerFiles, RefuseWhatTheReferenceHasNot) {
  T5Pieces pieces{.tokens = {"<unk>", "</s>", "<pad>"}, .scores = {0, 0, 0}, .token_type = {2, 3, 3}};
  pieces.unknown = 0;
  pieces.padding = 2;
  expect_error(ErrorCode::kModel,
               "file.gguf: the unknown token has the id 0, and a tokenizer_2 folder has it at 2",
               [&] { t5_files(pieces, "file.gguf"); });
  pieces.token_type = {2, 3};
  expect_error(ErrorCode::kModel, "3 scores and 2 types", [&] { t5_files(pieces, "file.gguf"); });
}

TEST(TokenizerFiles, SayWhatTheRealFilesSay) {
  if (!std::filesystem::exists(kReal / "tokenizer_2")) GTEST_SKIP() << "no FLUX.1 files beside this tree";
  const auto real = [](const char* name) { return json::parse(read_text_file(kReal / name, 16 << 20)); };
  const Texts clip = built_in_clip_files(), t5 = t5_files(built_in_t5(), "");
  for (const char* name : {"vocab.json", "tokenizer_config.json", "special_tokens_map.json"})
    EXPECT_TRUE(json::parse(clip.at(name)) == real((std::string("tokenizer/") + name).c_str())) << name;
  EXPECT_TRUE(clip.at("merges.txt") == read_text_file(kReal / "tokenizer/merges.txt", 16 << 20));
  EXPECT_TRUE(json::parse(t5.at("tokenizer.json")) == real("tokenizer_2/tokenizer.json"));
  json config = real("tokenizer_2/tokenizer_config.json"), ours = json::parse(t5.at("tokenizer_config.json"));
  EXPECT_EQ(ours["added_tokens_decoder"], config["added_tokens_decoder"]);
}

TEST(Base64, ThereAndBack) {
  for (const std::string bytes : {"", "a", "ab", "abc", "abcd", "\xff\xfe\x80\x01\x02"})
    EXPECT_EQ(decode_base64(encode_base64(bytes), "test"), bytes);
  EXPECT_EQ(encode_base64("light w"), "bGlnaHQgdw==");
}

}  // namespace
}  // namespace darkroom
