#include "checkpoint/spellings.h"

#include <fmt/format.h>

#include <charconv>
#include <optional>
#include <span>
#include <string>
#include <utility>

namespace darkroom {
namespace {

// A module in two spellings. Of a fused one, in units of the model's width: its first row and all its rows.
struct Module {
  std::string_view ours, theirs;
  int64_t first = 0, all = 0;
};

// Takes "PREFIX" and a number off the front of `name`: the number and what follows it and a dot.
std::optional<std::pair<int64_t, std::string_view>> after_number(std::string_view name,
                                                                 std::string_view prefix) {
  if (!name.starts_with(prefix)) return std::nullopt;
  const std::string_view rest = name.substr(prefix.size());
  int64_t number = 0;
  const auto [stop, error] = std::from_chars(rest.data(), rest.data() + rest.size(), number);
  const std::size_t used = static_cast<std::size_t>(stop - rest.data());
  if (error != std::errc() || used >= rest.size() || rest[used] != '.') return std::nullopt;
  return std::pair(number, rest.substr(used + 1));
}

// The module that `name` is a parameter of, and which: "attn.to_q.weight" -> to_q, ".weight".
std::optional<std::pair<Module, std::string_view>> find_module(std::span<const Module> modules,
                                                               std::string_view name) {
  for (const Module& module : modules) {
    if (name.starts_with(module.ours) && name.substr(module.ours.size()).starts_with('.')) {
      return std::pair(module, name.substr(module.ours.size()));
    }
  }
  return std::nullopt;
}

constexpr Module kDoubleModules[] = {{"norm1.linear", "img_mod.lin"},
                                     {"norm1_context.linear", "txt_mod.lin"},
                                     {"attn.to_q", "img_attn.qkv", 0, 3},
                                     {"attn.to_k", "img_attn.qkv", 1, 3},
                                     {"attn.to_v", "img_attn.qkv", 2, 3},
                                     {"attn.add_q_proj", "txt_attn.qkv", 0, 3},
                                     {"attn.add_k_proj", "txt_attn.qkv", 1, 3},
                                     {"attn.add_v_proj", "txt_attn.qkv", 2, 3},
                                     {"attn.norm_q", "img_attn.norm.query_norm"},
                                     {"attn.norm_k", "img_attn.norm.key_norm"},
                                     {"attn.norm_added_q", "txt_attn.norm.query_norm"},
                                     {"attn.norm_added_k", "txt_attn.norm.key_norm"},
                                     {"attn.to_out.0", "img_attn.proj"},
                                     {"attn.to_add_out", "txt_attn.proj"},
                                     {"ff.net.0.proj", "img_mlp.0"},
                                     {"ff.net.2", "img_mlp.2"},
                                     {"ff_context.net.0.proj", "txt_mlp.0"},
                                     {"ff_context.net.2", "txt_mlp.2"}};
// linear1 holds q, k, v and the MLP's four times the width.
constexpr Module kSingleModules[] = {{"norm.linear", "modulation.lin"}, {"attn.to_q", "linear1", 0, 7},
                                     {"attn.to_k", "linear1", 1, 7},    {"attn.to_v", "linear1", 2, 7},
                                     {"proj_mlp", "linear1", 3, 7},     {"attn.norm_q", "norm.query_norm"},
                                     {"attn.norm_k", "norm.key_norm"},  {"proj_out", "linear2"}};
constexpr Module kEndModules[] = {{"x_embedder", "img_in"},
                                  {"context_embedder", "txt_in"},
                                  {"time_text_embed.timestep_embedder.linear_1", "time_in.in_layer"},
                                  {"time_text_embed.timestep_embedder.linear_2", "time_in.out_layer"},
                                  {"time_text_embed.guidance_embedder.linear_1", "guidance_in.in_layer"},
                                  {"time_text_embed.guidance_embedder.linear_2", "guidance_in.out_layer"},
                                  {"time_text_embed.text_embedder.linear_1", "vector_in.in_layer"},
                                  {"time_text_embed.text_embedder.linear_2", "vector_in.out_layer"},
                                  {"norm_out.linear", "final_layer.adaLN_modulation.1"},
                                  {"proj_out", "final_layer.linear"}};

std::vector<StoredPlace> bfl_transformer(const Param& param, int64_t width) {
  const auto place = [&](const std::string& block, std::span<const Module> modules,
                         std::string_view rest) -> std::vector<StoredPlace> {
    const auto found = find_module(modules, rest);
    if (!found) return {{.name = block + std::string(rest)}};
    const auto& [module, ending] = *found;
    const std::string theirs = block + std::string(module.theirs);
    if (theirs.ends_with("_norm")) return {{.name = theirs + ".scale"}, {.name = theirs + ".weight"}};
    StoredPlace out{.name = theirs + std::string(ending)};
    if (module.all > 0) {
      out.rows = {{module.first * width, param.shape[0]}};
      out.all_rows = module.all * width;
    } else if (module.ours == "norm_out.linear") {  // theirs is (shift, scale), diffusers' (scale, shift)
      out.rows = {{width, width}, {0, width}};
      out.all_rows = 2 * width;
    }
    return {out};
  };
  if (const auto block = after_number(param.name, "transformer_blocks.")) {
    return place(fmt::format("double_blocks.{}.", block->first), kDoubleModules, block->second);
  }
  if (const auto block = after_number(param.name, "single_transformer_blocks.")) {
    return place(fmt::format("single_blocks.{}.", block->first), kSingleModules, block->second);
  }
  return place("", kEndModules, param.name);
}

constexpr Module kLlamaModules[] = {{"layer.0.layer_norm", "attn_norm"},
                                    {"layer.0.SelfAttention.q", "attn_q"},
                                    {"layer.0.SelfAttention.k", "attn_k"},
                                    {"layer.0.SelfAttention.v", "attn_v"},
                                    {"layer.0.SelfAttention.o", "attn_o"},
                                    {"layer.0.SelfAttention.relative_attention_bias", "attn_rel_b"},
                                    {"layer.1.layer_norm", "ffn_norm"},
                                    {"layer.1.DenseReluDense.wi_0", "ffn_gate"},  // goes through the GELU
                                    {"layer.1.DenseReluDense.wi_1", "ffn_up"},
                                    {"layer.1.DenseReluDense.wo", "ffn_down"}};

std::vector<StoredPlace> llama_t5(const Param& param) {
  if (param.name == "shared.weight") return {{.name = "token_embd.weight"}};
  if (param.name == "encoder.final_layer_norm.weight") return {{.name = "enc.output_norm.weight"}};
  const auto block = after_number(param.name, "encoder.block.");
  const auto found = block ? find_module(kLlamaModules, block->second) : std::nullopt;
  if (!found) return as_named(param);
  return {{.name = fmt::format("enc.blk.{}.{}{}", block->first, found->first.theirs, found->second)}};
}

// The embedding has two names, and some files hold it under both.
std::vector<StoredPlace> transformers_t5(const Param& param) {
  if (param.name == "shared.weight") {
    return {{.name = param.name}, {.name = "encoder.embed_tokens.weight"}};
  }
  return as_named(param);
}

std::vector<StoredPlace> distill_t5(const Param& param) {
  if (param.name.starts_with("final_projection.")) return as_named(param);
  std::vector<StoredPlace> places = transformers_t5(param);
  for (StoredPlace& place : places) place.name = "encoder." + place.name;
  return places;
}

std::vector<StoredPlace> transformers_clip(const Param& param) {
  constexpr std::string_view kPrefix = "text_model.";
  return {{.name = param.name}, {.name = param.name.substr(kPrefix.size())}};
}

// Within a level, and in the middle.
constexpr Module kVaeModules[] = {{"resnets.0", "block.0"},
                                  {"resnets.1", "block.1"},
                                  {"resnets.2", "block.2"},
                                  {"resnets.3", "block.3"},
                                  {"upsamplers.0.conv", "upsample.conv"},
                                  {"downsamplers.0.conv", "downsample.conv"}};
constexpr Module kVaeMiddle[] = {{"resnets.0", "block_1"},
                                 {"resnets.1", "block_2"},
                                 {"attentions.0.group_norm", "attn_1.norm"},
                                 {"attentions.0.to_q", "attn_1.q"},
                                 {"attentions.0.to_k", "attn_1.k"},
                                 {"attentions.0.to_v", "attn_1.v"},
                                 {"attentions.0.to_out.0", "attn_1.proj_out"}};
constexpr Module kVaeEnds[] = {{"conv_norm_out", "norm_out"}};

std::string in_modules(std::span<const Module> modules, std::string_view name) {
  const auto found = find_module(modules, name);
  std::string out = found ? std::string(found->first.theirs) + std::string(found->second) : std::string(name);
  constexpr std::string_view kShortcut = "conv_shortcut";
  if (const std::size_t at = out.find(kShortcut); at != out.npos) {
    out.replace(at, kShortcut.size(), "nin_shortcut");
  }
  return out;
}

std::vector<StoredPlace> bfl_vae(const Param& param, int64_t levels) {
  const std::string_view name = param.name;
  const std::size_t dot = name.find('.');
  const std::string coder(name.substr(0, dot + 1));  // "decoder.", "encoder."
  const std::string_view rest = name.substr(dot + 1);
  constexpr std::string_view kMiddle = "mid_block.";
  if (const auto up = after_number(rest, "up_blocks.")) {
    return {{.name = fmt::format("{}up.{}.{}", coder, levels - 1 - up->first,
                                 in_modules(kVaeModules, up->second))}};
  }
  if (const auto down = after_number(rest, "down_blocks.")) {
    return {{.name = fmt::format("{}down.{}.{}", coder, down->first, in_modules(kVaeModules, down->second))}};
  }
  if (rest.starts_with(kMiddle)) {
    return {{.name = coder + "mid." + in_modules(kVaeMiddle, rest.substr(kMiddle.size()))}};
  }
  return {{.name = coder + in_modules(kVaeEnds, rest)}};
}

// Before 2023 diffusers called the VAE's attention layers otherwise.
std::vector<StoredPlace> diffusers_vae(const Param& param) {
  static constexpr Module kOld[] = {
      {"to_q", "query"}, {"to_k", "key"}, {"to_v", "value"}, {"to_out.0", "proj_attn"}};
  std::vector<StoredPlace> places = as_named(param);
  constexpr std::string_view kAttention = ".attentions.0.";
  const std::size_t at = param.name.find(kAttention);
  if (at == param.name.npos) return places;
  const std::size_t end = at + kAttention.size();
  if (const auto old = find_module(kOld, std::string_view(param.name).substr(end))) {
    places.push_back(
        {.name = param.name.substr(0, end) + std::string(old->first.theirs) + std::string(old->second)});
  }
  return places;
}

}  // namespace

std::string_view names_title(Names names) {
  switch (names) {
    case Names::kDiffusers:
      return "diffusers";
    case Names::kBfl:
      return "Black Forest Labs";
    case Names::kLlama:
      return "llama.cpp";
    case Names::kDistill:
      return "DistillT5";
  }
  return "";
}

Spelling spelling_of(Part part, Names names, const SpellingSizes& sizes) {
  switch (part) {
    case Part::kClip:
      return transformers_clip;
    case Part::kT5:
      if (names == Names::kDistill) return distill_t5;
      return names == Names::kLlama ? llama_t5 : transformers_t5;
    case Part::kTransformer:
      if (names == Names::kDiffusers) return as_named;
      return [width = sizes.inner_dim](const Param& param) { return bfl_transformer(param, width); };
    case Part::kVae:
      if (names == Names::kDiffusers) return diffusers_vae;
      return [levels = sizes.vae_levels](const Param& param) { return bfl_vae(param, levels); };
  }
  return as_named;
}

}  // namespace darkroom
