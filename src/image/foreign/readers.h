// One table of the programs whose recipes are JSON: how such an object is recognised, and what reads it. To
// add a program: a file here, a row in readers.cc, a RecipeSource with its names. Used inside this room only.
#pragma once

#include <map>
#include <nlohmann/json.hpp>
#include <span>
#include <string>

#include "image/found_recipe.h"

namespace darkroom {

using Texts = std::map<std::string, std::string>;

struct ForeignReader {
  RecipeSource source;
  bool (*fits)(const nlohmann::json& object);
  // `object` fits; `texts` are all of the picture's.
  void (*read)(const nlohmann::json& object, const Texts& texts, FoundRecipe& found);
};

// All of them, in the order in which they are asked: the surest sign first.
std::span<const ForeignReader> foreign_readers();

bool is_swarmui(const nlohmann::json& object);
void read_swarmui(const nlohmann::json& object, const Texts& texts, FoundRecipe& found);
bool is_fooocus(const nlohmann::json& object);
void read_fooocus(const nlohmann::json& object, const Texts& texts, FoundRecipe& found);
bool is_invokeai(const nlohmann::json& object);
void read_invokeai(const nlohmann::json& object, const Texts& texts, FoundRecipe& found);
bool is_comfyui(const nlohmann::json& object);
void read_comfyui(const nlohmann::json& object, const Texts& texts, FoundRecipe& found);
bool is_novelai(const nlohmann::json& object);
void read_novelai(const nlohmann::json& object, const Texts& texts, FoundRecipe& found);
bool is_draw_things(const nlohmann::json& object);
void read_draw_things(const nlohmann::json& object, const Texts& texts, FoundRecipe& found);
bool is_mflux(const nlohmann::json& object);
void read_mflux(const nlohmann::json& object, const Texts& texts, FoundRecipe& found);

// The `Dream` text of the first InvokeAI: "a prompt" -s 50 -S 123 -W 512 -H 512 -C 7.5 -A k_lms.
FoundRecipe read_dream(const std::string& text);

// Whether the text has a line that holds A1111's parameters.
bool has_a1111_parameters(std::string_view text);

}  // namespace darkroom
