// What a LoRA file says of itself, without a model.
#pragma once

#include <nlohmann/json_fwd.hpp>

#include "weights/catalog.h"

namespace darkroom {

// {"names": "kohya", "kinds": {"LoRA": 304}, "ranks": {"16": 304}, "alphas": {"16": 304}, "targets":
// {"double_blocks_N_img_attn_qkv": 19}, "trigger_words": [..], "base": "flux1", "title": ".."}; null for a file
// that is no LoRA. "made_for" where its names are those of another model.
nlohmann::json describe_lora(const Catalog& catalog);

}  // namespace darkroom
