#include "convert/model_files.h"

#include <cstdlib>
#include <nlohmann/json.hpp>

namespace darkroom {
namespace {

using nlohmann::json;

constexpr char kFirstCharacter = '!', kLastCharacter = '~';
constexpr const char *kBegin = "<|startoftext|>", *kEnd = "<|endoftext|>";

// The shortest number that reads back as this float: 1e-05, not 9.999999747378752e-06.
double shortest(float value) { return std::strtod(fmt::format("{}", value).c_str(), nullptr); }

json model_index() {
  return {{"_class_name", "FluxPipeline"},
          {"scheduler", {"diffusers", "FlowMatchEulerDiscreteScheduler"}},
          {"text_encoder", {"transformers", "CLIPTextModel"}},
          {"text_encoder_2", {"transformers", "T5EncoderModel"}},
          {"tokenizer", {"transformers", "CLIPTokenizer"}},
          {"tokenizer_2", {"transformers", "T5TokenizerFast"}},
          {"transformer", {"diffusers", "FluxTransformer2DModel"}},
          {"vae", {"diffusers", "AutoencoderKL"}}};
}

json scheduler_config(const SchedulerConfig& c) {
  json out = {{"_class_name", "FlowMatchEulerDiscreteScheduler"},
              {"base_image_seq_len", c.base_image_seq_len},
              {"base_shift", c.base_shift},
              {"max_image_seq_len", c.max_image_seq_len},
              {"max_shift", c.max_shift},
              {"num_train_timesteps", c.num_train_timesteps},
              {"shift", c.shift},
              {"use_dynamic_shifting", c.use_dynamic_shifting}};
  if (c.shift_terminal) out["shift_terminal"] = *c.shift_terminal;
  if (c.time_shift_type == TimeShift::kLinear) out["time_shift_type"] = "linear";
  return out;
}

json clip_config(const clip::Config& c) {
  return {{"architectures", json::array({"CLIPTextModel"})},
          {"model_type", "clip_text_model"},
          {"vocab_size", c.vocab_size},
          {"hidden_size", c.hidden_size},
          {"projection_dim", c.hidden_size},
          {"intermediate_size", c.intermediate_size},
          {"num_hidden_layers", c.num_layers},
          {"num_attention_heads", c.num_heads},
          {"max_position_embeddings", c.max_positions},
          {"bos_token_id", 0},
          {"pad_token_id", 1},
          {"eos_token_id", c.eos_token_id},
          {"layer_norm_eps", shortest(c.layer_norm_eps)},
          {"hidden_act", c.activation == Activation::kQuickGelu ? "quick_gelu" : "gelu_pytorch_tanh"}};
}

json t5_config(const t5::Config& c) {
  json out = {{"architectures", json::array({"T5EncoderModel"})},
              {"model_type", "t5"},
              {"vocab_size", c.vocab_size},
              {"d_model", c.d_model},
              {"d_kv", c.d_kv},
              {"d_ff", c.d_ff},
              {"num_layers", c.num_layers},
              {"num_heads", c.num_heads},
              {"relative_attention_num_buckets", c.num_buckets},
              {"relative_attention_max_distance", c.max_distance},
              {"layer_norm_epsilon", shortest(c.layer_norm_eps)},
              {"feed_forward_proj", "gated-gelu"},
              {"tie_word_embeddings", false},
              {"pad_token_id", 0},
              {"eos_token_id", 1},
              {"decoder_start_token_id", 0}};
  if (c.projection > 0) out["project_out_dim"] = c.projection;
  return out;
}

json transformer_config(const flux::Config& c) {
  return {{"_class_name", "FluxTransformer2DModel"},
          {"patch_size", 1},
          {"in_channels", c.in_channels},
          {"num_layers", c.num_layers},
          {"num_single_layers", c.num_single_layers},
          {"num_attention_heads", c.num_heads},
          {"attention_head_dim", c.head_dim},
          {"joint_attention_dim", c.joint_attention_dim},
          {"pooled_projection_dim", c.pooled_projection_dim},
          {"guidance_embeds", c.guidance_embeds},
          {"axes_dims_rope", c.axes_dims_rope}};
}

json vae_config(const vae::Config& c) {
  const std::size_t levels = c.block_out_channels.size();
  return {{"_class_name", "AutoencoderKL"},
          {"act_fn", "silu"},
          {"in_channels", 3},
          {"out_channels", c.out_channels},
          {"latent_channels", c.latent_channels},
          {"block_out_channels", c.block_out_channels},
          {"down_block_types", json::array_t(levels, "DownEncoderBlock2D")},
          {"up_block_types", json::array_t(levels, "UpDecoderBlock2D")},
          {"layers_per_block", c.layers_per_block},
          {"norm_num_groups", c.norm_num_groups},
          {"mid_block_add_attention", c.mid_block_add_attention},
          {"use_quant_conv", false},
          {"use_post_quant_conv", c.use_post_quant_conv},
          {"scaling_factor", shortest(c.scaling_factor)},
          {"shift_factor", shortest(c.shift_factor)},
          {"force_upcast", true},
          {"sample_size", 1024}};
}

// A character, and the same at the end of a word. The end token has the largest id: CLIP's pooled vector is
// that of the largest.
json clip_vocabulary() {
  json vocabulary = json::object();
  for (char c = kFirstCharacter; c <= kLastCharacter; ++c) {
    for (const char* ending : {"", "</w>"}) vocabulary[std::string(1, c) + ending] = vocabulary.size();
  }
  for (const char* token : {kBegin, kEnd}) vocabulary[token] = vocabulary.size();
  return vocabulary;
}

json clip_tokenizer_config(const clip::Config& c) {
  return {{"tokenizer_class", "CLIPTokenizer"},
          {"model_max_length", c.max_positions},
          {"bos_token", kBegin},
          {"eos_token", kEnd},
          {"unk_token", kEnd},
          {"pad_token", kEnd}};
}

json t5_tokenizer() {
  json vocabulary = json::array({{"<pad>", 0.0}, {"</s>", 0.0}, {"<unk>", 0.0}, {"\u2581", -3.0}});
  for (char c = kFirstCharacter; c <= kLastCharacter; ++c) vocabulary.push_back({std::string(1, c), -3.0});
  json added = json::array();
  for (int id = 0; id < 3; ++id) {
    added.push_back({{"id", id},
                     {"content", vocabulary[static_cast<std::size_t>(id)][0]},
                     {"single_word", false},
                     {"lstrip", false},
                     {"rstrip", false},
                     {"normalized", false},
                     {"special", true}});
  }
  const json words = {{"type", "Metaspace"},
                      {"replacement", "\u2581"},
                      {"add_prefix_space", true},
                      {"prepend_scheme", "always"}};
  const json text = {{"Sequence", {{"id", "A"}, {"type_id", 0}}}},
             second = {{"Sequence", {{"id", "B"}, {"type_id", 0}}}},
             end = {{"SpecialToken", {{"id", "</s>"}, {"type_id", 0}}}};
  return {{"version", "1.0"},
          {"truncation", nullptr},
          {"padding", nullptr},
          {"added_tokens", added},
          {"normalizer", nullptr},
          {"pre_tokenizer", words},
          {"post_processor",
           {{"type", "TemplateProcessing"},
            {"single", json::array({text, end})},
            {"pair", json::array({text, end, second, end})},
            {"special_tokens",
             {{"</s>", {{"id", "</s>"}, {"ids", json::array({1})}, {"tokens", json::array({"</s>"})}}}}}}},
          {"decoder", words},
          {"model", {{"type", "Unigram"}, {"unk_id", 2}, {"vocab", vocabulary}}}};
}

json t5_tokenizer_config() {
  return {{"tokenizer_class", "T5Tokenizer"},
          {"extra_ids", 0},
          {"additional_special_tokens", json::array()},
          {"model_max_length", 512},
          {"eos_token", "</s>"},
          {"unk_token", "<unk>"},
          {"pad_token", "<pad>"}};
}

}  // namespace

json part_config(const ModelConfig& config, Part part) {
  switch (part) {
    case Part::kClip:
      return clip_config(config.clip);
    case Part::kT5:
      return t5_config(config.t5);
    case Part::kTransformer:
      return transformer_config(config.transformer);
    case Part::kVae:
      return vae_config(config.vae);
  }
  return {};
}

json scheduler_settings(const ModelConfig& config) { return scheduler_config(config.scheduler); }

std::map<std::string, std::string> config_files(const ModelConfig& config) {
  std::map<std::string, std::string> files;
  const auto add = [&](const std::string& name, const json& content) {
    files[name] = content.dump(2) + "\n";
  };
  add("model_index.json", model_index());
  add("scheduler/scheduler_config.json", scheduler_config(config.scheduler));
  for (const Part part : kParts)
    add(std::string(part_folder(part)) + "/config.json", part_config(config, part));
  return files;
}

std::map<std::string, std::string> dummy_tokenizer_texts(const ModelConfig& config, Part part) {
  if (part == Part::kT5) {
    return {{"tokenizer.json", t5_tokenizer().dump(2) + "\n"},
            {"tokenizer_config.json", t5_tokenizer_config().dump(2) + "\n"}};
  }
  return {{"merges.txt", "#version: 0.2\n"},
          {"vocab.json", clip_vocabulary().dump(2) + "\n"},
          {"tokenizer_config.json", clip_tokenizer_config(config.clip).dump(2) + "\n"}};
}

}  // namespace darkroom
