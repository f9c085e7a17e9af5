#include "bench/plan.h"

namespace darkroom::bench {
namespace {

// 2 double and 4 single blocks keep FLUX.1's proportion of 19 to 38.
flux::Config blocks_of_flux(int64_t double_blocks, int64_t single_blocks) {
  flux::Config config;
  config.num_layers = double_blocks;
  config.num_single_layers = single_blocks;
  return config;
}

constexpr Pace kDevicePace{.first_probe_seconds = 0.2,
                           .probe_seconds = 0.02,
                           .min_row_seconds = 0.2,
                           .total_seconds = 600,
                           .min_run_seconds = 0.02,
                           .stream_bytes = 512 << 20};

}  // namespace

Plan full_plan() {
  Plan plan;
  for (const int64_t m : {512, 1280, 4352}) {
    for (const auto& [k, n] :
         {std::pair<int64_t, int64_t>{3072, 3072}, {3072, 12288}, {12288, 3072}, {15360, 3072}}) {
      plan.matmuls.push_back({m, k, n});
    }
  }
  plan.modulations = {{1, 3072, 18432}, {28, 3072, 18432}};
  plan.attentions = {{512, 24, 128}, {1280, 24, 128}, {4608, 24, 128}};
  plan.convs = {{512, 512, 64},  {512, 512, 128}, {512, 512, 64, 3, 2},
                {256, 256, 256}, {256, 128, 512}, {128, 128, 512}};
  plan.group_norms = {{128, 512, 32}, {256, 256, 32}, {512, 128, 32}};
  plan.norm_tokens = {1280, 4352};
  plan.transformer = blocks_of_flux(2, 4);
  plan.steps = {{256, 16, 16}, {256, 32, 32}, {256, 64, 64}};
  plan.vae_pixels = {512};
  return plan;
}

// About 2 TFLOP in all, so some 30 s at 70 GFLOP/s.
Plan quick_plan() {
  Plan plan;
  plan.pace = {.first_probe_seconds = 0.3,
               .probe_seconds = 0.02,
               .min_row_seconds = 0.15,
               .max_row_seconds = 1.5,
               .total_seconds = 35,
               .stream_bytes = 128 << 20};
  plan.matmuls = {{512, 3072, 12288}, {512, 12288, 3072}, {1280, 3072, 3072}};
  plan.modulations = {{1, 3072, 18432}, {28, 3072, 18432}};
  plan.attentions = {{512, 24, 128}, {1280, 24, 128}};
  plan.convs = {{512, 512, 64}, {128, 128, 512}};
  plan.group_norms = {{256, 256, 32}};
  plan.norm_tokens = {1280};
  plan.transformer = blocks_of_flux(1, 1);
  plan.steps = {{256, 16, 16}};
  plan.vae_pixels = {128};
  return plan;
}

Plan full_device_plan() {
  Plan plan;
  plan.pace = kDevicePace;
  plan.matmuls = {{4608, 3072, 21504}, {4608, 15360, 3072}, {4096, 3072, 12288},
                  {4096, 12288, 3072}, {4608, 3072, 9216},  {512, 3072, 12288}};
  plan.modulations = {{1, 3072, 18432}, {28, 3072, 18432}};
  plan.attentions = {{1536, 24, 128}, {4608, 24, 128}};
  plan.convs = {{512, 512, 128}, {512, 512, 128, 3, 2}, {256, 256, 512}, {128, 128, 1024}};
  plan.group_norms = {{256, 512, 32}, {512, 256, 32}, {1024, 128, 32}};
  plan.norm_tokens = {4608};
  plan.transformer = blocks_of_flux(2, 4);
  plan.steps = {{512, 16, 16}, {512, 32, 32}, {512, 64, 64}};
  plan.vae_pixels = {1024};
  return plan;
}

Plan quick_device_plan() {
  Plan plan;
  plan.pace = kDevicePace;
  plan.pace.total_seconds = 35;
  plan.pace.max_row_seconds = 2;
  plan.matmuls = {{4608, 3072, 21504}, {4608, 15360, 3072}};
  plan.modulations = {{1, 3072, 18432}};
  plan.attentions = {{4608, 24, 128}};
  plan.convs = {{128, 128, 1024}};
  plan.group_norms = {{512, 256, 32}};
  plan.norm_tokens = {4608};
  plan.transformer = blocks_of_flux(1, 1);
  plan.steps = {{512, 64, 64}};
  plan.vae_pixels = {512};
  return plan;
}

Plan slow_device_plan() {
  Plan plan;
  plan.pace = {.first_probe_seconds = 0.1,
               .probe_seconds = 0.02,
               .min_row_seconds = 0.1,
               .max_row_seconds = 1,
               .total_seconds = 50,
               .stream_bytes = 16 << 20};
  plan.matmuls = {{256, 512, 512}};
  plan.modulations = {{1, 512, 3072}};
  plan.attentions = {{256, 4, 128}};
  plan.convs = {{32, 32, 64}};
  plan.group_norms = {{64, 64, 32}};
  plan.norm_tokens = {256};
  plan.transformer = blocks_of_flux(1, 1);
  plan.transformer.num_heads = 4;
  plan.steps = {{32, 8, 8}};
  plan.vae.block_out_channels = {32, 64};
  plan.vae_pixels = {32};
  return plan;
}

}  // namespace darkroom::bench
