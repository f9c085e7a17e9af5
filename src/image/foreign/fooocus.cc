#include "image/foreign/json_fields.h"
#include "image/foreign/readers.h"

// Fooocus' `parameters`, with `fooocus_scheme` beside it; the older ones have names with blanks. Its noise is
// ComfyUI's: torch's on the CPU.

namespace darkroom {

using nlohmann::json;

bool is_fooocus(const json& object) {
  if (!object.contains("prompt") && !object.contains("Prompt")) return false;
  for (const char* name :
       {"resolution", "Resolution", "base_model", "Base Model", "performance", "Performance",
        "metadata_scheme", "full_prompt", "adm_guidance", "Guidance Scale"}) {
    if (object.contains(name)) return true;
  }
  return false;
}

namespace {

bool is_lora_key(const std::string& key) {
  return key.starts_with("lora_combined_") || key.starts_with("LoRA ");
}

// "name : 0.8", in newer versions with "True : " or "False : " in front.
void name_lora(std::string text, FoundRecipe& found) {
  if (text.starts_with("False : ")) return;
  if (text.starts_with("True : ")) text.erase(0, 7);
  const std::size_t colon = text.rfind(" : ");
  if (text.starts_with("None")) return;
  if (colon != std::string::npos) text.replace(colon, 3, ":");
  add_not_repeated(found, "LoRA", text);
}

void name_loras(const json& object, ForeignFields& fields, FoundRecipe& found) {
  bool has_lines = false;
  for (const auto& [key, value] : object.items()) {
    if (!is_lora_key(key)) continue;
    fields.skip({key.c_str()});
    has_lines = true;
    name_lora(value_text(value), found);
  }
  const json* list = fields.take({"loras"});
  if (!list || has_lines || !list->is_array()) return;
  for (const json& lora : *list) {
    const bool pair = lora.is_array() && lora.size() >= 2;
    name_lora(pair ? value_text(lora[0]) + " : " + value_text(lora[1]) : value_text(lora), found);
  }
}

}  // namespace

void read_fooocus(const json& object, const Texts&, FoundRecipe& found) {
  ForeignFields fields(object, found);
  Recipe& recipe = found.recipe;
  fields.text({"prompt", "Prompt"}, recipe.prompt);
  fields.text({"negative_prompt", "Negative Prompt"}, recipe.negative);
  fields.count({"steps", "Steps"}, recipe.steps);
  fields.seed({"seed", "Seed"});
  fields.number({"guidance_scale", "Guidance Scale"}, recipe.cfg);
  fields.sampler({"sampler", "Sampler"});
  fields.spacing({"scheduler", "Scheduler"});
  fields.model({"base_model", "Base Model"});
  if (const json* size = fields.take({"resolution", "Resolution"})) {
    store_size("resolution", value_text(*size), found);
  }
  recipe.rng = "torch-cpu";
  recipe.engine = fields.text({"version", "Version"});
  name_loras(object, fields, found);
  fields.skip({"full_prompt", "full_negative_prompt", "base_model_hash", "metadata_scheme", "created_by",
               "user", "image_number", "Image Number", "refiner_model_hash", "lora_hashes"});
  fields.name_rest();
}

}  // namespace darkroom
