// A recipe from what it states, in one expression.
#pragma once

#include <optional>
#include <string>

#include "image/recipe.h"

namespace darkroom {

struct Stated {
  std::string prompt = {}, negative = {};
  std::optional<int64_t> width = {}, height = {}, steps = {};
  std::optional<double> guidance = {}, cfg = {};
  std::optional<uint64_t> seed = {};
  std::string sampler = "euler", spacing = "simple";
  std::string rng = "torch-cpu";
  std::string model = {}, engine = {};
};

inline Recipe stated(const Stated& s) {
  Recipe recipe;
  recipe.prompt = s.prompt;
  if (!s.negative.empty()) recipe.negative = s.negative;
  recipe.width = s.width;
  recipe.height = s.height;
  recipe.steps = s.steps;
  recipe.guidance = s.guidance;
  recipe.cfg = s.cfg;
  recipe.seed = s.seed;
  recipe.sampler = s.sampler;
  recipe.spacing = s.spacing;
  recipe.rng = s.rng;
  recipe.model = s.model;
  recipe.engine = s.engine;
  return recipe;
}

}  // namespace darkroom
