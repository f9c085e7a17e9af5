// The tokenizers that are part of the library, and T5's from the arrays of a GGUF file, beside those that are
// read from JSON. reference_test.cc holds the built-in ones to the reference's ids.
#include "text/built_in.h"

#include <fmt/format.h>
#include <gtest/gtest.h>
#include <malloc.h>

#include <filesystem>
#include <functional>
#include <limits>
#include <nlohmann/json.hpp>
#include <sstream>
#include <string>
#include <vector>

#include "base/expect_error.h"
#include "base/file_map.h"
#include "text/base64.h"
#include "text/clip_tokenizer.h"
#include "text/same_ids.h"
#include "text/t5_tokenizer.h"

namespace darkroom {
namespace {

using nlohmann::json;
namespace fs = std::filesystem;

TEST(BuiltInTokenizers, ClipGivesTheIdsOfTheFiles) {
  if (!fs::exists(kReal / "tokenizer")) GTEST_SKIP() << "no FLUX.1 files beside this tree";
  expect_same_ids(ClipTokenizer::built_in(), ClipTokenizer::load(kReal / "tokenizer"), 30'000);
}

TEST(BuiltInTokenizers, T5GivesTheIdsOfTheFiles) {
  if (!fs::exists(kReal / "tokenizer_2")) GTEST_SKIP() << "no FLUX.1 files beside this tree";
  expect_same_ids(T5Tokenizer::built_in(), T5Tokenizer::load(kReal / "tokenizer_2"), 30'000);
}

TEST(BuiltInTokenizers, AreTheCommittedFiles) {
  EXPECT_EQ(kClipMerges, read_text_file(kSource / "assets/tokenizers/clip_merges.z", 1 << 20));
  EXPECT_EQ(kT5Pieces, read_text_file(kSource / "assets/tokenizers/t5_pieces.z", 1 << 20));
  EXPECT_EQ(ClipTokenizer::built_in().vocabulary_size(), 49'408);
  EXPECT_EQ(T5Tokenizer::built_in().vocabulary_size(), 32'100);
}

TEST(BuiltInTokenizers, HoldNoMoreThanIsPlanned) {
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
  GTEST_SKIP() << "a sanitizer's own memory is not planned";
#endif
  const auto held = [] { return mallinfo2().uordblks + mallinfo2().hblkhd; };
  const std::size_t before = held();
  const ClipTokenizer clip = ClipTokenizer::built_in();
  const std::size_t between = held();
  const T5Tokenizer t5 = T5Tokenizer::built_in();
  EXPECT_LE(between - before, kBuiltInClipTokenizerBytes);
  EXPECT_LE(held() - between, kBuiltInT5TokenizerBytes);
}

// As llama.cpp's converter writes the vocabulary of a tokenizer.json: `padding` unused tokens at the end, and
// the sentinels unused, too, or user-defined with its low score.
T5Pieces gguf_pieces(const fs::path& folder, std::size_t padding, bool own_sentinels) {
  const json document = json::parse(read_text_file(folder / "tokenizer.json", 16 << 20));
  T5Pieces out;
  const auto add = [&](const std::string& token, float score, int32_t type) {
    out.tokens.push_back(token);
    out.scores.push_back(score);
    out.token_type.push_back(type);
  };
  const auto add_unused = [&] { add(fmt::format("[PAD{}]", out.tokens.size()), -10'000, T5Pieces::kUnused); };
  for (const json& piece : document["model"]["vocab"]) {
    const std::string token = piece[0];
    if (token == "<unk>") {
      add(token, piece[1], T5Pieces::kUnknown);
    } else if (token == "<pad>" || token == "</s>") {
      add(token, piece[1], T5Pieces::kControl);
    } else if (!token.starts_with("<extra_id_")) {
      add(token, piece[1], T5Pieces::kNormal);
    } else if (own_sentinels) {
      add(token, -1000, T5Pieces::kUserDefined);
    } else {
      add_unused();
    }
  }
  for (; padding > 0; --padding) add_unused();
  const json& normalizer = document["normalizer"];
  const json& step = normalizer["type"] == "Sequence" ? normalizer["normalizers"][0] : normalizer;
  out.precompiled_charsmap = decode_base64(step["precompiled_charsmap"].get<std::string>(), "test");
  return out;
}

TEST(T5FromPieces, GivesTheIdsOfTheFiles) {
  for (const char* name : {"pipelines/dev_small", "pipelines/schnell_head128", "tokenizers/wide"}) {
    SCOPED_TRACE(name);
    const fs::path folder = kFixtures / name / "tokenizer_2";
    const T5Tokenizer want = T5Tokenizer::load(folder);
    for (const bool own_sentinels : {false, true}) {
      for (const std::size_t padding : {0, 28}) {
        const T5Pieces pieces = gguf_pieces(folder, padding, own_sentinels);
        expect_same_ids(T5Tokenizer::from_pieces(pieces, "file.gguf"), want, 500);
      }
    }
  }
}

TEST(T5FromPieces, GivesTheIdsOfTheRealFiles) {
  if (!fs::exists(kReal / "tokenizer_2")) GTEST_SKIP() << "no FLUX.1 files beside this tree";
  const T5Tokenizer want = T5Tokenizer::load(kReal / "tokenizer_2");
  for (const bool own_sentinels : {false, true}) {
    const T5Pieces pieces = gguf_pieces(kReal / "tokenizer_2", 28, own_sentinels);
    ASSERT_EQ(pieces.tokens.size(), 32'128u);
    expect_same_ids(T5Tokenizer::from_pieces(pieces, "file.gguf"), want, 10'000);
  }
}

TEST(BuiltInTokenizers, AreTheRealFiles) {
  if (!fs::exists(kReal / "tokenizer_2")) GTEST_SKIP() << "no FLUX.1 files beside this tree";
  const BuiltInPieces t5 = built_in_t5_pieces();
  T5Pieces want = gguf_pieces(kReal / "tokenizer_2", 0, false);
  want.tokens.resize(32'000);
  want.scores.resize(32'000);
  EXPECT_EQ(t5.texts, want.tokens);
  EXPECT_EQ(t5.scores, want.scores);
  EXPECT_EQ(t5.charsmap, want.precompiled_charsmap);

  const json vocab = json::parse(read_text_file(kReal / "tokenizer/vocab.json", 16 << 20));
  std::istringstream merges(read_text_file(kReal / "tokenizer/merges.txt", 16 << 20));
  std::string line, left, right;
  std::getline(merges, line);  // the version
  std::vector<std::pair<uint16_t, uint16_t>> ids;
  while (merges >> left >> right) ids.emplace_back(vocab[left], vocab[right]);
  EXPECT_EQ(built_in_clip_merges(), ids);
}

// No character map: texts stay as they are.
T5Pieces small_pieces() {
  return {.tokens = {"<pad>", "</s>", "<unk>", "\u2581", "\u2581a", "[PAD5]", "[PAD5]"},
          .scores = {0, 0, 0, -2, -3, -10'000, std::numeric_limits<float>::quiet_NaN()},
          .token_type = {3, 3, 2, 1, 1, 5, 5}};
}

TEST(T5FromPieces, TakesUnusedTokensForNoPieces) {
  const T5Tokenizer tokenizer = T5Tokenizer::from_pieces(small_pieces(), "file.gguf");
  EXPECT_EQ(tokenizer.encode("a xy [PAD5]</s>", 9).ids, (std::vector<int32_t>{4, 3, 2, 3, 2, 1, 1, 0, 0}));
  EXPECT_EQ(tokenizer.vocabulary_size(), 5);  // no room for sentinels
  EXPECT_EQ(tokenizer.encode("<extra_id_0>", 3).ids, (std::vector<int32_t>{3, 2, 1}));
}

TEST(T5FromPieces, TakesOtherSpecialIds) {
  T5Pieces pieces = small_pieces();
  pieces.tokens = {"<unk>", "<s>", "</s>", "\u2581", "\u2581a", "<mine>", "<pad>"};
  pieces.token_type = {2, 3, 3, 1, 1, 4, 1};
  pieces.scores = {0, 0, 0, -2, -3, -1000, 0};
  pieces.unknown = 0;
  pieces.eos = 2;
  pieces.padding = 6;
  const T5Tokenizer tokenizer = T5Tokenizer::from_pieces(pieces, "file.gguf");
  EXPECT_EQ(tokenizer.encode("a x<mine> <pad>", 9).ids, (std::vector<int32_t>{4, 3, 0, 5, 6, 2, 6, 6, 6}));
  EXPECT_EQ(tokenizer.vocabulary_size(), 7);
}

TEST(T5FromPieces, RefusesBadVocabularies) {
  const auto refuse = [](const char* fragment, const std::function<void(T5Pieces&)>& spoil) {
    T5Pieces pieces = small_pieces();
    spoil(pieces);
    expect_error(ErrorCode::kModel, fragment, [&] { T5Tokenizer::from_pieces(pieces, "file.gguf"); });
  };
  refuse("file.gguf: 7 tokens, 6 scores and 7 types", [](T5Pieces& p) { p.scores.pop_back(); });
  refuse("7 tokens, 7 scores and 8 types", [](T5Pieces& p) { p.token_type.push_back(1); });
  refuse("0 tokens", [](T5Pieces& p) { p = T5Pieces(); });
  refuse("expected as many of each, 1 to 1048576", [](T5Pieces& p) {
    p.tokens.resize((1 << 20) + 1);
    p.scores.resize(p.tokens.size());
    p.token_type.resize(p.tokens.size(), 5);
  });
  refuse("add_space_prefix is false", [](T5Pieces& p) { p.add_space_prefix = false; });
  for (const int32_t type : {0, 6, 7, -1, INT32_MAX, INT32_MIN}) {
    refuse("token 3 has the type", [&](T5Pieces& p) { p.token_type[3] = type; });
  }
  refuse("token 4, '\\xff', is not valid UTF-8", [](T5Pieces& p) { p.tokens[4] = "\xff"; });
  refuse("token 4 is of the unknown type", [](T5Pieces& p) { p.token_type[4] = 2; });
  for (const int32_t id : {-1, 7, 5, INT32_MAX, INT32_MIN}) {
    refuse("the end token has the id", [&](T5Pieces& p) { p.eos = id; });
    refuse("the padding token has the id", [&](T5Pieces& p) { p.padding = id; });
    refuse("unknown token", [&](T5Pieces& p) { p.unknown = id; });
  }
  refuse("the unknown token has the id 2", [](T5Pieces& p) { p.token_type[2] = 5; });
  refuse("'<pad>' occurs twice", [](T5Pieces& p) { p.tokens[4] = "<pad>"; });
  refuse("piece 4 has 0 bytes", [](T5Pieces& p) { p.tokens[4].clear(); });
  refuse("piece 4 has 1025 bytes", [](T5Pieces& p) { p.tokens[4].assign(1025, 'a'); });
  refuse("the score of piece 3 is not finite", [](T5Pieces& p) { p.scores[3] = p.scores[6]; });
  refuse("the character map", [](T5Pieces& p) { p.precompiled_charsmap = "abc"; });
}

}  // namespace
}  // namespace darkroom
