// Samplers and spacings by the names of other programs. Used inside this room only.
#pragma once

#include <string_view>

#include "image/found_recipe.h"

namespace darkroom {

// Stores a sampler's name of any program, "Euler a", "dpmpp_2m", "k_euler", with a spacing after it where
// there is one ("DPM++ 2M Karras", "euler_beta"). What darkroom lacks goes to found.not_repeated.
void read_sampler(std::string_view key, std::string_view name, FoundRecipe& found);
void read_spacing(std::string_view key, std::string_view name, FoundRecipe& found);

// ASCII letters in lower case.
std::string lower_case(std::string_view text);

}  // namespace darkroom
