#include "image/foreign/json_fields.h"
#include "image/foreign/readers.h"
#include "image/text.h"

// NovelAI: `Comment` has the settings, `Description` the prompt, `Software` its name. Where its noise comes
// from is not public.

namespace darkroom {

using nlohmann::json;

bool is_novelai(const json& object) {
  return object.contains("sampler") && object.contains("steps") &&
         (object.contains("uc") || object.contains("v4_prompt") || object.contains("uncond_scale"));
}

namespace {

// The words for each figure of the fourth model, which the prompt leaves out.
void name_figures(const json& object, FoundRecipe& found) {
  const json::json_pointer captions("/v4_prompt/caption/char_captions");
  if (!object.contains(captions) || !object[captions].is_array()) return;
  for (const json& figure : object[captions]) {
    if (figure.is_object() && figure.contains("char_caption")) {
      add_not_repeated(found, "char_caption", value_text(figure["char_caption"]));
    }
  }
}

}  // namespace

void read_novelai(const json& object, const Texts& texts, FoundRecipe& found) {
  ForeignFields fields(object, found);
  Recipe& recipe = found.recipe;
  fields.text({"prompt"}, recipe.prompt);
  const auto description = texts.find("Description");
  if (recipe.prompt.empty() && description != texts.end()) recipe.prompt = clean_utf8(description->second);
  fields.text({"uc"}, recipe.negative);
  fields.seed({"seed"});
  fields.count({"steps"}, recipe.steps);
  fields.count({"width"}, recipe.width);
  fields.count({"height"}, recipe.height);
  fields.number({"scale"}, recipe.cfg);
  fields.sampler({"sampler"});
  fields.spacing({"noise_schedule"});
  const auto source = texts.find("Source");
  if (source != texts.end()) recipe.model = base_name(clean_utf8(source->second));
  recipe.engine = "NovelAI";
  add_not_repeated(found, "noise", "of NovelAI", "torch's instead");
  name_figures(object, found);
  if (const json* scale = fields.take({"uncond_scale"}); scale && *scale != 1) {
    add_not_repeated(found, "uncond_scale", value_text(*scale));
  }
  if (const json* mode = fields.take({"request_type"}); mode && *mode != "PromptGenerateRequest") {
    add_not_repeated(found, "request_type", value_text(*mode));
  }
  fields.skip({"v4_prompt", "v4_negative_prompt", "signed_hash", "hide_debug_overlay", "version", "n_samples",
               "lora_unet_weights", "lora_clip_weights", "legacy_v3_extend", "prefer_brownian"});
  fields.name_rest();
}

}  // namespace darkroom
