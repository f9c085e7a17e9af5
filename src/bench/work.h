// How much work a row is: the FLOPs and bytes that rates and fractions are computed from. Pure arithmetic.
#pragma once

#include <cstdint>

#include "bench/plan.h"
#include "tensor/dtype.h"

namespace darkroom::bench {

struct Work {
  double matmul_flops = 0;     // linear layers and convolutions
  double attention_flops = 0;  // apart, because backends may use another arithmetic for it
  double bytes = 0;            // 0: no memory ceiling is applied
  double flops() const { return matmul_flops + attention_flops; }
};
Work operator+(const Work& a, const Work& b);
Work times(const Work& work, double times);

// What the machine does in a second at best, for each kind of work.
struct Rates {
  double matmul = 0, attention = 0, read = 0;
};
// Each the higher of both.
Rates higher(const Rates& a, const Rates& b);

// Seconds that `work` takes at these rates: its arithmetic or its reading, whichever is longer.
double ideal_seconds(const Work& work, const Rates& rates);

Work matmul_work(const MatmulShape& shape);
// A matmul that is bound by reading weights: x, a bf16 bias and the result count too.
Work modulation_work(const MatmulShape& shape, DType activation, DType weights = DType::kBF16);
Work attention_work(const AttentionShape& shape);
Work conv_work(const ConvShape& shape);
Work norm_modulate_work(int64_t tokens, int64_t width, DType activation);
Work qk_norm_rope_work(int64_t tokens, int64_t width, int64_t head_dim, DType activation);
Work group_norm_work(const GroupNormShape& shape, DType activation);

// One transformer block on `tokens` text and image tokens: 12·D² multiply-adds a token (double: q, k, v,
// out, and the MLP's 4 and 4; single: q, k, v, the MLP's 4, and 5 out), and attention over all pairs. The
// same for both kinds.
Work block_work(const flux::Config& config, int64_t tokens);

// The decoder on latents of height and width `size`.
Work vae_decode_work(const vae::Config& config, int64_t size);

}  // namespace darkroom::bench
