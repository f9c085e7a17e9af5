// T5 v1.1's encoder (arXiv 1910.10683, 2002.05202), as transformers' T5EncoderModel computes it.
//
// No biases, no scaling of q·k, relative position buckets from block 0 used in every block, gated GELU. FLUX
// passes no mask: padding takes part. Called by the pipeline's text phase.
#pragma once

#include <cstdint>
#include <nlohmann/json_fwd.hpp>
#include <span>
#include <string>
#include <vector>

#include "nn/modules.h"

namespace darkroom::t5 {

struct Config {
  int64_t vocab_size = 32128;
  int64_t d_model = 4096;
  int64_t d_kv = 64;
  int64_t d_ff = 10240;
  int64_t num_layers = 24;
  int64_t num_heads = 64;
  int64_t num_buckets = 32;
  int64_t max_distance = 128;
  float layer_norm_eps = 1e-6f;
  int64_t projection = 0;  // DistillT5's: states leave through two layers of this width (arXiv 2503.19897)

  // Of the states that encode() gives.
  int64_t out_features() const { return projection > 0 ? projection : d_model; }
};

// From text_encoder_2/config.json. Errors: kModel, naming `where` and the field; a feed-forward that is not
// the gated GELU of T5 v1.1 is refused.
Config config_from_json(const nlohmann::json& json, const std::string& where);

struct Layer {
  Tensor attention_norm;  // [d_model]
  Linear q, k, v, o;
  Tensor ff_norm;
  Linear wi_0, wi_1, wo;  // wi_0 goes through the GELU
};

struct Weights {
  Tensor shared;         // [vocab, d_model]
  Tensor relative_bias;  // [buckets, heads], stored in block 0
  std::vector<Layer> layers;
  Tensor final_norm;
  Mlp projection;  // only if config.projection

  // Names every parameter as transformers does ("shared.weight", "encoder.block.N.…"). Each layer is a unit
  // of Stage::kBlock; the relative bias, which all use, is not part of one.
  void visit(const Config& config, const VisitFn& visit);
};

// The bucket of distance key − query, bidirectional: half of the buckets for each sign, exact near zero, then
// logarithmic up to max_distance. Computed in f32 as the reference does.
int64_t relative_bucket(const Config& config, int64_t distance);

// Each list of ids -> states [ids, out_features()] in ctx.activation, after the final norm and the
// projection. Every layer is leased once for all. With ctx.int8 their linear layers, whose weights must
// then be i8 with scales, multiply in 8 bits.
std::vector<Tensor> encode(const Context& ctx, const Config& config, const Weights& weights,
                           std::span<const std::vector<int32_t>> prompts, const LeaseFn& lease = {});

}  // namespace darkroom::t5
