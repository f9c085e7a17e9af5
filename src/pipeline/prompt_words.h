// The words of a prompt, as a person would count them. Not tokens, which are what the model sees (src/text).
// decide() notes those that a model with a list of words was not taught.
#pragma once

#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace darkroom {

// The words of valid UTF-8 in lower case, in order: runs of letters, marks, digits and connectors, and of
// apostrophes between these. So "A red-and-blue star's edge." has six.
std::vector<std::string> words_of(std::string_view text);

// The words of `text` that are in none of the texts of `known`, each once, in order.
std::vector<std::string> unknown_words(std::string_view text, std::span<const std::string> known);

}  // namespace darkroom
