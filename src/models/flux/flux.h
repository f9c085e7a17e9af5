// FluxTransformer2DModel: FLUX.1's rectified-flow MM-DiT (arXiv 2403.03206), as diffusers computes it.
//
// One step is embed() -> run_blocks(first, last) -> project(). What depends on time only, the adaLN
// modulation of every block, is computed for all steps beforehand by modulation_vectors(): 27 % of the
// weights are not needed afterwards. Text and image tokens share one tensor, text first, so concatenation is
// free. Called by the pipeline.
#pragma once

#include <cstdint>
#include <nlohmann/json_fwd.hpp>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "nn/modules.h"

namespace darkroom::flux {

struct Config {
  int64_t in_channels = 64;
  int64_t out_channels = 64;
  int64_t num_layers = 19;         // double-stream blocks
  int64_t num_single_layers = 38;  // single-stream blocks
  int64_t num_heads = 24;
  int64_t head_dim = 128;
  int64_t joint_attention_dim = 4096;   // width of the T5 states
  int64_t pooled_projection_dim = 768;  // width of the pooled CLIP vector
  bool guidance_embeds = false;
  std::vector<int64_t> axes_dims_rope = {16, 56, 56};

  int64_t inner_dim() const { return num_heads * head_dim; }
  int64_t num_blocks() const { return num_layers + num_single_layers; }
};

// From transformer/config.json. Errors: kModel, naming `where` and the field.
Config config_from_json(const nlohmann::json& json, const std::string& where);

// What one stream (image or text) owns in a double block.
struct StreamWeights {
  Linear modulation;  // 6·D: shift, scale, gate of attention, then of the MLP
  Linear q, k, v, out;
  Tensor norm_q, norm_k;  // [head_dim]
  Mlp mlp;
};
struct DoubleBlock {
  StreamWeights img, txt;
};
struct SingleBlock {
  Linear modulation;  // 3·D: shift, scale, gate
  Linear q, k, v;
  Tensor norm_q, norm_k;
  Linear mlp;  // D -> 4·D
  Linear out;  // attention (D) and MLP (4·D) columns -> D
};

struct Weights {
  Linear x_embedder, context_embedder;
  Mlp time, guidance, pooled;  // guidance only if config.guidance_embeds
  std::vector<DoubleBlock> double_blocks;
  std::vector<SingleBlock> single_blocks;
  Linear norm_out;  // 2·D: scale, shift
  Linear proj_out;

  // Names every parameter as diffusers does; sizes follow the config.
  void visit(const Config& config, const VisitFn& visit);
};

// Units of Stage::kModulation, which modulation_vectors() needs and nothing after it: unit 0 embeds time,
// guidance and pooled text, unit 1 + b is block b's modulation, the last one that of norm_out. Units of
// Stage::kBlock: the rest of each block.
int64_t modulation_units(const Config& config);

// cos(t·f₀…), sin(t·f₀…) of width `dim`, cosine first, fᵢ = 10000^(−i/(dim/2)), f32 like the reference.
std::vector<float> timestep_embedding(float t, int64_t dim);

// Values of modulation_vectors() per step: 12·D a double block, 3·D a single block, 2·D at the end.
int64_t modulation_width(const Config& config);

// Where a block's vectors begin among the columns of modulation_vectors(): of a double block the image's 6·D, then
// the text's.
int64_t modulation_offset(const Config& config, int64_t block);

// An input of a block's linear layers that a norm modulates: its name (Param::fed_by), and where its shift and
// its scale begin among the columns of modulation_vectors(). Of attention's: the layer that makes its values, and
// the names of the inputs that are means of them.
struct ModulatedInput {
  std::string first;
  int64_t shift = 0, scale = 0;
  std::string values = {};
  std::vector<std::string> attended = {};
};
std::vector<ModulatedInput> modulated_inputs(const Config& config);

// The modulation of all steps at once, for each row of pooled [prompts, pooled_projection_dim], which is in
// ctx.activation: f32 [prompts · timesteps, modulation_width], all steps of a prompt behind each other.
// timesteps are the scheduler's, 1000·sigma; guidance is one scale for each of them, and does not matter to a
// model that embeds none. Both are rounded on their way in as diffusers rounds them (bf16: 750 -> 752).
// `lease` gets the units of Stage::kModulation. Errors: kFailure if the model embeds guidance and their
// number is another.
Tensor modulation_vectors(const Context& ctx, const Config& config, const Weights& weights,
                          std::span<const float> timesteps, std::span<const float> guidance,
                          const Tensor& pooled, const LeaseFn& lease = {});

// Rotary tables, f32 [txt_tokens + rows·cols, head_dim/2]: text at position 0, image token (r, c) at (0, r,
// c).
struct Rope {
  Tensor cos, sin;
};
Rope rope_tables(const Context& ctx, const Config& config, int64_t txt_tokens, int64_t rows, int64_t cols);

// Hidden states [txt_tokens + img_tokens, D].
struct Hidden {
  Tensor x;
  int64_t txt_tokens = 0;
  Tensor txt() const { return x.slice_rows(0, txt_tokens); }
  Tensor img() const { return x.slice_rows(txt_tokens, x.rows() - txt_tokens); }
};

// latents [img_tokens, in_channels] and text [txt_tokens, joint_attention_dim], both in ctx.activation.
Hidden embed(const Context& ctx, const Config& config, const Weights& weights, const Tensor& latents,
             const Tensor& text);

// The image tokens as the first block's attention sees them, normalised and modulated, into out [img_tokens,
// D]: TeaCache's signal (arXiv 2411.19108). `modulation` is one row of modulation_vectors().
void modulated_input(const Context& ctx, const Config& config, const Tensor& modulation, const Hidden& hidden,
                     const Tensor& out);

// Blocks [first, last) in place on `hidden`: double blocks come first, then single ones, numbered through.
// `modulation` is one row of modulation_vectors(). With ctx.int8 their linear layers, whose weights must
// be i8 then, multiply in 8 bits; with group 0 the single blocks' output layer, whose input is attention and
// MLP side by side, has a scale for each D columns. Errors: kCancelled between blocks; kFailure for hidden
// states that are not finite, in 8 bits.
void run_blocks(const Context& ctx, const Config& config, const Weights& weights, const Tensor& modulation,
                const Rope& rope, const Hidden& hidden, int64_t first, int64_t last);

// The flow velocity (noise − data) of the image tokens: [img_tokens, out_channels].
Tensor project(const Context& ctx, const Config& config, const Weights& weights, const Tensor& modulation,
               const Hidden& hidden);

}  // namespace darkroom::flux
