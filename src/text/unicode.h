// The Unicode properties that decide token boundaries, as the reference tokenizers see them. Not complete:
// only what the two tokenizers ask for.
//
// The reference mixes several Unicode versions, one per library that it is made of. The tables have the same:
// see tools/unicode/make_tables.py, which makes them from one version of the Unicode Character Database.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

namespace darkroom {

bool is_letter(char32_t code);  // \p{L}
bool is_number(char32_t code);  // \p{N}
bool is_space(char32_t code);   // White_Space: \s, and what T5 splits at
bool is_word(char32_t code);    // \w: letters, marks, decimal digits, connectors, joiners

// Appends the lower case of one code point without regard to its neighbours: a final sigma stays U+03C3, and
// U+0130 becomes two code points.
void append_lower(std::u32string& out, char32_t code);

// Canonical composition, NFC. Time is n log n even for endless runs of combining marks.
std::u32string nfc(std::u32string codes);

// Values of Grapheme_Cluster_Break, and Extended_Pictographic. Hangul syllables are left to arithmetic.
enum class ClusterKind : uint8_t {
  kOther,
  kControl,
  kCR,
  kLF,
  kExtend,
  kPrepend,
  kSpacingMark,
  kL,
  kV,
  kT,
  kLV,
  kLVT,
  kZWJ,
  kRegionalIndicator,
  kExtendedPictographic,
};

// Finds the extended grapheme clusters of a text, in order: starts_cluster() is asked for every code point
// once and says whether a cluster begins there.
class ClusterFinder {
 public:
  bool starts_cluster(char32_t code);

 private:
  enum class State { kOther, kPicture, kPictureAndJoiner };  // of emoji that joiners connect

  bool first_ = true;
  ClusterKind before_ = ClusterKind::kOther;
  bool odd_flag_letters_ = false;  // two regional indicators are one flag
  State state_ = State::kOther;
};

}  // namespace darkroom
