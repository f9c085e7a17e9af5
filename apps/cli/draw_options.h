// What to draw: the flags that `generate` and `plan` share, and the request they make.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "arguments.h"
#include "darkroom/darkroom.h"

namespace cli {

// Absent means: the recipe of --like, else the model's own.
struct DrawOptions {
  std::optional<std::string> prompt, negative;
  std::optional<double> cfg, guidance;
  std::optional<std::string> sampler, spacing, cache, guidance_schedule, guidance_interval, cfg_method,
      threshold;
  std::optional<int> width, height, steps, max_text_tokens;
  std::optional<std::vector<double>> sigmas;
  std::optional<std::string> init, mask;
  std::optional<double> strength;
  std::optional<std::string> precision, weights, budget;
  // `generate` only:
  std::optional<uint64_t> seed;
  std::optional<int> count;
  std::optional<std::string> scratch, rng, noise;
  bool sheet = false;
  std::optional<int> columns;  // of the sheet
};

// --width to --budget: all that decides what a run costs.
void add_size_flags(Arguments& arguments, DrawOptions& options);

// Puts the scales of --guidance-schedule's file in place of its path. Throws Failure (DARKROOM_USAGE) for a
// file that cannot be read.
void read_schedule_file(DrawOptions& options);

// Points into `options`, which must outlive the request. Callbacks are unset.
darkroom_request to_request(const DrawOptions& options);

// Throws Failure (DARKROOM_USAGE) unless `text` is UTF-8 without zero bytes; `what` names it.
void require_text(const std::string& what, const std::string& text);

// Fills what is absent in `options` from a recipe's JSON. Throws Failure (DARKROOM_FAILURE), `where` in
// front, for a recipe that is none.
void fill_from_recipe(DrawOptions& options, const std::string& recipe, const std::string& where);

}  // namespace cli
