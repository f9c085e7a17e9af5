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

namespace darkroom {

// Zero, an empty text or list, or nothing means: not stated.
struct Recipe {
  std::string prompt = {};    // UTF-8, as all texts here
  std::string negative = {};  // counts when cfg is above 1
  int width = 0;              // pixels
  int height = 0;
  int steps = 0;
  std::optional<double> guidance = {};  // the distilled guidance of dev; schnell has none
  std::optional<double> cfg = {};       // true CFG scale; 1 is off
  std::string guidance_schedule = {};   // as --guidance-schedule, with scales instead of a file
  std::string guidance_interval = {};   // as --guidance-interval
  std::string cfg_method = {};          // as --cfg-method
  std::string threshold = {};           // as --threshold
  std::string cache = {};               // as --cache, unless off
  int passes = 0;                       // with a cache: forward passes of the transformer,
  int skipped_passes = 0;               // and those in which it left blocks out
  std::optional<uint64_t> seed = {};
  std::string sampler = {};         // as --sampler, unless euler
  std::string spacing = {};         // as --spacing, unless simple
  std::vector<double> sigmas = {};  // given by hand instead of steps
  int max_text_tokens = 0;
  std::string precision = {};  // as --precision
  std::string weights = {};    // as --weights, unless as they are stored
  std::string rng = {};        // as --rng: torch-cpu or torch-cuda
  // Last component of the file of initial latents; seed and rng then count for a stochastic sampler and for a
  // picture to start from only.
  std::string noise = {};
  // Last components of the files of the picture it starts from and of the mask; how many of the steps were
  // taken.
  std::string init = {}, mask = {};
  std::optional<double> strength = {};
  int pictures = 0;  // of a contact sheet, with seeds seed, seed + 1, ...; a picture by itself states none
  int columns = 0;   // of a contact sheet
  std::string model = {};   // last component of its path
  std::string engine = {};  // program and version, e.g. "darkroom 0.1.0"

  bool operator==(const Recipe&) const = default;
};

// prompt, "Negative prompt: ..." and one line "Steps: 4, Sampler: Euler, ..." with values quoted where
// needed. Prompts lose what this format cannot hold: blanks around lines, and a line that begins with
// "Negative prompt:".
std::string to_a1111_text(const Recipe& recipe);

// One line of ASCII JSON. from_json(to_json(r)) == r for valid UTF-8 and finite numbers.
std::string to_json(const Recipe& recipe);

// Errors: kFailure, `where` in front, for anything but such an object: bad JSON, types, ranges, a newer
// format.
Recipe from_json(std::string_view text, const std::string& where);

// The two texts to write into a PNG.
std::vector<PngText> recipe_texts(const Recipe& recipe);

// The last component of a path in either spelling: "a/b" and "C:\a\b\" give "b". Empty for none.
std::string base_name(std::string_view path);

}  // namespace darkroom
