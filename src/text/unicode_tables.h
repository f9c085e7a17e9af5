// The tables of unicode_tables.cc, which tools/unicode/make_tables.py makes from the Unicode Character
// Database. All are sorted by their first field. Private to unicode.cc.
#pragma once

#include <cstdint>
#include <span>

#include "text/unicode.h"

namespace darkroom {

struct CodeRange {
  char32_t first, last;
};
// Every `step`-th code point from first to last moves by distance.
struct LowerRule {
  char32_t first, last, step;
  int32_t distance;
};
struct ClassRange {
  char32_t first, last;
  int combining_class;
};
// Canonical, one level: each part may decompose further. Hangul is left to arithmetic.
struct Decomposition {
  char32_t code, first, second;  // second is 0 where there is only one part
};
struct Composition {
  char32_t first, second, both;  // sorted by first and second
};
struct ClusterRange {
  char32_t first, last;
  ClusterKind kind;
};

extern const std::span<const CodeRange> kLetters, kNumbers;
extern const std::span<const CodeRange> kWordsOthers;  // what words are made of besides letters
extern const std::span<const LowerRule> kLowerRules;
extern const std::span<const ClassRange> kCombiningClasses;  // class 0 is left out
extern const std::span<const Decomposition> kDecompositions;
extern const std::span<const Composition> kCompositions;
extern const std::span<const ClusterRange> kClusterKinds;  // kOther is left out

}  // namespace darkroom
