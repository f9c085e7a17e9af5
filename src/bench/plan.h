// What a bench runs: shapes, and how long to stay with each. Tests make miniature plans.
#pragma once

#include <cstddef>
#include <cstdint>
#include <nlohmann/json_fwd.hpp>
#include <vector>

#include "bench/bench.h"
#include "models/flux/flux.h"
#include "models/vae/vae.h"

namespace darkroom::bench {

struct MatmulShape {
  int64_t m, k, n;
};
struct AttentionShape {
  int64_t tokens, heads, head_dim;
};
struct ConvShape {
  int64_t in, out, size;  // channels; height and width of the input
  int64_t kernel = 3, upsample = 1;
};
struct GroupNormShape {
  int64_t size, channels, groups;
};
struct TokenShape {
  int64_t txt_tokens, rows, cols;  // image tokens are rows · cols
  int64_t tokens() const { return txt_tokens + rows * cols; }
};

// When a row has been measured well enough. Times in seconds.
struct Pace {
  double first_probe_seconds = 0.4;  // each ceiling, at the beginning
  double probe_seconds = 0.03;       // each ceiling, beside a run
  int min_runs = 3;
  double min_row_seconds = 0.3;  // more runs than min_runs until they took this long, at most kMaxRuns
  double max_row_seconds = 20;   // fewer than min_runs if another one would pass this
  double total_seconds = 600;    // rows that would pass this are left out
  double min_run_seconds = 0;    // ops are repeated in one run until they take so long, if all goes well
  std::size_t stream_bytes = 256 << 20;  // operands of a run bound by memory: beyond any cache
};
inline constexpr int kMaxRuns = 30;

struct Plan {
  Pace pace;
  std::vector<MatmulShape> matmuls;      // bound by arithmetic
  std::vector<MatmulShape> modulations;  // few rows
  std::vector<AttentionShape> attentions;
  std::vector<ConvShape> convs;
  std::vector<GroupNormShape> group_norms;
  std::vector<int64_t> norm_tokens;  // norm_modulate and qk_norm_rope, at the transformer's width
  flux::Config transformer;          // a step is its num_layers + num_single_layers blocks
  std::vector<TokenShape> steps;
  vae::Config vae;
  std::vector<int64_t> vae_pixels;  // height and width of the picture
};

// FLUX.1's own shapes.
Plan full_plan();
Plan quick_plan();
// Those of 1024 × 1024 pixels, for a graphics card; and miniatures for what is one by name only.
Plan full_device_plan();
Plan quick_device_plan();
Plan slow_device_plan();

// run_bench() on a plan of one's own.
nlohmann::json run_plan(const BenchOptions& options, const Plan& plan);

}  // namespace darkroom::bench
