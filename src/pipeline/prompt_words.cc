#include "pipeline/prompt_words.h"

#include <set>

#include "base/utf8.h"
#include "text/unicode.h"

namespace darkroom {
namespace {

bool is_apostrophe(char32_t code) { return code == U'\'' || code == U'’'; }

}  // namespace

std::vector<std::string> words_of(std::string_view text) {
  std::vector<std::string> words;
  std::u32string word;
  const auto finish = [&] {
    while (!word.empty() && is_apostrophe(word.back())) word.pop_back();
    if (!word.empty()) words.push_back(to_utf8(word));
    word.clear();
  };
  for (std::size_t at = 0; at < text.size();) {
    const char32_t code = next_code_point(text, at);
    if (is_word(code) || (is_apostrophe(code) && !word.empty())) {
      append_lower(word, code);
    } else {
      finish();
    }
  }
  finish();
  return words;
}

std::vector<std::string> unknown_words(std::string_view text, std::span<const std::string> known) {
  std::set<std::string> seen;
  for (const std::string& entry : known) {
    for (std::string& word : words_of(entry)) seen.insert(std::move(word));
  }
  std::vector<std::string> unknown;
  for (std::string& word : words_of(text)) {
    if (seen.insert(word).second) unknown.push_back(std::move(word));
  }
  return unknown;
}

}  // namespace darkroom
