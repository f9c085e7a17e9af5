// A small FLUX.1 of formula numbers, in the files of other programs: names and rows are spelled out here, not
// by the code under test.
#pragma once

#include <gtest/gtest.h>
#include <stdlib.h>

#include <cmath>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <functional>
#include <map>
#include <nlohmann/json.hpp>
#include <regex>
#include <string>
#include <utility>
#include <vector>

#include "base/temp_folder.h"
#include "checkpoint/checkpoint.h"
#include "tensor/blocks.h"
#include "weights/gguf.h"
#include "weights/loaded.h"
#include "weights/quantize.h"
#include "weights/safetensors.h"

namespace darkroom {

// The values of a tensor.
struct Numbers {
  std::vector<int64_t> extents;
  std::vector<float> values;
  bool quantizable = false;
};
using Tensors = std::map<std::string, Numbers>;

// Two heads of 128, so that rows fill every block type. The vocabularies are FLUX.1's own, for its tokenizers,
// or a few words for tests that draw nothing.
inline ModelConfig small_config(bool drawable) {
  ModelConfig c;
  c.clip = {.vocab_size = drawable ? 49408 : 8, .hidden_size = 64, .intermediate_size = 64, .num_layers = 2};
  c.clip.num_heads = 1;
  c.t5 = {.vocab_size = drawable ? 32128 : 8, .d_model = 64, .d_kv = 32, .d_ff = 64, .num_layers = 2};
  c.t5.num_heads = 2;
  c.transformer.num_layers = c.transformer.num_single_layers = 2;
  c.transformer.num_heads = 2;
  c.transformer.joint_attention_dim = c.transformer.pooled_projection_dim = 64;
  c.transformer.guidance_embeds = true;
  c.vae.block_out_channels = {32, 32, 64, 64};
  return c;
}

inline void visit_part(const ModelConfig& c, Part part, const VisitFn& visit) {
  switch (part) {
    case Part::kClip:
      return clip::Weights().visit(c.clip, visit);
    case Part::kT5:
      return t5::Weights().visit(c.t5, visit);
    case Part::kTransformer:
      return flux::Weights().visit(c.transformer, visit);
    case Part::kVae:
      vae::EncoderWeights().visit(c.vae, visit);
      return vae::DecoderWeights().visit(c.vae, visit);
  }
}

// By the models' own names.
inline Tensors numbers_of(const ModelConfig& config, Part part) {
  Tensors out;
  DummySource source(DType::kF32);
  visit_part(config, part, [&](const Param& param, Tensor&) {
    Numbers& numbers = out[param.name];
    for (int i = 0; i < param.shape.rank(); ++i) numbers.extents.push_back(param.shape[i]);
    numbers.values.resize(static_cast<std::size_t>(param.shape.numel()));
    source.read(param, std::as_writable_bytes(std::span(numbers.values)));
    numbers.quantizable = param.quantizable();
  });
  return out;
}

// Where a parameter lies: a tensor, and of a shared one the rows there for each run of its own rows.
struct Place {
  std::string name;
  std::vector<RowRange> rows = {};
  int64_t all_rows = 0;
};

// The name with the first of these beginnings that it has replaced.
inline std::string replaced(std::string name, const std::vector<std::pair<std::string, std::string>>& words) {
  for (const auto& [from, to] : words) {
    if (const std::size_t at = name.find(from); at != name.npos) name.replace(at, from.size(), to);
  }
  return name;
}

inline Place bfl_transformer_place(const std::string& ours, int64_t width) {
  static const std::map<std::string, std::pair<std::string, std::pair<int, int>>> kFused = {
      {"transformer_blocks.attn.to_q", {"double_blocks.#.img_attn.qkv", {0, 3}}},
      {"transformer_blocks.attn.to_k", {"double_blocks.#.img_attn.qkv", {1, 3}}},
      {"transformer_blocks.attn.to_v", {"double_blocks.#.img_attn.qkv", {2, 3}}},
      {"transformer_blocks.attn.add_q_proj", {"double_blocks.#.txt_attn.qkv", {0, 3}}},
      {"transformer_blocks.attn.add_k_proj", {"double_blocks.#.txt_attn.qkv", {1, 3}}},
      {"transformer_blocks.attn.add_v_proj", {"double_blocks.#.txt_attn.qkv", {2, 3}}},
      {"single_transformer_blocks.attn.to_q", {"single_blocks.#.linear1", {0, 7}}},
      {"single_transformer_blocks.attn.to_k", {"single_blocks.#.linear1", {1, 7}}},
      {"single_transformer_blocks.attn.to_v", {"single_blocks.#.linear1", {2, 7}}},
      {"single_transformer_blocks.proj_mlp", {"single_blocks.#.linear1", {3, 7}}}};
  static const std::map<std::string, std::string> kAlone = {
      {"transformer_blocks.norm1.linear", "double_blocks.#.img_mod.lin"},
      {"transformer_blocks.norm1_context.linear", "double_blocks.#.txt_mod.lin"},
      {"transformer_blocks.attn.norm_q", "double_blocks.#.img_attn.norm.query_norm"},
      {"transformer_blocks.attn.norm_k", "double_blocks.#.img_attn.norm.key_norm"},
      {"transformer_blocks.attn.norm_added_q", "double_blocks.#.txt_attn.norm.query_norm"},
      {"transformer_blocks.attn.norm_added_k", "double_blocks.#.txt_attn.norm.key_norm"},
      {"transformer_blocks.attn.to_out.0", "double_blocks.#.img_attn.proj"},
      {"transformer_blocks.attn.to_add_out", "double_blocks.#.txt_attn.proj"},
      {"transformer_blocks.ff.net.0.proj", "double_blocks.#.img_mlp.0"},
      {"transformer_blocks.ff.net.2", "double_blocks.#.img_mlp.2"},
      {"transformer_blocks.ff_context.net.0.proj", "double_blocks.#.txt_mlp.0"},
      {"transformer_blocks.ff_context.net.2", "double_blocks.#.txt_mlp.2"},
      {"single_transformer_blocks.norm.linear", "single_blocks.#.modulation.lin"},
      {"single_transformer_blocks.attn.norm_q", "single_blocks.#.norm.query_norm"},
      {"single_transformer_blocks.attn.norm_k", "single_blocks.#.norm.key_norm"},
      {"single_transformer_blocks.proj_out", "single_blocks.#.linear2"},
      {"x_embedder", "img_in"},
      {"context_embedder", "txt_in"},
      {"time_text_embed.timestep_embedder.linear_1", "time_in.in_layer"},
      {"time_text_embed.timestep_embedder.linear_2", "time_in.out_layer"},
      {"time_text_embed.guidance_embedder.linear_1", "guidance_in.in_layer"},
      {"time_text_embed.guidance_embedder.linear_2", "guidance_in.out_layer"},
      {"time_text_embed.text_embedder.linear_1", "vector_in.in_layer"},
      {"time_text_embed.text_embedder.linear_2", "vector_in.out_layer"},
      {"norm_out.linear", "final_layer.adaLN_modulation.1"},
      {"proj_out", "final_layer.linear"}};
  std::smatch match;
  std::string module = ours.substr(0, ours.rfind('.')), ending = ours.substr(ours.rfind('.')), number;
  if (std::regex_match(module, match, std::regex("(.*_blocks)\\.([0-9]+)\\.(.*)"))) {
    number = match[2];
    module = match[1].str() + "." + match[3].str();
  }
  Place out;
  if (const auto fused = kFused.find(module); fused != kFused.end()) {
    const auto [first, all] = fused->second.second;
    const int64_t count = module.ends_with("proj_mlp") ? 4 : 1;
    out = {fused->second.first, {{first * width, count * width}}, all * width};
  } else {
    out.name = kAlone.at(module);
    if (out.name.ends_with("_norm")) ending = ".scale";
    if (module == "norm_out.linear") {  // (scale, shift) lies there as (shift, scale)
      out.rows = {{width, width}, {0, width}};
      out.all_rows = 2 * width;
    }
  }
  out.name = replaced(out.name, {{"#", number}}) + ending;
  return out;
}

inline std::string bfl_vae_name(const std::string& ours) {
  std::string out = replaced(ours, {{"mid_block.resnets.0", "mid.block_1"},
                                    {"mid_block.resnets.1", "mid.block_2"},
                                    {"mid_block.attentions.0.group_norm", "mid.attn_1.norm"},
                                    {"mid_block.attentions.0.to_out.0", "mid.attn_1.proj_out"},
                                    {"mid_block.attentions.0.to_", "mid.attn_1."},
                                    {"conv_norm_out", "norm_out"},
                                    {"up_blocks.0", "up.3"},
                                    {"up_blocks.1", "up.2"},
                                    {"up_blocks.2", "up.1"},
                                    {"up_blocks.3", "up.0"},
                                    {"down_blocks", "down"},
                                    {"resnets", "block"},
                                    {"upsamplers.0.conv", "upsample.conv"},
                                    {"downsamplers.0.conv", "downsample.conv"},
                                    {"conv_shortcut", "nin_shortcut"}});
  return out;
}

inline std::string llama_name(const std::string& ours) {
  return replaced(ours, {{"shared", "token_embd"},
                         {"encoder.final_layer_norm", "enc.output_norm"},
                         {"encoder.block", "enc.blk"},
                         {"layer.0.layer_norm", "attn_norm"},
                         {"layer.0.SelfAttention.relative_attention_bias", "attn_rel_b"},
                         {"layer.0.SelfAttention.", "attn_"},
                         {"layer.1.layer_norm", "ffn_norm"},
                         {"layer.1.DenseReluDense.wi_0", "ffn_gate"},
                         {"layer.1.DenseReluDense.wi_1", "ffn_up"},
                         {"layer.1.DenseReluDense.wo", "ffn_down"}});
}

inline Place place_of(const std::string& ours, Part part, Names names, int64_t width) {
  if (names == Names::kLlama) return {llama_name(ours)};
  if (names == Names::kDistill) return {(ours.starts_with("final_") ? "" : "encoder.") + ours};
  if (names == Names::kBfl && part == Part::kVae) return {bfl_vae_name(ours)};
  if (names == Names::kBfl && part == Part::kTransformer) return bfl_transformer_place(ours, width);
  return {ours};
}

// The same numbers by the names of a file.
inline Tensors spelled(const Tensors& ours, Part part, Names names, int64_t width) {
  Tensors out;
  for (const auto& [name, numbers] : ours) {
    const Place place = place_of(name, part, names, width);
    Numbers& there = out[place.name];
    if (place.rows.empty()) {
      there = numbers;
      continue;
    }
    const int64_t row = static_cast<int64_t>(numbers.values.size()) / numbers.extents[0];
    there.extents = numbers.extents;
    there.extents[0] = place.all_rows;
    there.values.resize(static_cast<std::size_t>(place.all_rows * row));
    there.quantizable = numbers.quantizable;
    auto from = numbers.values.begin();
    for (const RowRange& rows : place.rows) {
      std::copy_n(from, rows.count * row, there.values.begin() + rows.first * row);
      from += rows.count * row;
    }
  }
  return out;
}

// And back.
inline Tensors unspelled(const Tensors& theirs, const Tensors& like, Part part, Names names, int64_t width) {
  Tensors out = like;
  for (auto& [name, numbers] : out) {
    const Place place = place_of(name, part, names, width);
    const Numbers& there = theirs.at(place.name);
    const int64_t row = static_cast<int64_t>(numbers.values.size()) / numbers.extents[0];
    auto to = numbers.values.begin();
    for (const RowRange& rows :
         place.rows.empty() ? std::vector<RowRange>{{0, numbers.extents[0]}} : place.rows)
      to = std::copy_n(there.values.begin() + rows.first * row, rows.count * row, to);
  }
  return out;
}

// Tensors on their way into a file.
class FileMaker {
 public:
  void add_bytes(const std::string& name, DType dtype, const std::vector<int64_t>& extents,
                 std::string_view bytes) {
    Entry& entry = entries_[name];
    entry = {dtype, extents, Buffer(std::max<std::size_t>(bytes.size(), 1))};
    std::memcpy(entry.memory.data(), bytes.data(), bytes.size());
  }
  template <typename T>
  void add(const std::string& name, DType dtype, const std::vector<int64_t>& extents,
           const std::vector<T>& values) {
    add_bytes(name, dtype, extents,
              {reinterpret_cast<const char*>(values.data()), values.size() * sizeof(T)});
  }
  void add_text(const std::string& name, const std::string& text) {
    add_bytes(name, DType::kU8, {static_cast<int64_t>(text.size())}, text);
  }
  // In f32, bf16, f16 or a block type. Returns the numbers that it means.
  Numbers add(const std::string& name, const Numbers& numbers, DType dtype) {
    Entry& entry = entries_[name];
    const Shape shape{std::span(numbers.extents)};
    entry = {dtype, numbers.extents, Buffer(Tensor(nullptr, dtype, shape).bytes())};
    const Tensor stored(entry.memory.data(), dtype, shape);
    Numbers means = numbers;
    const Tensor values(means.values.data(), DType::kF32, shape);
    if (dtype == DType::kF32) {
      std::memcpy(entry.memory.data(), means.values.data(), stored.bytes());
    } else if (dtype == DType::kF16) {
      for (std::size_t i = 0; i < means.values.size(); ++i) {
        const Float16 half = to_float16(means.values[i]);
        std::memcpy(entry.memory.data() + 2 * i, &half, 2);
        means.values[i] = to_float(half);
      }
    } else {
      quantize_rows(values, {}, stored);
      dequantize_rows(stored, {}, values);
    }
    return means;
  }
  void add_all(const Tensors& tensors, const std::string& prefix = "", DType dtype = DType::kF32) {
    for (const auto& [name, numbers] : tensors) add(prefix + name, numbers, dtype);
  }
  void erase(const std::string& name) { entries_.erase(name); }

  void write(const std::filesystem::path& path,
             const std::map<std::string, std::string>& metadata = {}) const {
    std::filesystem::create_directories(path.parent_path());
    write_safetensors(path, named(), {.metadata = metadata, .overwrite = true});
  }
  void write_as_gguf(const std::filesystem::path& path, const GgufFields& fields = GgufFields()) const {
    std::filesystem::create_directories(path.parent_path());
    write_gguf(path, named(), fields, true);
  }

 private:
  struct Entry {
    DType dtype = DType::kF32;
    std::vector<int64_t> extents;
    Buffer memory;
  };
  std::vector<NamedTensor> named() const {
    std::vector<NamedTensor> out;
    for (const auto& [name, entry] : entries_) {
      out.push_back({name, Tensor(const_cast<std::byte*>(entry.memory.data()), entry.dtype,
                                  Shape(std::span(entry.extents)))});
    }
    return out;
  }
  std::map<std::string, Entry> entries_;
};

// One small model, and files of its parts.
class SmallModel {
 public:
  explicit SmallModel(bool drawable) : config(small_config(drawable)) {
    for (const Part part : kParts) parts[static_cast<std::size_t>(part)] = numbers_of(config, part);
  }
  const Tensors& of(Part part) const { return parts[static_cast<std::size_t>(part)]; }
  Tensors in(Part part, Names names) const {
    return spelled(of(part), part, names, config.transformer.inner_dim());
  }
  void write(const std::filesystem::path& path, Part part, Names names = Names::kDiffusers,
             const std::string& prefix = "") const {
    FileMaker file;
    file.add_all(in(part, names), prefix);
    file.write(path);
  }
  // A part's folder in diffusers layout.
  void write_folder(const std::filesystem::path& folder, Part part, const Tensors& tensors) const {
    FileMaker file;
    file.add_all(tensors);
    const bool diffusers = part == Part::kTransformer || part == Part::kVae;
    file.write(folder / (diffusers ? "diffusion_pytorch_model.safetensors" : "model.safetensors"));
    std::ofstream(folder / "config.json") << config_of(part);
  }
  void write_model(const std::filesystem::path& folder) const {
    for (const Part part : kParts) write_folder(folder / part_folder(part), part, of(part));
    std::ofstream(folder / "model_index.json") << "{}";
  }
  nlohmann::json config_of(Part part) const {
    const auto& [c, t, f, v, unused] = config;
    switch (part) {
      case Part::kClip:
        return {{"vocab_size", c.vocab_size},
                {"hidden_size", c.hidden_size},
                {"intermediate_size", c.intermediate_size},
                {"num_hidden_layers", c.num_layers},
                {"num_attention_heads", c.num_heads}};
      case Part::kT5:
        return {{"vocab_size", t.vocab_size}, {"d_model", t.d_model},    {"d_kv", t.d_kv}, {"d_ff", t.d_ff},
                {"num_layers", t.num_layers}, {"num_heads", t.num_heads}};
      case Part::kTransformer:
        return {{"num_layers", f.num_layers},
                {"num_single_layers", f.num_single_layers},
                {"num_attention_heads", f.num_heads},
                {"attention_head_dim", f.head_dim},
                {"joint_attention_dim", f.joint_attention_dim},
                {"pooled_projection_dim", f.pooled_projection_dim},
                {"guidance_embeds", f.guidance_embeds}};
      case Part::kVae:
        return {{"block_out_channels", v.block_out_channels},
                {"latent_channels", v.latent_channels},
                {"layers_per_block", v.layers_per_block},
                {"norm_num_groups", v.norm_num_groups},
                {"scaling_factor", v.scaling_factor},
                {"shift_factor", v.shift_factor},
                {"use_quant_conv", false},
                {"use_post_quant_conv", false}};
    }
    return {};
  }

  ModelConfig config;
  std::array<Tensors, 4> parts;
};

// A folder with a cache of huggingface_hub, hub/, in it.
class HubTest : public testing::Test {
 protected:
  const TempFolder folder_;
};

}  // namespace darkroom
