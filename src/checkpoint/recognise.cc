#include "checkpoint/recognise.h"

#include <algorithm>
#include <array>
#include <optional>
#include <string_view>

#include "base/error.h"

namespace darkroom {
namespace {

// A name that a part always has, in one of its spellings.
struct Signature {
  Part part;
  Names names;
  std::string_view name;
};
constexpr Signature kSignatures[] = {
    {Part::kTransformer, Names::kBfl, "double_blocks.0.img_attn.qkv.weight"},
    {Part::kTransformer, Names::kBfl, "single_blocks.0.linear1.weight"},
    {Part::kTransformer, Names::kDiffusers, "transformer_blocks.0.attn.add_q_proj.weight"},
    {Part::kTransformer, Names::kDiffusers, "single_transformer_blocks.0.proj_mlp.weight"},
    {Part::kClip, Names::kDiffusers, "text_model.embeddings.token_embedding.weight"},
    {Part::kClip, Names::kDiffusers, "embeddings.token_embedding.weight"},
    {Part::kT5, Names::kDiffusers, "encoder.block.0.layer.0.SelfAttention.q.weight"},
    {Part::kT5, Names::kDistill, "encoder.encoder.block.0.layer.0.SelfAttention.q.weight"},
    {Part::kT5, Names::kLlama, "enc.blk.0.attn_q.weight"},
    {Part::kVae, Names::kBfl, "decoder.up.0.block.0.conv1.weight"},
    {Part::kVae, Names::kDiffusers, "decoder.up_blocks.0.resnets.0.conv1.weight"}};

// What programs put before the names of a part.
constexpr std::array<std::string_view, 5> kTransformerPrefixes = {
    "", "model.diffusion_model.", "diffusion_model.", "transformer.", "model."};
constexpr std::array<std::string_view, 6> kClipPrefixes = {"",
                                                           "text_encoders.clip_l.transformer.",
                                                           "text_encoders.clip_l.",
                                                           "cond_stage_model.transformer.",
                                                           "clip_l.",
                                                           "text_encoder."};
constexpr std::array<std::string_view, 5> kT5Prefixes = {"", "text_encoders.t5xxl.transformer.",
                                                         "text_encoders.t5xxl.", "t5xxl.", "text_encoder_2."};
constexpr std::array<std::string_view, 3> kVaePrefixes = {"", "vae.", "first_stage_model."};

std::span<const std::string_view> prefixes_of(Part part) {
  switch (part) {
    case Part::kClip:
      return kClipPrefixes;
    case Part::kT5:
      return kT5Prefixes;
    case Part::kTransformer:
      return kTransformerPrefixes;
    case Part::kVae:
      return kVaePrefixes;
  }
  return {};
}

std::optional<FoundPart> find_part(const Catalog& catalog, Part part) {
  for (const Signature& signature : kSignatures) {
    if (signature.part != part) continue;
    for (const std::string_view prefix : prefixes_of(part)) {
      if (!catalog.stored(std::string(prefix) + std::string(signature.name))) continue;
      return FoundPart{part, std::string(prefix), signature.names};
    }
  }
  return std::nullopt;
}

// Something else that people have, told by a piece of one of its names.
enum class Looks : uint8_t {
  kStrange,   // nothing in it looks like a part of FLUX.1
  kHasParts,  // text encoders and a VAE like FLUX.1's may lie in it
  kLikeFlux,  // and its transformer looks like FLUX.1's
};
struct Other {
  std::string_view piece, what;
  Looks looks = Looks::kStrange;
};
constexpr std::string_view kLora = "a LoRA, not a model; give it with --lora to the model that it belongs to";
constexpr std::string_view kNunchaku =
    "a Nunchaku (SVDQuant) model, whose tiles are made for its own GPU kernels; take a GGUF or fp8 file";
// The first that fits. Models first: some hold names that LoRAs have as well.
constexpr Other kOthers[] = {
    {"distilled_guidance_layer.", "a Chroma model; only FLUX.1 dev and schnell are supported",
     Looks::kLikeFlux},
    {"single_stream_modulation.lin", "a FLUX.2 model; only FLUX.1 dev and schnell are supported",
     Looks::kLikeFlux},
    {"double_stream_modulation_img", "a FLUX.2 model; only FLUX.1 dev and schnell are supported",
     Looks::kLikeFlux},
    {".wscales", kNunchaku, Looks::kLikeFlux},
    {".smooth_orig", kNunchaku, Looks::kLikeFlux},
    {".lora_down.", kLora},
    {".lora_up.", kLora},
    {".lora_A.", kLora},
    {".lora_B.", kLora},
    {".lora.down.", kLora},
    {".processor.", kLora},
    {".hada_w1", kLora},
    {".lokr_w1", kLora},
    {"lora_unet_", kLora},
    {"lora_transformer_", kLora},
    {"lycoris_", kLora},
    {"conditioner.embedders.1.", "a Stable Diffusion XL checkpoint; only FLUX.1 is supported",
     Looks::kHasParts},
    {"add_embedding.linear_1.", "a Stable Diffusion XL U-Net; only FLUX.1 is supported"},
    {"joint_blocks.0.", "a Stable Diffusion 3 model; only FLUX.1 is supported", Looks::kHasParts},
    {"pos_embed.proj.", "a Stable Diffusion 3 model; only FLUX.1 is supported"},
    {"diffusion_model.input_blocks.", "a Stable Diffusion 1 or 2 checkpoint; only FLUX.1 is supported",
     Looks::kHasParts},
    {"down_blocks.0.attentions.", "a Stable Diffusion U-Net; only FLUX.1 is supported"},
    {"vision_model.", "a CLIP vision model; a text encoder is needed"},
    {"decoder.block.0.layer.1.EncDecAttention.", "a whole T5 without the encoder that FLUX.1 needs"},
    {"controlnet_", "a ControlNet, which is not supported"},
    {"taesd", "a tiny preview VAE, which is not supported"},
    {"blk.0.attn_q", "a language model in llama.cpp's names; only T5 encoders are supported"}};

// The first of kOthers, of those that look at least so much like FLUX.1, that fits; null when none does.
const Other* find_other(const Catalog& catalog, Looks least) {
  const std::vector<std::string_view> names = catalog.names();
  for (const Other& other : kOthers) {
    if (other.looks < least) continue;
    const auto has_piece = [&](std::string_view name) { return name.find(other.piece) != name.npos; };
    if (std::ranges::any_of(names, has_piece)) return &other;
  }
  return nullptr;
}

std::string list_parts(const Contents& contents) {
  std::string text;
  for (const FoundPart& found : contents.parts)
    text += (text.empty() ? "a " : ", a ") + std::string(part_title(found.part));
  return text;
}

}  // namespace

Contents recognise(const Catalog& catalog) {
  Contents out;
  const Other* other = find_other(catalog, Looks::kLikeFlux);
  for (const Part part : kParts) {
    if (other && part == Part::kTransformer) continue;
    if (std::optional<FoundPart> found = find_part(catalog, part)) out.parts.push_back(std::move(*found));
  }
  const bool has_transformer =
      std::ranges::any_of(out.parts, [](const FoundPart& found) { return found.part == Part::kTransformer; });
  if (!has_transformer) other = find_other(catalog, out.parts.empty() ? Looks::kStrange : Looks::kHasParts);
  if (!other) return out;
  return {.parts = {}, .other = std::string(other->what)};
}

FoundPart require_part(const Catalog& catalog, Part part) {
  const Contents contents = recognise(catalog);
  for (const FoundPart& found : contents.parts) {
    if (found.part == part) return found;
  }
  if (!contents.other.empty()) fail(ErrorCode::kModel, "{}: this is {}", catalog.where(), contents.other);
  if (contents.parts.empty()) {
    fail(ErrorCode::kModel, "{}: none of its {} tensors belongs to a FLUX.1 {}", catalog.where(),
         catalog.size(), part_title(part));
  }
  fail(ErrorCode::kModel, "{}: this is {}, not a {}", catalog.where(), list_parts(contents),
       part_title(part));
}

}  // namespace darkroom
