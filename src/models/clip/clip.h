// CLIP's text transformer (arXiv 2103.00020), as transformers' CLIPTextModel computes its pooled output.
//
// FLUX uses only the pooled vector: the final-normed state at the first end token. There is no text
// projection. Called by the pipeline's text phase.
#pragma once

#include <cstdint>
#include <nlohmann/json_fwd.hpp>
#include <span>
#include <string>
#include <vector>

#include "nn/modules.h"

namespace darkroom::clip {

struct Config {
  int64_t vocab_size = 49408;
  int64_t hidden_size = 768;
  int64_t intermediate_size = 3072;
  int64_t num_layers = 12;
  int64_t num_heads = 12;
  int64_t max_positions = 77;
  int64_t eos_token_id = 2;
  float layer_norm_eps = 1e-5f;
  Activation activation = Activation::kQuickGelu;
};

// From text_encoder/config.json. Errors: kModel, naming `where` and the field.
Config config_from_json(const nlohmann::json& json, const std::string& where);

struct Layer {
  NormWeights norm1, norm2;
  Linear q, k, v, out;
  Mlp mlp;
};

struct Weights {
  Tensor token_embedding;     // [vocab, hidden]
  Tensor position_embedding;  // [positions, hidden]
  std::vector<Layer> layers;
  NormWeights final_norm;

  // Names every tensor as transformers does ("text_model.…"); sizes follow the config.
  void visit(const Config& config, const VisitFn& visit);
};

// The position whose state is the pooled vector: with the legacy eos_token_id 2 the first occurrence of the
// largest id, otherwise the first eos_token_id (0 if there is none), as transformers does it. ids must not be
// empty.
int64_t pooled_position(const Config& config, std::span<const int32_t> ids);

// ids (at most max_positions of them) -> pooled [1, hidden_size] in ctx.activation.
Tensor encode_pooled(const Context& ctx, const Config& config, const Weights& weights,
                     std::span<const int32_t> ids);

}  // namespace darkroom::clip
