#include "grader/caption.h"

#include <gtest/gtest.h>

#include <regex>

#include "base/expect_error.h"
#include "grader/scene.h"

namespace darkroom::grader {
namespace {

TEST(GraderCaption, Single) {
  const Caption plain = parse_caption("a red circle on a white background", "x");
  ASSERT_EQ(plain.shapes.size(), 1u);
  EXPECT_EQ(plain.shapes[0].colour, Colour::kRed);
  EXPECT_EQ(plain.shapes[0].kind, Kind::kCircle);
  EXPECT_FALSE(plain.shapes[0].size || plain.shapes[0].place || plain.relation);
  EXPECT_EQ(plain.background, Colour::kWhite);

  const Caption full = parse_caption("a small grey heart at the bottom on an orange background", "x");
  EXPECT_EQ(full.shapes[0].size, Size::kSmall);
  EXPECT_EQ(full.shapes[0].place, Place::kBottom);
  EXPECT_EQ(full.background, Colour::kOrange);
}

TEST(GraderCaption, Pair) {
  const Caption pair = parse_caption("an orange star next to a cyan ring on a black background", "x");
  ASSERT_EQ(pair.shapes.size(), 2u);
  EXPECT_EQ(pair.shapes[0].kind, Kind::kStar);
  EXPECT_EQ(pair.shapes[1].colour, Colour::kCyan);
  EXPECT_EQ(pair.relation, Relation::kNextTo);
  EXPECT_EQ(parse_caption("a red star left of a red star on a black background", "x").relation,
            Relation::kLeftOf);
  EXPECT_EQ(parse_caption("a red star above a pink star on a black background", "x").relation,
            Relation::kAbove);
}

TEST(GraderCaption, SpellingIsFree) {
  const std::string meant = "a large grey star at the top on a green background";
  for (const char* text : {"A Large GRAY Star at the Top on a Green Background.",
                           "  a large\tgray star at the top\n"
                           "on an green background ",
                           "an large grey star at the top on a green background ."}) {
    EXPECT_EQ(to_text(parse_caption(text, "x")), meant) << text;
  }
}

TEST(GraderCaption, TextsOfCaptionsMeanTheSame) {
  for (const auto& [name, text] : fixture_captions()) {
    const std::string plain = std::regex_replace(text, std::regex("\\ban\\b"), "a");
    EXPECT_EQ(to_text(parse_caption(text, name)), plain);
    EXPECT_EQ(to_text(parse_caption(plain, name)), plain);
  }
}

TEST(GraderCaption, WhatIsWrongIsNamed) {
  const std::pair<std::string, std::string> cases[] = {
      {"", "file.png: the caption ends where 'a' or 'an' should follow"},
      {"red circle on a white background", "word 1 of the caption is 'red', expected 'a' or 'an'"},
      {"a circle on a white background", "word 2 of the caption is 'circle', expected a colour"},
      {"a red on a white background", "word 3 of the caption is 'on', expected a shape"},
      {"a red pentagon on a white background", "'pentagon', expected a shape"},
      {"a medium red circle on a white background", "'medium', expected a colour"},
      {"a red circle", "ends where 'on' should follow"},
      {"a red circle on a white", "ends where 'background' should follow"},
      {"a red circle on the white background", "word 5 of the caption is 'the', expected 'a' or 'an'"},
      {"a red circle on the left", "ends where 'on' should follow"},
      {"a red circle at the left on a white background", "word 4 of the caption is 'at', expected 'on'"},
      {"a red circle on a white background, painted", "'background,', expected 'background'"},
      {"a red circle on a white background now", "word 8 of the caption is 'now', expected the end"},
      {"a red circle below a blue star on a white background", "'below', expected 'on'"},
      {"a small red circle above a blue star on a white background", "'above', expected 'on'"},
      {"a red circle above a small star on a white background", "'small', expected a colour"},
      {"a red circle above a blue star at the top on a white background", "'at', expected 'on'"},
      {"a red circle on a red background", "a red circle cannot be seen on a red background"},
      {"a red circle above a blue star on a blue background", "a blue star cannot be seen"},
  };
  for (const auto& [text, part] : cases) {
    SCOPED_TRACE(text);
    expect_error(ErrorCode::kUsage, part, [&, &text = text] { parse_caption(text, "file.png"); });
  }
}

TEST(GraderCaption, HostileTexts) {
  expect_error(ErrorCode::kUsage, "a caption of 5000 bytes",
               [] { parse_caption(std::string(5000, 'a'), "x"); });
  expect_error(ErrorCode::kUsage, "\\x1b[31m", [] { parse_caption("a \x1b[31m", "x"); });
  expect_error(ErrorCode::kUsage, "\\xff", [] { parse_caption("a \xff\xfe", "x"); });
  expect_error(ErrorCode::kUsage, "\\x00", [] { parse_caption(std::string("a red\0circle", 12), "x"); });
  expect_error(ErrorCode::kUsage, "'..', expected", [] { parse_caption("...", "x"); });
}

}  // namespace
}  // namespace darkroom::grader
