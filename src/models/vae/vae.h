// diffusers' AutoencoderKL as FLUX.1 uses it: pixels to 16-channel latents, 8x smaller each way, and back.
//
// All tensors are [height, width, channels]. Called by the pipeline's last phase, and by the first when a run
// starts from a picture.
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <nlohmann/json_fwd.hpp>
#include <string>
#include <vector>

#include "base/scratch_file.h"
#include "nn/modules.h"

namespace darkroom::vae {

struct Config {
  int64_t latent_channels = 16;
  int64_t out_channels = 3;
  std::vector<int64_t> block_out_channels = {128, 256, 512, 512};
  int64_t layers_per_block = 2;
  int64_t norm_num_groups = 32;
  bool mid_block_add_attention = true;
  bool use_quant_conv = false, use_post_quant_conv = false;
  float scaling_factor = 0.3611f;
  float shift_factor = 0.1159f;

  int64_t upscale() const { return int64_t{1} << (block_out_channels.size() - 1); }  // 8 for four levels
};

// From vae/config.json. Errors: kModel, naming `where` and the field.
Config config_from_json(const nlohmann::json& json, const std::string& where);

struct ResBlock {
  NormWeights norm1, norm2;
  Conv2d conv1, conv2;
  Conv2d shortcut;  // 1x1, only where the channel count changes
};
struct AttentionBlock {
  NormWeights norm;
  Linear q, k, v, out;
};
struct MidBlock {
  ResBlock resnets[2];
  AttentionBlock attention;  // if config.mid_block_add_attention
};
struct UpBlock {
  std::vector<ResBlock> resnets;  // layers_per_block + 1
  Conv2d upsample;                // absent in the last level
};
struct DownBlock {
  std::vector<ResBlock> resnets;  // layers_per_block
  Conv2d downsample;              // absent in the last level
};

struct DecoderWeights {
  Conv2d post_quant;  // 1x1, if config.use_post_quant_conv
  Conv2d conv_in;
  MidBlock mid;
  std::vector<UpBlock> ups;
  NormWeights norm_out;
  Conv2d conv_out;

  // Names every tensor as diffusers does; sizes follow the config.
  void visit(const Config& config, const VisitFn& visit);
};

struct EncoderWeights {
  Conv2d conv_in;
  std::vector<DownBlock> downs;
  MidBlock mid;
  NormWeights norm_out;
  Conv2d conv_out;  // to means and log variances
  Conv2d quant;     // 1x1, if config.use_quant_conv

  // As above.
  void visit(const Config& config, const VisitFn& visit);
};

// Latents of any layout as the sampler leaves them -> the VAE's own scale, z/scaling_factor + shift_factor;
// and back.
void unscale_latents(const Config& config, std::span<float> latents);
void scale_latents(const Config& config, std::span<float> latents);

// How a decode or an encode spends memory. No byte of the result depends on it.
struct StripPlan {
  // Of the rows that a stage works on at a time, about: at least six rows are needed. Taller strips are
  // hardly faster.
  std::size_t strip_bytes = std::size_t{16} << 20;
  // The pictures between stages lie in a scratch file instead of in ctx.arena.
  bool in_file = false;
};

// What the pictures between stages take, in the file or in memory, for latents of that many pixels: of a
// decode, and of an encode.
std::size_t canvas_bytes(const Config& config, int64_t latent_pixels, DType activation);
std::size_t encode_canvas_bytes(const Config& config, int64_t latent_pixels, DType activation);

// Takes rows [n, W, out_channels] of the finished picture from `first_row` on. They are valid during the call
// only.
using RowsFn = std::function<void(int64_t first_row, const Tensor& rows)>;

// z [h, w, latent_channels] in ctx.activation, already unscaled -> [h·upscale, w·upscale, out_channels],
// about −1 to 1, not clamped, handed over in strips from the top to the bottom. scratch: of canvas_bytes() or
// more if plan.in_file, except on the dry-run backend. Errors: kCancelled between strips; kOutput when the
// disk fails; what `finished` throws.
void decode(const Context& ctx, const Config& config, const DecoderWeights& weights, const Tensor& z,
            const StripPlan& plan, const ScratchFile* scratch, const RowsFn& finished);

// picture [h·upscale, w·upscale, out_channels] in ctx.activation, -1 to 1 -> moments [h, w,
// 2·latent_channels] in the VAE's own scale: the means, then the logarithms of the variances (not clamped).
// scratch: of encode_canvas_bytes() or more, and errors, as above.
Tensor encode(const Context& ctx, const Config& config, const EncoderWeights& weights, const Tensor& picture,
              const StripPlan& plan, const ScratchFile* scratch);

}  // namespace darkroom::vae
