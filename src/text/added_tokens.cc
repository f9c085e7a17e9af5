#include "text/added_tokens.h"

#include <algorithm>
#include <set>

#include "base/error.h"
#include "base/printable.h"
#include "base/utf8.h"
#include "text/unicode.h"

namespace darkroom {

namespace {

constexpr std::size_t kMaxContentBytes = 1024;  // bounds the time per byte of the prompt

// The start of the code point that ends before `at`, which is not 0.
std::size_t previous_start(std::string_view text, std::size_t at) {
  do --at;
  while (at > 0 && (static_cast<unsigned char>(text[at]) & 0xC0) == 0x80);
  return at;
}

bool stands_alone(std::string_view text, std::size_t begin, std::size_t end) {
  if (begin > 0) {
    std::size_t at = previous_start(text, begin);
    if (is_word(next_code_point(text, at))) return false;
  }
  return end == text.size() || !is_word(next_code_point(text, end));
}

// First byte of the white space that ends at `at`, not before `stop`.
std::size_t space_before(std::string_view text, std::size_t at, std::size_t stop) {
  while (at > stop) {
    const std::size_t start = previous_start(text, at);
    std::size_t next = start;
    if (!is_space(next_code_point(text, next))) break;
    at = start;
  }
  return std::max(at, stop);
}

std::size_t space_after(std::string_view text, std::size_t at) {
  while (at < text.size()) {
    std::size_t next = at;
    if (!is_space(next_code_point(text, next))) break;
    at = next;
  }
  return at;
}

}  // namespace

AddedTokenFinder::AddedTokenFinder(std::vector<AddedToken> tokens, const std::string& where)
    : tokens_(std::move(tokens)) {
  std::vector<PieceTrie::Entry> entries;
  std::set<std::string_view> seen;
  for (const AddedToken& token : tokens_) {
    require(!token.content.empty() && token.content.size() <= kMaxContentBytes, ErrorCode::kModel,
            "{}: an added token has {} bytes, expected 1 to {}", where, token.content.size(),
            kMaxContentBytes);
    require(is_valid_utf8(token.content), ErrorCode::kModel, "{}: the added token '{}' is not valid UTF-8",
            where, printable(token.content, 40));
    require(seen.insert(token.content).second, ErrorCode::kModel, "{}: the added token '{}' occurs twice",
            where, printable(token.content, 40));
    entries.push_back({token.content, static_cast<int32_t>(entries.size())});
  }
  trie_ = PieceTrie(std::move(entries));
}

AddedTokenFinder::Match AddedTokenFinder::next_match(std::string_view text, State& state) const {
  while (state.scan < text.size()) {
    const std::size_t begin = state.scan;
    std::size_t length = 0;
    int32_t index = -1;
    trie_.for_each_prefix(text.substr(begin), [&](std::size_t found_length, int32_t found) {
      length = found_length;
      index = found;
    });
    if (index < 0) {
      ++state.scan;
      continue;
    }
    state.scan = begin + length;  // what a token covers is not looked at again, even when it is refused below
    const AddedToken& token = tokens_[static_cast<std::size_t>(index)];
    Match match{&token, begin, begin + length};
    if (token.single_word && !stands_alone(text, match.begin, match.end)) continue;
    // The previous token may have swallowed this one's beginning; the reference hands it out all the same.
    if (token.lstrip) match.begin = std::max(space_before(text, match.begin, state.done), state.done);
    if (token.rstrip) {
      if (match.end >= state.space_end) state.space_end = space_after(text, match.end);
      match.end = std::max(match.end, state.space_end);
    }
    return match;
  }
  return {};
}

}  // namespace darkroom
