// Which claims of a caption hold in a picture.
//
// Compares a Caption (caption.h) with what was seen (look.h). Only what the caption says is judged: a shape
// without a size or place in the caption may have any. Called by the program and the tests.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "grader/caption.h"
#include "grader/look.h"

namespace darkroom::grader {

enum class ClaimType { kBackground, kCount, kColour, kKind, kSize, kPlace, kRelation };
inline constexpr std::array<std::string_view, 7> kClaimTypeNames = {"background", "count", "colour",  "kind",
                                                                    "size",       "place", "relation"};
inline std::string_view name_of(ClaimType type) { return kClaimTypeNames[static_cast<std::size_t>(type)]; }

struct Judgement {
  ClaimType type = ClaimType::kBackground;
  int shape = -1;             // of the caption, from 0; -1 for claims about the whole picture
  std::string expected = {};  // in the caption's words
  std::string seen =
      {};  // in the same words; "nothing" for a shape that is missing, "unclear" for what is neither
  bool holds = false;
};

struct Verdict {
  std::vector<Judgement> claims = {};    // in the order of ClaimType, of equal ones the first shape first
  std::vector<int> shape_of_claim = {};  // for each shape of the caption its index in Found::shapes, or -1
  bool holds = false;                    // all of them
};

// Each shape of the caption is taken for another of the picture, in the way that makes the most claims hold;
// of equal ones for the larger shapes.
Verdict judge(const Caption& caption, const Found& found);

}  // namespace darkroom::grader
