#include "image/foreign/json_fields.h"
#include "image/foreign/readers.h"

// Draw Things: JSON in XMP's exif:UserComment, "c" is the prompt and "uc" the negative one; "v2" repeats it
// all in full. Its noise is its own.

namespace darkroom {

using nlohmann::json;

bool is_draw_things(const json& object) {
  return object.contains("c") && object.contains("uc") && object.contains("steps");
}

namespace {

void name_loras(ForeignFields& fields, FoundRecipe& found) {
  const json* loras = fields.take({"lora", "loras"});
  if (!loras || !loras->is_array()) return;
  for (const json& lora : *loras) {
    if (!lora.is_object() || !lora.contains("model")) continue;
    const std::string weight = lora.contains("weight") ? value_text(lora["weight"]) : "1";
    add_not_repeated(found, "LoRA", base_name(value_text(lora["model"])) + ":" + weight);
  }
}

// What the short form leaves out.
void read_full(const json& full, FoundRecipe& found) {
  if (!full.is_object()) return;
  ForeignFields fields(full, found);
  fields.number({"guidanceEmbed"}, found.recipe.guidance);
  for (const char* name : {"shift", "clipSkip", "hiresFix", "refinerModel", "upscaler", "controls"}) {
    const auto at = full.find(name);
    const bool usual = at == full.end() || says_nothing(*at) || *at == 1;
    if (!usual) add_not_repeated(found, name, value_text(*at));
  }
}

}  // namespace

void read_draw_things(const json& object, const Texts&, FoundRecipe& found) {
  ForeignFields fields(object, found);
  Recipe& recipe = found.recipe;
  fields.text({"c"}, recipe.prompt);
  fields.text({"uc"}, recipe.negative);
  fields.seed({"seed"});
  fields.count({"steps"}, recipe.steps);
  fields.number({"scale"}, recipe.cfg);
  fields.sampler({"sampler"});
  fields.model({"model"});
  if (const json* size = fields.take({"size"})) store_size("size", value_text(*size), found);
  if (const json* full = fields.take({"v2"})) read_full(*full, found);
  recipe.engine = "Draw Things";
  add_not_repeated(found, "noise", "of Draw Things", "torch's instead");
  name_loras(fields, found);
  if (const json* strength = fields.take({"strength"}); strength && *strength != 1) {
    add_not_repeated(found, "strength", value_text(*strength));
  }
  fields.skip({"profile", "seed_mode"});
  fields.name_rest();
}

}  // namespace darkroom
