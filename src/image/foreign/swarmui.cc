#include "image/foreign/json_fields.h"
#include "image/foreign/readers.h"

// SwarmUI's `parameters`: {"sui_image_params": {..}, "sui_extra_data": {..}}, names in lower case without
// blanks. It draws through ComfyUI, whose noise is torch's on the CPU.

namespace darkroom {

using nlohmann::json;

bool is_swarmui(const json& object) {
  const auto at = object.find("sui_image_params");
  return at != object.end() && at->is_object();
}

namespace {

// Names and weights lie in two lists, each JSON or with commas.
void name_loras(ForeignFields& fields, FoundRecipe& found) {
  const json* loras = fields.take({"loras"});
  const json* weights = fields.take({"loraweights"});
  fields.skip({"loratencweights", "lorasectionconfinement"});
  if (!loras || says_nothing(*loras)) return;
  if (!loras->is_array()) {
    return add_not_repeated(found, "LoRA", value_text(*loras), weights ? value_text(*weights) : "");
  }
  for (std::size_t i = 0; i < loras->size(); ++i) {
    const bool weighed = weights && weights->is_array() && i < weights->size();
    add_not_repeated(found, "LoRA",
                     value_text((*loras)[i]) + ":" + (weighed ? value_text((*weights)[i]) : "1"));
  }
}

}  // namespace

void read_swarmui(const json& object, const Texts&, FoundRecipe& found) {
  ForeignFields fields(object.at("sui_image_params"), found);
  Recipe& recipe = found.recipe;
  fields.text({"prompt"}, recipe.prompt);
  fields.text({"negativeprompt"}, recipe.negative);
  fields.model({"model"});
  fields.seed({"seed"});
  fields.count({"steps"}, recipe.steps);
  fields.count({"width"}, recipe.width);
  fields.count({"height"}, recipe.height);
  fields.number({"cfgscale"}, recipe.cfg);
  fields.number({"fluxguidancescale"}, recipe.guidance);
  fields.sampler({"sampler", "comfyuisampler"});
  fields.spacing({"scheduler", "comfyuischeduler"});
  recipe.rng = "torch-cpu";
  recipe.engine = "SwarmUI";
  if (const std::string version = fields.text({"swarm_version"}); !version.empty()) {
    recipe.engine += " " + version;
  }
  name_loras(fields, found);
  fields.skip({"aspectratio",
               "sidelength",
               "automaticvae",
               "nopreviews",
               "imageformat",
               "images",
               "batchsize",
               "donotsave",
               "date",
               "generation_time",
               "original_prompt",
               "used_wildcards",
               "wildcardseed",
               "colordepth",
               "personalnote",
               "internalbackendtype",
               "exactbackendid",
               "outpathformatoverride",
               "prep_time",
               "modelspecificenhancements",
               "webhooks",
               "savesegmentmask"});
  fields.name_rest();
}

}  // namespace darkroom
