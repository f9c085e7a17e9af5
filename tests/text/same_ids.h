// Two tokenizers that should give the same ids, asked for those of awkward and of random strings.
#pragma once

#include <gtest/gtest.h>

#include <filesystem>
#include <nlohmann/json.hpp>
#include <random>
#include <string>
#include <vector>

#include "base/file_map.h"
#include "base/utf8.h"

namespace darkroom {

inline const std::filesystem::path kSource = DARKROOM_SOURCE_DIR;
inline const std::filesystem::path kFixtures = kSource / "tests/fixtures";
inline const std::filesystem::path kReal = kSource / "../shared/flux1/dev";  // not everywhere

inline std::vector<std::string> awkward_strings() {
  return nlohmann::json::parse(read_text_file(kFixtures / "tokenizers/strings.json", 16 << 20));
}

// Strings that are put together from words, special tokens, white space, characters of all planes and bytes.
class RandomStrings {
 public:
  RandomStrings() {
    for (const std::string& text : awkward_strings()) {
      for (std::size_t at = 0; at < text.size();) {
        const std::size_t end = std::min(text.find(' ', at), text.size());
        words_.push_back(text.substr(at, std::min<std::size_t>(end - at, 40)));
        at = end + 1;
      }
    }
  }

  std::string next() {
    std::string out;
    for (std::size_t parts = 1 + below(8); parts > 0; --parts) append_part(out);
    return out;
  }

 private:
  std::size_t below(std::size_t limit) { return engine_() % limit; }

  void append_part(std::string& out) {
    static constexpr const char* kSpecials[] = {
        "</s>",           "<pad>",         "<unk>",           "<extra_id_7>", "<extra_id_99>",
        "<|endoftext|>",  "<|EndOfText|>", "<|startoftext|>", "\u2581",       "\u2581the",
        "<extra_id_100>", "[PAD32000]",    "\uFF1C/s\uFF1E"};
    static constexpr const char* kSpaces[] = {" ", "  ", "\n", "\t ", "\u00A0", "\u3000", "\u200B", "\u2028"};
    switch (below(8)) {
      case 0:
        out += kSpecials[below(std::size(kSpecials))];
        break;
      case 1:
        out += kSpaces[below(std::size(kSpaces))];
        break;
      case 2:  // any plane; surrogates become bytes that are no UTF-8
        for (std::size_t i = 1 + below(4); i > 0; --i) {
          append_utf8(out, static_cast<char32_t>(below(0x110000)));
        }
        break;
      case 3:  // the scripts up to U+3000, with their marks
        for (std::size_t i = 1 + below(6); i > 0; --i) append_utf8(out, static_cast<char32_t>(below(0x3000)));
        break;
      case 4:
        for (std::size_t i = 1 + below(3); i > 0; --i) out += static_cast<char>(below(256));
        break;
      case 5:
        for (std::size_t i = 1 + below(12); i > 0; --i) out += static_cast<char>(' ' + below(95));
        break;
      default:
        out += words_[below(words_.size())];
        if (below(2) == 0) out += ' ';
    }
  }

  std::mt19937_64 engine_{7};
  std::vector<std::string> words_;
};

template <typename Tokenizer>
void expect_same_ids(const Tokenizer& got, const Tokenizer& want, int random_strings) {
  EXPECT_EQ(got.vocabulary_size(), want.vocabulary_size());
  const auto expect_same = [&](const std::string& text) {
    EXPECT_EQ(got.encode(text, 64).ids, want.encode(text, 64).ids)
        << nlohmann::json(repaired_utf8(text)).dump();
  };
  for (const std::string& text : awkward_strings()) expect_same(text);
  RandomStrings strings;
  for (int i = 0; i < random_strings && !testing::Test::HasFailure(); ++i) expect_same(strings.next());
}

}  // namespace darkroom
