#include "checkpoint/lora_keys.h"

#include <algorithm>
#include <array>
#include <span>
#include <string>
#include <utility>

namespace darkroom {
namespace {

struct Ending {
  std::string_view text;
  LoraPiece piece;
};
constexpr Ending kEndings[] = {{".lora_down.weight", LoraPiece::kDown},
                               {".lora_A.weight", LoraPiece::kDown},
                               {".lora_A.default.weight", LoraPiece::kDown},
                               {".lora.down.weight", LoraPiece::kDown},
                               {".lora_linear_layer.down.weight", LoraPiece::kDown},
                               {".down.weight", LoraPiece::kDown},  // XLabs
                               {".lora_up.weight", LoraPiece::kUp},
                               {".lora_B.weight", LoraPiece::kUp},
                               {".lora_B.default.weight", LoraPiece::kUp},
                               {".lora.up.weight", LoraPiece::kUp},
                               {".lora_linear_layer.up.weight", LoraPiece::kUp},
                               {".up.weight", LoraPiece::kUp},
                               {".lora_B.bias", LoraPiece::kUpBias},
                               {".lora_B.default.bias", LoraPiece::kUpBias},
                               {".lora_up.bias", LoraPiece::kUpBias},
                               {".alpha", LoraPiece::kAlpha},
                               {".diff", LoraPiece::kDiff},
                               {".diff_b", LoraPiece::kDiffBias},
                               {".w_norm", LoraPiece::kDiff},
                               {".b_norm", LoraPiece::kDiffBias},
                               {".set_weight", LoraPiece::kSet},
                               {".lokr_w1", LoraPiece::kLokrW1},
                               {".lokr_w1_a", LoraPiece::kLokrW1A},
                               {".lokr_w1_b", LoraPiece::kLokrW1B},
                               {".lokr_w2", LoraPiece::kLokrW2},
                               {".lokr_w2_a", LoraPiece::kLokrW2A},
                               {".lokr_w2_b", LoraPiece::kLokrW2B},
                               {".hada_w1_a", LoraPiece::kLohaW1A},
                               {".hada_w1_b", LoraPiece::kLohaW1B},
                               {".hada_w2_a", LoraPiece::kLohaW2A},
                               {".hada_w2_b", LoraPiece::kLohaW2B},
                               {".dora_scale", LoraPiece::kDora},
                               {".lora_magnitude_vector", LoraPiece::kDora},
                               {".lora_magnitude_vector.weight", LoraPiece::kDora},
                               {".lora_magnitude_vector.default.weight", LoraPiece::kDora},
                               {".lora_mid.weight", LoraPiece::kTucker},
                               {".lokr_t2", LoraPiece::kTucker},
                               {".hada_t1", LoraPiece::kTucker},
                               {".hada_t2", LoraPiece::kTucker},
                               {".reshape_weight", LoraPiece::kReshape}};

// What programs put before a module's name, with dots or with underscores in place of them.
constexpr std::string_view kTransformerDotted[] = {"transformer.",
                                                   "diffusion_model.",
                                                   "model.diffusion_model.",
                                                   "base_model.model.transformer.",
                                                   "base_model.model.",
                                                   "base_model.model.diffusion_model.",
                                                   "model.",
                                                   ""};
constexpr std::string_view kTransformerUnderscored[] = {"lora_unet_", "lora_transformer_", "lycoris_"};
constexpr std::string_view kClipDotted[] = {"text_encoder.", "text_encoders.clip_l.transformer.",
                                            "text_encoders.clip_l.", "clip_l.transformer.",
                                            "base_model.model.text_encoder."};
constexpr std::string_view kClipUnderscored[] = {"lora_te1_", "lora_te_"};
constexpr std::string_view kT5Dotted[] = {"text_encoder_2.", "text_encoders.t5xxl.transformer.",
                                          "text_encoders.t5xxl.", "t5xxl.transformer.",
                                          "base_model.model.text_encoder_2."};
constexpr std::string_view kT5Underscored[] = {"lora_te3_", "lora_te2_"};

struct Prefixes {
  std::span<const std::string_view> dotted, underscored;
};
Prefixes prefixes_of(Part part) {
  if (part == Part::kClip) return {kClipDotted, kClipUnderscored};
  if (part == Part::kT5) return {kT5Dotted, kT5Underscored};
  return {kTransformerDotted, kTransformerUnderscored};
}

// "a.b.weight" -> "a.b".
std::string module_of(std::string_view name) { return std::string(name.substr(0, name.rfind('.'))); }

// XLabs keeps its products in the attention's processors, of linear1 only the part of q, k and v.
std::optional<StoredPlace> xlabs_place(StoredPlace place, int64_t width) {
  constexpr std::pair<std::string_view, std::string_view> kModules[] = {
      {".img_attn.qkv", ".processor.qkv_lora1"},   {".txt_attn.qkv", ".processor.qkv_lora2"},
      {".img_attn.proj", ".processor.proj_lora1"}, {".txt_attn.proj", ".processor.proj_lora2"},
      {".linear1", ".processor.qkv_lora"},         {".linear2", ".processor.proj_lora"}};
  for (const auto& [theirs, processor] : kModules) {
    if (!place.name.ends_with(theirs)) continue;
    if (theirs == ".linear1") {
      if (place.rows.at(0).first >= 3 * width) return std::nullopt;
      place.all_rows = 3 * width;
    }
    place.name.replace(place.name.size() - theirs.size(), theirs.size(), processor);
    return place;
  }
  return std::nullopt;
}

void add_places(const Prefixes& prefixes, const StoredPlace& module, std::vector<StoredPlace>& out) {
  for (const std::string_view prefix : prefixes.dotted) {
    out.push_back(module);
    out.back().name.insert(0, prefix);
  }
  std::string joined = module.name;
  std::ranges::replace(joined, '.', '_');
  for (const std::string_view prefix : prefixes.underscored) {
    out.push_back(module);
    out.back().name = std::string(prefix) + joined;
  }
}

}  // namespace

std::optional<LoraKey> split_lora_name(std::string_view name) {
  // The longest ending: ".lora_down.weight" is not ".down.weight" after ".lora_down".
  const Ending* best = nullptr;
  for (const Ending& ending : kEndings) {
    const bool fits = name.size() > ending.text.size() && name.ends_with(ending.text);
    if (fits && (!best || ending.text.size() > best->text.size())) best = &ending;
  }
  if (!best) return std::nullopt;
  return LoraKey{name.substr(0, name.size() - best->text.size()), best->piece};
}

std::vector<StoredPlace> lora_places(Part part, const Param& param, const SpellingSizes& sizes) {
  std::vector<StoredPlace> out;
  const Prefixes prefixes = prefixes_of(part);
  add_places(prefixes, {.name = module_of(param.name)}, out);
  if (part != Part::kTransformer) return out;
  StoredPlace theirs = spelling_of(part, Names::kBfl, sizes)(param).front();
  theirs.name = module_of(theirs.name);
  if (theirs.name != module_of(param.name)) add_places(prefixes, theirs, out);
  if (const std::optional<StoredPlace> xlabs = xlabs_place(theirs, sizes.inner_dim)) out.push_back(*xlabs);
  return out;
}

std::string_view lora_style(std::string_view module) {
  const auto has = [&](std::string_view piece) { return module.find(piece) != module.npos; };
  if (has(".processor.")) return "XLabs";
  if (module.starts_with("lora_transformer_")) return "OneTrainer";
  if (module.starts_with("lycoris_")) return "LyCORIS";
  if (module.starts_with("lora_")) return "kohya";
  if (module.starts_with("diffusion_model.") || module.starts_with("text_encoders.")) return "ComfyUI";
  const bool bfl = has("double_blocks.") || has("single_blocks.") || has("img_in") || has("final_layer.");
  if (bfl) return module.starts_with("base_model.") ? "fal" : "Black Forest Labs";
  if (has("transformer_blocks.") || module.starts_with("transformer.") || module.starts_with("text_encoder"))
    return "diffusers";
  return "unknown names";
}

std::string_view other_lora_model(std::string_view module) {
  const auto has = [&](std::string_view piece) { return module.find(piece) != module.npos; };
  if (has("joint_blocks") || has("attn2.to_add_out")) return "Stable Diffusion 3";
  if (has("lora_te2_text_model") || has("_input_blocks_4_1_") || has("transformer_blocks_9_attn") ||
      has("transformer_blocks.9.attn2") || has("label_emb") || has("add_embedding")) {
    return "Stable Diffusion XL";
  }
  if (has("down_blocks") || has("up_blocks") || has("mid_block") || has("input_blocks") ||
      has("output_blocks")) {
    return "Stable Diffusion 1 or 2";
  }
  if (has("to_qkv_mlp_proj") || has("_stream_modulation")) return "FLUX.2";
  if (has("caption_projection") || has("patchify_proj")) return "a PixArt or LTX model";
  if (has("blocks.0.cross_attn") || has("blocks_0_cross_attn")) return "Wan, a video model";
  if (has("img_mod.1") || has("txt_norm")) return "Qwen-Image";
  if (has("model.layers.") || has("self_attn.q_proj")) return "a language model";
  return "";
}

bool is_guidance_module(std::string_view module) {
  return module.find("guidance_in") != module.npos || module.find("guidance_embedder") != module.npos;
}

}  // namespace darkroom
