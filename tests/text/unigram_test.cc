#include "text/unigram.h"

#include <gtest/gtest.h>

#include <nlohmann/json.hpp>
#include <string>
#include <utility>
#include <vector>

#include "base/expect_error.h"
#include "text/piece_trie.h"

namespace darkroom {
namespace {

using nlohmann::json;
using Ids = std::vector<int32_t>;

// A list of [piece, score]; json's own braces would make it an object.
json list(const std::vector<std::pair<std::string, double>>& pieces) {
  json out = json::array();
  for (const auto& [piece, score] : pieces) out.push_back(json::array({piece, score}));
  return out;
}

Ids encode(const json& vocabulary, const std::string& word, int32_t unknown = 0) {
  Ids ids;
  UnigramModel(vocabulary, unknown, "test").encode(word, ids);
  return ids;
}

TEST(PieceTrie, FindsEveryPrefix) {
  const PieceTrie trie({{"ab", 1}, {"a", 0}, {"abcd", 2}, {"\xff", 3}, {"b", 4}});
  std::vector<std::pair<std::size_t, int32_t>> found;
  trie.for_each_prefix("abcde",
                       [&](std::size_t length, int32_t value) { found.emplace_back(length, value); });
  EXPECT_EQ(found, (std::vector<std::pair<std::size_t, int32_t>>{{1, 0}, {2, 1}, {4, 2}}));
  EXPECT_EQ(trie.find("\xff"), 3);
  EXPECT_EQ(trie.find("abc"), -1);
  EXPECT_EQ(trie.find(""), -1);
  EXPECT_EQ(PieceTrie().find("a"), -1);
}

TEST(Unigram, TakesTheBestSplit) {
  const json vocabulary = list({{"<unk>", 0.0}, {"a", -1.0}, {"b", -1.0}, {"ab", -1.5}, {"abb", -4.0}});
  EXPECT_EQ(encode(vocabulary, "abb"), (Ids{3, 2}));
  EXPECT_EQ(encode(vocabulary, ""), Ids{});
}

TEST(Unigram, KeepsTheFirstOfEqualSplits) {
  // "ab" begins earlier and is found before "b" closes the same span.
  const json vocabulary = list({{"<unk>", 0.0}, {"a", -1.0}, {"b", -1.0}, {"ab", -2.0}});
  EXPECT_EQ(encode(vocabulary, "ab"), (Ids{3}));
}

TEST(Unigram, FusesUnknownCharacters) {
  const json vocabulary = list({{"<unk>", 0.0}, {"a", -1.0}});
  EXPECT_EQ(encode(vocabulary, "\u732b\u732ba\u732b"), (Ids{0, 1, 0}));
  // A run that is itself a piece takes that piece's id: here two unknowns beat the piece, whose score is low.
  const json odd = list({{"<unk>", 100.0}, {"xy", 50.0}, {"z", 49.0}});
  EXPECT_EQ(encode(odd, "xy"), (Ids{1}));
}

TEST(Unigram, RefusesBadVocabularies) {
  const auto refuse = [](const json& vocabulary, const std::string& fragment) {
    expect_error(ErrorCode::kModel, fragment, [&] { UnigramModel(vocabulary, 0, "file.json"); });
  };
  refuse(json::array(), "file.json");
  refuse(json::object(), "list of [piece, score]");
  for (const char* text : {R"([["a"]])", R"([[1, 2]])", R"([["a", "b"]])", R"(["a"])", R"([["a", 1, 2]])"}) {
    refuse(json::parse(text), "piece 0 is not a pair");
  }
  refuse(list({{"", 1.0}}), "has 0 bytes");
  refuse(list({{std::string(1025, 'a'), 1.0}}), "has 1025 bytes");
  refuse(list({{"a", 1.0}, {"b", 1.0}, {"a", 2.0}}), "occurs twice");
  json many = json::array();
  for (int i = 0; i < 5000; ++i)
    many.push_back(json::array({std::to_string(i) + std::string(1000, 'a'), 0.0}));
  refuse(many, "all up to it");
  expect_error(ErrorCode::kModel, "number 2", [] { UnigramModel(list({{"a", 1.0}}), 2, "file.json"); });
}

}  // namespace
}  // namespace darkroom
