#include "text/added_tokens.h"

#include <gtest/gtest.h>

#include <string>
#include <vector>

#include "base/expect_error.h"

namespace darkroom {
namespace {

// The pieces, as "(text)" for text and "<text=id>" for tokens.
std::string pieces(const AddedTokenFinder& finder, std::string_view text) {
  std::string out;
  finder.for_each_piece(text, [&](const AddedTokenFinder::Piece& piece) {
    out += piece.id < 0 ? fmt::format("({})", piece.text) : fmt::format("<{}={}>", piece.text, piece.id);
    return true;
  });
  return out;
}

TEST(AddedTokens, TakesTheLeftmostLongest) {
  const AddedTokenFinder finder(
      {{.content = "ab", .id = 1}, {.content = "abc", .id = 2}, {.content = "bcd", .id = 3}}, "test");
  EXPECT_EQ(pieces(finder, "xabcd"), "(x)<abc=2>(d)");
  EXPECT_EQ(pieces(finder, "abbcdab"), "<ab=1><bcd=3><ab=1>");
  EXPECT_EQ(pieces(finder, ""), "");
  EXPECT_EQ(pieces(AddedTokenFinder(), "abc"), "(abc)");
}

TEST(AddedTokens, StripsWhiteSpace) {
  const AddedTokenFinder finder(
      {{.content = "L", .id = 1, .lstrip = true}, {.content = "R", .id = 2, .rstrip = true}}, "test");
  EXPECT_EQ(pieces(finder, "a \n\u3000L b"), "(a)< \n\u3000L=1>( b)");
  EXPECT_EQ(pieces(finder, "a R \n\u3000b"), "(a )<R \n\u3000=2>(b)");
  EXPECT_EQ(pieces(finder, "R  L"), "<R  =2><L=1>");  // the first one has the space
}

TEST(AddedTokens, FindsWholeWords) {
  const AddedTokenFinder finder({{.content = "w", .id = 1, .single_word = true}}, "test");
  EXPECT_EQ(pieces(finder, "w-w"), "<w=1>(-)<w=1>");
  EXPECT_EQ(pieces(finder, "aw"), "(aw)");
  EXPECT_EQ(pieces(finder, "w\u0301 w\u00e9 \u00e9w"), "(w\u0301 w\u00e9 \u00e9w)");
}

TEST(AddedTokens, StopsWhenTold) {
  const AddedTokenFinder finder({{.content = "b", .id = 1}}, "test");
  int count = 0;
  EXPECT_FALSE(finder.for_each_piece("abab", [&](const auto&) { return ++count < 2; }));
  EXPECT_EQ(count, 2);
}

TEST(AddedTokens, WalksLongSpaceOnce) {
  const AddedTokenFinder finder({{.content = " ", .id = 1, .lstrip = true, .rstrip = true}}, "test");
  int64_t count = 0;
  finder.for_each_piece(std::string(200'000, ' '), [&](const auto&) { return ++count > 0; });
  EXPECT_EQ(count, 200'000);
}

TEST(AddedTokens, RefusesBadContents) {
  const auto refuse = [](std::vector<AddedToken> tokens, const std::string& fragment) {
    expect_error(ErrorCode::kModel, fragment, [&] { AddedTokenFinder(std::move(tokens), "file.json"); });
  };
  refuse({{.content = ""}}, "file.json: an added token has 0 bytes");
  refuse({{.content = std::string(1025, 'a')}}, "1025");
  refuse({{.content = "a"}, {.content = "a"}}, "occurs twice");
}

}  // namespace
}  // namespace darkroom
