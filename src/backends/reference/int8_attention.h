// Attention with products of 8 bits, as AttentionArgs writes its arithmetic down. Private to this room.
#pragma once

#include <vector>

#include "ops/backend.h"

namespace darkroom::reference {

// q, k and v as f32, row by row -> the result in the same way. Errors: as AttentionArgs.
std::vector<float> int8_attention(const AttentionArgs& args, const std::vector<float>& q,
                                  std::vector<float> k, std::vector<float> v);

}  // namespace darkroom::reference
