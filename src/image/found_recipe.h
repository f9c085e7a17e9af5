// The recipe that a picture carries, of darkroom or of another program, and what of it cannot be repeated.
//
// A text of another program is read as far as it is understood: a value that is no number is left out and
// named, a setting that changes the picture and has no place in Recipe is named, and a text of an unknown
// program is refused. image/foreign has a file for each program.
#pragma once

#include <filesystem>
#include <string>
#include <string_view>
#include <vector>

#include "image/picture_texts.h"
#include "image/recipe.h"

namespace darkroom {

enum class RecipeSource {
  kJson,   // our own text: every value is exact
  kA1111,  // the `parameters` text, of any program
  kSwarmUi,
  kFooocus,
  kInvokeAi,
  kComfyUi,
  kNovelAi,
  kDrawThings,
  kMflux,
};

// A word for programs ("swarmui"), and the name for people ("SwarmUI").
const char* source_word(RecipeSource source);
const char* source_name(RecipeSource source);

struct FoundRecipe {
  Recipe recipe = {};
  RecipeSource source = RecipeSource::kJson;
  // What changed the picture and is not in `recipe`: name and value, "Clip skip 2", "Sampler DPM++ 2M SDE
  // (euler instead)". UTF-8, of a stranger; at most 64 of some 150 bytes.
  std::vector<std::string> not_repeated = {};
  std::vector<std::string> notes = {};  // how the text was read, a sentence each
};

// Whether any text of the picture may be a recipe; read_recipe() then gives it or says why not.
bool may_hold_recipe(const PictureTexts& picture);

// The recipe in a picture's texts: the text `darkroom` if it is there, else another program's; `where`
// is the file. Errors: kFailure when there is none, for a recipe of an unknown program, and for a
// `darkroom` that is damaged.
FoundRecipe read_recipe(const PictureTexts& picture, const std::string& where);
FoundRecipe read_recipe(const std::filesystem::path& path);

// Reads the `parameters` text that AUTOMATIC1111 introduced: prompt lines, negative lines, and a line of
// "Key: value" pairs, which is the last one with "Steps: N" and two more known keys. Without such a line all
// of it is prompt. Keys count in any case. A missing RNG means a GPU's, unless ComfyUI or Fooocus wrote the
// text. Takes linear time on any input. Errors: kFailure, `where` in front, for text above 8 MiB.
FoundRecipe from_a1111_text(std::string_view text, const std::string& where);

// Adds "name value (instead)" to found.not_repeated; long values are cut.
void add_not_repeated(FoundRecipe& found, std::string_view name, std::string_view value,
                      std::string_view instead = "");

}  // namespace darkroom
