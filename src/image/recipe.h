// What a picture was made from, and how it travels inside the picture's PNG.
//
// Two texts are written: `parameters`, the text that AUTOMATIC1111 introduced and most programs read, and
// `darkroom`, JSON that keeps every value exactly. No text holds a file path: a model is named by its last
// component. Not the request itself, which the pipeline validates; values read here come from a stranger's
// file and are only bounded. Reading it from a picture, of darkroom or of others, is found_recipe.h.
#pragma once

#include <cstdint>
#include <filesystem>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "image/png.h"
#include "options/request.h"

namespace darkroom {

// A request with every value that was decided, and what came of it. What is as in a Request that says nothing
// is not stated. Of files only the last components are kept; a count above 1 and columns are those of a
// contact sheet, whose seeds are seed, seed + 1, ...; a picture by itself states none.
struct Recipe : Request {
  int passes = 0;           // with a cache: forward passes of the transformer,
  int skipped_passes = 0;   // and those in which it left blocks out
  std::string model = {};   // last component of its path
  std::string engine = {};  // program and version, such as "darkroom 0.1.0"

  bool operator==(const Recipe&) const = default;
};

// prompt with its LoRAs as <lora:NAME:0.8>, "Negative prompt: ..." and one line "Steps: 4, Sampler: Euler, ..." with values quoted
// where needed. Prompts lose what this format cannot hold: blanks around lines, and a line that
// begins with "Negative prompt:".
std::string to_a1111_text(const Recipe& recipe);

// One line of ASCII JSON. from_json(to_json(r)) == r for valid UTF-8 and finite numbers.
std::string to_json(const Recipe& recipe);

// Errors: kFailure, `where` in front, for anything but such an object: bad JSON, types,
// ranges, a newer format.
Recipe from_json(std::string_view text, const std::string& where);

// The two texts to write into a PNG.
std::vector<PngText> recipe_texts(const Recipe& recipe);

// The last component of a path in either spelling: "a/b" and "C:\a\b\" give "b". Empty for none.
std::string base_name(std::string_view path);

}  // namespace darkroom
