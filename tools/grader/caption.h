// A caption of Pinhole's world as claims about a picture. Parsing only: judging pictures is judge.h.
//
// single  a|an [small|large] COLOUR SHAPE [on the left|on the right|at the top|at the bottom] on a|an COLOUR
// background pair    a|an COLOUR SHAPE (next to|left of|above) a|an COLOUR SHAPE on a|an COLOUR background
//
// In any case, with any blanks between the words, with or without a final dot; "gray" is grey. Captions come
// from a file or a stranger's PNG, so whatever is wrong with one is an Error. Called by the program and the
// tests.
#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "grader/world.h"

namespace darkroom::grader {

struct ShapeClaim {
  Colour colour = Colour::kRed;
  Kind kind = Kind::kCircle;
  std::optional<Size> size = {};    // small or large; nothing is claimed without
  std::optional<Place> place = {};  // any but the middle; nothing is claimed without
};

struct Caption {
  std::vector<ShapeClaim> shapes = {};    // one or two, in the order of the words
  std::optional<Relation> relation = {};  // of the first to the second; exactly when there are two
  Colour background = Colour::kWhite;
};

// Errors: kUsage, `where` in front, naming the first word that does not fit and what would, and for a
// background of a shape's colour, on which that shape could not be seen.
Caption parse_caption(std::string_view text, const std::string& where);

// The caption in the words of the grammar, with "a" throughout.
std::string to_text(const Caption& caption);

}  // namespace darkroom::grader
