// The line of parameters in A1111's text: which line it is, and what other programs write into it. Used
// inside this room only.
#pragma once

#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "image/found_recipe.h"

namespace darkroom {

using Pairs = std::vector<std::pair<std::string, std::string>>;

// The spelling that darkroom writes of a key in any case; "" for a key that no program is known to write.
std::string_view known_key(std::string_view key);

// Whether a line with these pairs holds parameters: "Steps: N" (or darkroom's "Sigmas") and
// two more known keys.
bool are_parameters(const Pairs& pairs);

// Reads a pair that other programs spell in their own ways: sampler, spacing, a seed of -1, whose noise.
// False when the pair is none of these.
bool read_foreign_pair(std::string_view key, const std::string& value, FoundRecipe& found);

// Names a pair that has no place in a recipe, unless it changes no picture.
void name_pair(std::string_view key, const std::string& value, FoundRecipe& found);

// Names what the prompts ask for in A1111's own ways: <lora:name:0.8>, (word:1.2).
void name_prompt_syntax(FoundRecipe& found);

}  // namespace darkroom
