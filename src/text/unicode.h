// The Unicode properties that decide token boundaries, as the reference tokenizers see them. Not complete:
// only what the two tokenizers ask for. Called by the tokenizers.
//
// Based on utf8proc (Unicode 15.0 in Debian 12). The reference mixes four Unicode versions, one per library
// that it is made of; the differences that matter are listed in unicode.cc.
#pragma once

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

// Finds the extended grapheme clusters of a text, in order: starts_cluster() is asked for every code point
// once and says whether a cluster begins there.
class ClusterFinder {
 public:
  bool starts_cluster(char32_t code);

 private:
  bool first_ = true;
  char32_t previous_ = 0;
  int state_ = 0;
};

}  // namespace darkroom
