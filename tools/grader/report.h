// Grades as JSON: one picture's, and the figures over many.
//
// Called by the program; tools/pinhole/check_grader.py and quality studies read what it prints.
#pragma once

#include <array>
#include <map>
#include <nlohmann/json_fwd.hpp>
#include <string>

#include "grader/judge.h"

namespace darkroom::grader {

struct Grade {
  std::string caption = {};  // as given
  Caption claims = {};
  Found found = {};
  Verdict verdict = {};
};

// {"caption", "holds", "claims": [{"claim", "shape" (1 or 2, where it is about one), "expected", "seen",
// "holds"}],
//  "width", "height", "background": {"colour", "rgb"},
//  "shapes": [{"kind", "colour", "rgb", "x", "y", "radius", "area", "outline_error", "confidence", "overlap",
//  "runner_up",
//              "runner_up_overlap"}],
//  "noise": {"pieces", "area"}}
// Units are those of look.h. A kind or colour that is none of the world's is "unclear"; "overlap" then tells
// of the nearest kind.
nlohmann::ordered_json to_json(const Grade& grade);

// Counts verdicts.
class Summary {
 public:
  void add(const Grade& grade);

  // {"pictures", "all_right": SHARE, "single": SHARE, "pair": SHARE, "claims": {TYPE: SHARE},
  //  "confusion": {TYPE: {EXPECTED: {SEEN: pictures}}}} with SHARE = {"of", "right", "share" (null of none)}.
  //  A picture
  // is right when all claims of its caption hold. Relations, places and sizes are counted where they are
  // claimed.
  nlohmann::ordered_json json() const;

 private:
  struct Share {
    int of = 0, right = 0;
    void add(bool holds) { ++of, right += holds; }
    nlohmann::ordered_json json() const;
  };
  Share single_, pair_;
  std::array<Share, kClaimTypeNames.size()> claims_ = {};
  std::array<std::map<std::string, std::map<std::string, int>>, kClaimTypeNames.size()> confusion_ = {};
};

}  // namespace darkroom::grader
