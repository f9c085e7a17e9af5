#include "image/foreign/json_fields.h"
#include "image/foreign/readers.h"

// mflux: JSON in EXIF's UserComment. It draws FLUX itself; its noise is MLX's own.

namespace darkroom {

using nlohmann::json;

bool is_mflux(const json& object) {
  return object.contains("prompt") &&
         (object.contains("mflux_version") || (object.contains("lora_paths") && object.contains("quantize")));
}

namespace {

void name_loras(ForeignFields& fields, FoundRecipe& found) {
  const json* paths = fields.take({"lora_paths"});
  const json* scales = fields.take({"lora_scales"});
  if (!paths || !paths->is_array()) return;
  for (std::size_t i = 0; i < paths->size(); ++i) {
    const bool weighed = scales && scales->is_array() && i < scales->size();
    add_not_repeated(found, "LoRA",
                     base_name(value_text((*paths)[i])) + ":" + (weighed ? value_text((*scales)[i]) : "1"));
  }
}

}  // namespace

void read_mflux(const json& object, const Texts&, FoundRecipe& found) {
  ForeignFields fields(object, found);
  Recipe& recipe = found.recipe;
  fields.text({"prompt"}, recipe.prompt);
  fields.text({"negative_prompt"}, recipe.negative);
  fields.seed({"seed"});
  fields.count({"steps"}, recipe.steps);
  fields.count({"width"}, recipe.width);
  fields.count({"height"}, recipe.height);
  fields.number({"guidance"}, recipe.guidance);
  fields.model({"model", "base_model"});
  recipe.engine = "mflux " + fields.text({"mflux_version"});
  add_not_repeated(found, "noise", "of MLX", "torch's instead");
  name_loras(fields, found);
  if (const json* path = fields.take({"image_path"}); path && path->is_string()) {
    add_not_repeated(found, "image_path", base_name(value_text(*path)));
  }
  fields.skip({"precision", "generation_time_seconds", "created_at", "generation_time", "base_model"});
  fields.name_rest();
}

}  // namespace darkroom
