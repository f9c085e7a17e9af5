// Pictures with true and with wrong captions, clean and spoiled, and pictures as only a failing
// model would draw them.
#include <gtest/gtest.h>

#include <algorithm>

#include "base/expect_error.h"
#include "grader/judge.h"
#include "grader/scene.h"
#include "image/png.h"

namespace darkroom::grader {
namespace {

// The claims that fail, e.g. "count 1 seen as 2; kind star seen as unclear".
std::string failures(const Verdict& verdict) {
  std::string out;
  for (const Judgement& claim : verdict.claims) {
    if (claim.holds) continue;
    if (!out.empty()) out += "; ";
    out += std::string(name_of(claim.type)) + " " + claim.expected + " seen as " + claim.seen;
  }
  return out;
}

std::string failures(const std::string& caption, const Image& image) {
  return failures(judge(parse_caption(caption, "x"), look_at(image, "x")));
}

template <typename Named>
Named next(Named value, std::size_t count) {
  return static_cast<Named>((static_cast<std::size_t>(value) + 1) % count);
}

// The caption with one claim made wrong, for each claim that it has.
std::vector<std::pair<ClaimType, Caption>> wrong_captions(const Caption& right) {
  std::vector<std::pair<ClaimType, Caption>> out;
  const auto change = [&](ClaimType type, const auto& edit) { edit(out.emplace_back(type, right).second); };
  const auto is_used = [&](Colour c) {
    return c == right.background ||
           std::ranges::any_of(right.shapes, [c](const ShapeClaim& s) { return s.colour == c; });
  };
  const auto unused = [&](Colour colour) {
    do colour = next(colour, kColours);
    while (is_used(colour));
    return colour;
  };
  change(ClaimType::kBackground, [&](Caption& c) { c.background = unused(c.background); });
  for (std::size_t i = 0; i < right.shapes.size(); ++i) {
    change(ClaimType::kColour, [&](Caption& c) { c.shapes[i].colour = unused(c.shapes[i].colour); });
    change(ClaimType::kKind, [&](Caption& c) { c.shapes[i].kind = next(c.shapes[i].kind, kKinds); });
  }
  if (right.shapes[0].size) {
    const Size other = *right.shapes[0].size == Size::kSmall ? Size::kLarge : Size::kSmall;
    change(ClaimType::kSize, [&](Caption& c) { c.shapes[0].size = other; });
  }
  if (right.shapes[0].place) {
    change(ClaimType::kPlace, [&](Caption& c) { c.shapes[0].place = next(*c.shapes[0].place, 4); });
  }
  if (!right.relation) {
    change(ClaimType::kCount, [](Caption& c) {
      c.relation = Relation::kNextTo;
      c.shapes = {c.shapes[0], c.shapes[0]};
    });
    return out;
  }
  change(ClaimType::kCount, [](Caption& c) {
    c.relation = std::nullopt;
    c.shapes.pop_back();
  });
  change(ClaimType::kRelation, [](Caption& c) {
    c.relation = c.relation == Relation::kAbove ? Relation::kNextTo : Relation::kAbove;
  });
  const bool same =
      right.shapes[0].kind == right.shapes[1].kind && right.shapes[0].colour == right.shapes[1].colour;
  if (right.relation != Relation::kNextTo && !same) {
    change(ClaimType::kRelation, [](Caption& c) { std::swap(c.shapes[0], c.shapes[1]); });
  }
  return out;
}

bool fails(const Verdict& verdict, ClaimType type) {
  return std::ranges::any_of(verdict.claims,
                             [type](const Judgement& c) { return c.type == type && !c.holds; });
}

// All claims of all fixtures hold, and no wrong caption gets through; of those for one shape only the
// wrong claim fails.
void check_fixtures(const Spoiling& how) {
  int wrong = 0;
  for (const auto& [name, text] : fixture_captions()) {
    SCOPED_TRACE(name + ": " + text);
    const Found found = look_at(spoiled(read_png(kFixtures + name), how), name);
    const Caption right = parse_caption(text, name);
    EXPECT_EQ(failures(judge(right, found)), "");
    EXPECT_EQ(found.noise_area, 0.0);
    for (const auto& [type, caption] : wrong_captions(right)) {
      SCOPED_TRACE(to_text(caption));
      const Verdict verdict = judge(caption, found);
      EXPECT_TRUE(fails(verdict, type)) << failures(verdict);
      const bool alone = right.shapes.size() == 1 && type != ClaimType::kCount;
      if (alone) {
        EXPECT_EQ(std::ranges::count(verdict.claims, false, &Judgement::holds), 1) << failures(verdict);
      }
      ++wrong;
    }
  }
  EXPECT_GT(wrong, 200);
}

TEST(Grader, Fixtures) { check_fixtures({}); }
TEST(Grader, SoftAndNoisyFixtures) { check_fixtures({.blur = 1.0, .noise = 4.0, .seed = 2}); }
TEST(Grader, SoftAndTintedFixtures) {
  check_fixtures({.blur = 1.4, .noise = 6.0, .add = {12, 4, 0}, .seed = 3});
}

const Rgb kRed = rgb_of(Colour::kRed), kBlue = rgb_of(Colour::kBlue), kGreyRgb = rgb_of(Colour::kGrey),
          kBlack = rgb_of(Colour::kBlack), kWhite = rgb_of(Colour::kWhite);

TEST(Grader, CentreAndRadiusAreFound) {
  for (std::size_t k = 0; k < kKinds; ++k) {
    const Painted shape = {static_cast<Kind>(k), kRed, 0.42, 0.55, 0.21};
    Image image = blank(160, 128, kWhite);
    paint(image, shape);
    const Found found = look_at(image, "x");
    ASSERT_EQ(found.shapes.size(), 1u);
    const FoundShape& seen = found.shapes[0];
    EXPECT_EQ(seen.kind, shape.kind);
    EXPECT_NEAR(seen.x, shape.x, 0.01) << name_of(shape.kind);
    EXPECT_NEAR(seen.y, shape.y, 0.01) << name_of(shape.kind);
    EXPECT_NEAR(seen.radius, shape.radius, 0.01) << name_of(shape.kind);
    EXPECT_GT(seen.fit.overlap, 0.95) << name_of(shape.kind);
    EXPECT_GT(seen.confidence, 0.5) << name_of(shape.kind);
  }
}

TEST(Grader, NothingToSee) {
  EXPECT_EQ(failures("a red circle on a white background", blank(64, 64, kWhite)),
            "count 1 seen as 0; colour red seen as nothing; kind circle seen as nothing");
  EXPECT_EQ(failures("a red star above a blue ring on a grey background", blank(64, 64, kGreyRgb)),
            "count 2 seen as 0; colour red seen as nothing; colour blue seen as nothing; kind star seen as "
            "nothing; "
            "kind ring seen as nothing; relation above seen as nothing");
}

TEST(Grader, OneOfTwo) {
  Image image = blank(128, 128, kWhite);
  paint(image, {Kind::kRing, kBlue, 0.5, 0.26, 0.17});
  EXPECT_EQ(failures("a red star above a blue ring on a white background", image),
            "count 2 seen as 1; colour red seen as nothing; kind star seen as nothing; relation above seen "
            "as nothing");
}

TEST(Grader, OneTooMany) {
  Image image = blank(128, 128, kWhite);
  paint(image, {Kind::kCircle, kRed, 0.5, 0.5, 0.2});
  paint(image, {Kind::kCircle, kRed, 0.1, 0.1, 0.06});
  EXPECT_EQ(failures("a red circle on a white background", image), "count 1 seen as 2");
}

TEST(Grader, EqualShapesOfAPair) {
  Image image = blank(192, 128, kWhite);
  paint(image, {Kind::kStar, kRed, 0.26, 0.5, 0.16});
  paint(image, {Kind::kStar, kRed, 0.74, 0.45, 0.17});
  EXPECT_EQ(failures("a red star left of a red star on a white background", image), "");
  EXPECT_EQ(failures("a red star next to a red star on a white background", image), "");
  EXPECT_NE(failures("a red star above a red star on a white background", image), "");
  EXPECT_EQ(failures("a red star left of a blue star on a white background", image),
            "colour blue seen as red");
}

TEST(Grader, PairsInTheWrongOrder) {
  Image image = blank(128, 128, kWhite);
  paint(image, {Kind::kStar, kRed, 0.5, 0.26, 0.17});
  paint(image, {Kind::kRing, kBlue, 0.5, 0.74, 0.17});
  EXPECT_EQ(failures("a red star above a blue ring on a white background", image), "");
  EXPECT_EQ(failures("a blue ring above a red star on a white background", image),
            "relation above seen as below");
  EXPECT_EQ(failures("a red star left of a blue ring on a white background", image),
            "relation left of seen as above");
}

TEST(Grader, ColoursThatWentToTheOtherShape) {
  Image image = blank(128, 128, kWhite);
  paint(image, {Kind::kStar, kBlue, 0.26, 0.5, 0.17});
  paint(image, {Kind::kRing, kRed, 0.74, 0.5, 0.17});
  EXPECT_EQ(failures("a red star left of a blue ring on a white background", image),
            "colour red seen as blue; colour blue seen as red");
}

TEST(Grader, SpecksAndLinesAreNoise) {
  Image image = blank(128, 128, kWhite);
  paint(image, {Kind::kCircle, kRed, 0.5, 0.5, 0.2});
  fill_box(image, 5, 5, 4, 4, kBlack);
  fill_box(image, 10, 110, 100, 2, kBlue);
  EXPECT_EQ(failures("a red circle on a white background", image), "");
  const Found found = look_at(image, "x");
  EXPECT_EQ(found.noise_pieces, 2);
  EXPECT_NEAR(found.noise_area, 216.0 / (128 * 128), 1e-9);
}

TEST(Grader, HalosAreNoShapes) {
  Image image = blank(128, 128, kWhite);
  paint(image, {Kind::kCircle, rgb_of(Colour::kYellow), 0.5, 0.5, 0.22});  // a rim of two pixels
  paint(image, {Kind::kCircle, kRed, 0.5, 0.5, 0.204});
  EXPECT_EQ(failures("a red circle on a white background", image), "");
}

TEST(Grader, FaintPatchesAreNoShapes) {
  Image image = blank(128, 128, kGreyRgb);
  paint(image, {Kind::kCircle, {170, 160, 150}, 0.75, 0.25, 0.1});  // alone, 57 from the background
  paint(image,
        {Kind::kSquare, {70, 120, 160}, 0.5, 0.68, 0.08});  // beside the shape, 66 and a tenth of its area
  paint(image, {Kind::kCircle, kRed, 0.5, 0.5, 0.2});
  EXPECT_EQ(failures("a red circle on a grey background", image), "");
  EXPECT_GE(look_at(image, "x").noise_pieces, 2);
}

TEST(Grader, TwoColoursAreTwoShapes) {
  Image image = blank(128, 128, kWhite);
  paint(image, {Kind::kSquare, kRed, 0.5, 0.5, 0.22});
  fill_box(image, 64, 40, 24, 48, kBlue);
  EXPECT_NE(failures("a red square on a white background", image).find("count 1 seen as 2"),
            std::string::npos);
  // A mixture of shape and background is told from a soft edge by its size.
  Image grey = blank(128, 128, kWhite);
  paint(grey, {Kind::kSquare, kBlack, 0.5, 0.5, 0.22});
  fill_box(grey, 64, 40, 24, 48, kGreyRgb);
  EXPECT_NE(failures("a black square on a white background", grey).find("count 1 seen as 2"),
            std::string::npos);
}

TEST(Grader, TouchingShapesOfDifferentColours) {
  Image image = blank(128, 128, kWhite);
  paint(image, {Kind::kSquare, kBlack, 0.29, 0.5, 0.185});
  paint(image, {Kind::kCircle, kGreyRgb, 0.63, 0.5, 0.185});
  EXPECT_EQ(failures("a black square left of a grey circle on a white background",
                     spoiled(image, {.blur = 1.0, .noise = 3.0})),
            "");
}

TEST(Grader, FilledRingsAreNoRings) {
  Image image = blank(128, 128, kWhite);
  paint(image, {Kind::kCircle, kRed, 0.5, 0.5, 0.2});
  paint(image, {Kind::kCircle, kBlue, 0.5, 0.5, 0.11});
  EXPECT_NE(failures("a red ring on a white background", image).find("count 1 seen as 2"), std::string::npos);
}

TEST(Grader, WhatIsLikeNothingIsUnclear) {
  Image image = blank(128, 128, kWhite);
  fill_box(image, 10, 60, 100, 8, kRed);  // a beam
  EXPECT_EQ(failures("a red square on a white background", image), "kind square seen as unclear");
  Image mixed = blank(128, 128, {75, 190, 130});
  EXPECT_FALSE(look_at(mixed, "x").background);
}

TEST(Grader, ShapesCutByTheBorderKeepTheirSize) {
  Image image = blank(128, 128, kWhite);
  paint(image, {Kind::kDiamond, kRed, 0.36, 0.5, 0.335});  // the corner is outside
  EXPECT_EQ(failures("a large red diamond on the left on a white background", image), "");
  EXPECT_NEAR(look_at(image, "x").shapes[0].radius, 0.335, 0.01);
}

TEST(Grader, PicturesOutsideTheLimits) {
  expect_error(ErrorCode::kFailure, "x.png: 31 x 500 pixels", [] { look_at(blank(31, 500, kRed), "x.png"); });
  expect_error(ErrorCode::kFailure, "at most 4194304", [] { look_at(blank(2049, 2048, kRed), "x.png"); });
}

TEST(Grader, PureNoiseIsGraded) {
  for (uint32_t seed = 1; seed <= 5; ++seed) {
    const Image image =
        spoiled(blank(96, 64, {128, 128, 128}), {.blur = 0.3 * seed, .noise = 90.0, .seed = seed});
    EXPECT_NE(failures("a red circle on a white background", image), "");
    EXPECT_LE(look_at(image, "x").shapes.size(), 16u);
  }
}

}  // namespace
}  // namespace darkroom::grader
