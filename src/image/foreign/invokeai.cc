#include "base/number_text.h"
#include "image/foreign/json_fields.h"
#include "image/foreign/names.h"
#include "image/foreign/readers.h"
#include "image/text.h"

// InvokeAI: `invokeai_metadata`, the older `sd-metadata` ({"app_id": .., "image": {..}}), and `Dream`, the
// command line of the first versions. Its noise is torch's on the CPU, in 16 bits for FLUX.

namespace darkroom {

using nlohmann::json;

bool is_invokeai(const json& object) {
  const auto image = object.find("image");
  if (object.contains("app_id") && image != object.end()) return image->is_object();
  return object.contains("positive_prompt") || object.contains("generation_mode") ||
         (object.contains("app_version") && object.contains("scheduler"));
}

namespace {

// sd-metadata's prompt is a text, or a list of texts with weights.
std::string old_prompt(const json& image) {
  const auto at = image.find("prompt");
  if (at == image.end()) return {};
  if (at->is_string()) return at->get<std::string>();
  std::string prompt;
  for (const json& part : *at) {
    const bool has_text = part.is_object() && part.contains("prompt") && part["prompt"].is_string();
    if (has_text) prompt += (prompt.empty() ? "" : ", ") + part["prompt"].get<std::string>();
  }
  return prompt;
}

// Its negative words are in brackets inside the prompt.
void read_old(const json& object, FoundRecipe& found) {
  const json& image = object.at("image");
  ForeignFields fields(image, found);
  Recipe& recipe = found.recipe;
  recipe.prompt = clean_utf8(old_prompt(image));
  fields.seed({"seed"});
  fields.count({"steps"}, recipe.steps);
  fields.count({"width"}, recipe.width);
  fields.count({"height"}, recipe.height);
  fields.number({"cfg_scale"}, recipe.cfg);
  fields.sampler({"sampler"});
  fields.skip({"prompt", "type", "postprocessing", "orig_hash"});
  fields.name_rest();
  ForeignFields outer(object, found);
  outer.model({"model_weights", "model"});
}

void name_loras(ForeignFields& fields, FoundRecipe& found) {
  const json* loras = fields.take({"loras"});
  if (!loras || !loras->is_array()) return;
  for (const json& lora : *loras) {
    std::string name = value_text(lora);
    for (const char* key : {"model", "lora"}) {
      if (!lora.is_object() || !lora.contains(key) || !lora[key].is_object()) continue;
      name = lora[key].value("name", lora[key].value("model_name", std::string("?")));
    }
    const bool weighed = lora.is_object() && lora.contains("weight");
    add_not_repeated(found, "LoRA", name + ":" + (weighed ? value_text(lora["weight"]) : "1"));
  }
}

void read_new(const json& object, FoundRecipe& found) {
  ForeignFields fields(object, found);
  Recipe& recipe = found.recipe;
  fields.text({"positive_prompt"}, recipe.prompt);
  fields.text({"negative_prompt"}, recipe.negative);
  fields.seed({"seed"});
  fields.count({"steps"}, recipe.steps);
  fields.count({"width"}, recipe.width);
  fields.count({"height"}, recipe.height);
  fields.number({"cfg_scale"}, recipe.cfg);
  fields.number({"guidance"}, recipe.guidance);
  fields.sampler({"scheduler"});
  fields.model({"model"});
  name_loras(fields, found);
  const std::string mode = fields.text({"generation_mode"});
  if (mode.find("txt2img") == std::string::npos && !mode.empty()) {
    add_not_repeated(found, "generation_mode", mode);
  }
  if (mode.starts_with("flux")) add_not_repeated(found, "noise", "in 16 bits", "32 bits instead");
  fields.skip({"app_version", "positive_style_prompt", "negative_style_prompt", "canvas_v2_metadata", "vae",
               "t5_encoder", "clip_embed_model"});
  if (const json* images = fields.take({"ref_images"}); images && !says_nothing(*images)) {
    add_not_repeated(found, "ref_images", value_text(*images));
  }
  const std::string device = fields.text({"rand_device"});
  if (device == "cuda") recipe.rng = "torch-cuda";
  if (!device.empty() && device != "cuda" && device != "cpu") add_not_repeated(found, "rand_device", device);
  fields.name_rest();
}

// The next option's letter at `at`, and its value; both are passed.
void read_option(std::string_view rest, std::size_t& at, FoundRecipe& found) {
  const char letter = rest[at + 1];
  std::size_t first = rest.find_first_not_of(' ', at + 2);
  if (first == std::string_view::npos) first = rest.size();
  const std::size_t end = std::min(rest.find(' ', first), rest.size());
  const std::string value(rest.substr(first, end - first));
  Recipe& recipe = found.recipe;
  switch (letter) {
    case 's':
      store_count("steps", value, recipe.steps, found);
      break;
    case 'S':
      store_seed("seed", value, found);
      break;
    case 'W':
      store_count("width", value, recipe.width, found);
      break;
    case 'H':
      store_count("height", value, recipe.height, found);
      break;
    case 'C':
      store_number("cfg", value, recipe.cfg, found);
      break;
    case 'A':
      read_sampler("sampler", value, found);
      break;
    default:
      add_not_repeated(found, std::string("-") + letter, value);
  }
  at = end;
}

}  // namespace

void read_invokeai(const json& object, const Texts&, FoundRecipe& found) {
  found.recipe.rng = "torch-cpu";
  found.recipe.engine = "InvokeAI";
  const auto version = object.find("app_version");
  if (version != object.end() && version->is_string()) {
    found.recipe.engine += " " + clean_utf8(version->get<std::string>());
  }
  if (object.contains("image") && object["image"].is_object()) {
    read_old(object, found);
  } else {
    read_new(object, found);
  }
}

FoundRecipe read_dream(const std::string& text) {
  FoundRecipe found{.source = RecipeSource::kInvokeAi};
  found.recipe.engine = "InvokeAI";
  found.recipe.rng = "torch-cuda";
  const bool quoted = text.starts_with('"');
  std::size_t end = quoted ? text.find("\" ", 1) : text.find(" -");
  if (end == std::string::npos) end = quoted && text.ends_with('"') ? text.size() - 1 : text.size();
  found.recipe.prompt = clean_utf8(std::string_view(text).substr(quoted, end - quoted));
  const std::string_view rest = std::string_view(text).substr(end);
  for (std::size_t at = 0; at + 1 < rest.size();) {
    if (rest[at] == '-' && (at == 0 || rest[at - 1] == ' ')) {
      read_option(rest, at, found);
    } else {
      ++at;
    }
  }
  return found;
}

}  // namespace darkroom
