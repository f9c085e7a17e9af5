#include "bench/work.h"

#include <algorithm>

namespace darkroom::bench {
namespace {

double bytes_of(int64_t elements, DType dtype) { return static_cast<double>(row_bytes(dtype, elements)); }

double conv_flops(int64_t in, int64_t out, int64_t out_size, int64_t kernel) {
  return 2.0 * static_cast<double>(out_size * out_size) * static_cast<double>(in * out * kernel * kernel);
}

double resnet_flops(int64_t in, int64_t out, int64_t size) {
  const double shortcut = in == out ? 0 : conv_flops(in, out, size, 1);
  return conv_flops(in, out, size, 3) + conv_flops(out, out, size, 3) + shortcut;
}

}  // namespace

Work operator+(const Work& a, const Work& b) {
  return {a.matmul_flops + b.matmul_flops, a.attention_flops + b.attention_flops, a.bytes + b.bytes};
}

Work times(const Work& work, double times) {
  return {work.matmul_flops * times, work.attention_flops * times, work.bytes * times};
}

Rates higher(const Rates& a, const Rates& b) {
  return {std::max(a.matmul, b.matmul), std::max(a.attention, b.attention), std::max(a.read, b.read)};
}

double ideal_seconds(const Work& work, const Rates& rates) {
  const auto at = [](double amount, double rate) { return amount > 0 ? amount / rate : 0; };
  const double arithmetic = at(work.matmul_flops, rates.matmul) + at(work.attention_flops, rates.attention);
  return std::max(arithmetic, at(work.bytes, rates.read));
}

Work matmul_work(const MatmulShape& s) {
  return {.matmul_flops = 2.0 * static_cast<double>(s.m) * static_cast<double>(s.k * s.n)};
}

Work modulation_work(const MatmulShape& s, DType activation, DType weights) {
  Work work = matmul_work(s);
  work.bytes =
      bytes_of(s.k * s.n, weights) + bytes_of(s.n, DType::kBF16) + bytes_of(s.m * (s.k + s.n), activation);
  return work;
}

Work attention_work(const AttentionShape& s) {
  const double pairs = static_cast<double>(s.tokens) * static_cast<double>(s.tokens);
  return {.attention_flops = 4.0 * pairs * static_cast<double>(s.heads * s.head_dim)};
}

Work conv_work(const ConvShape& s) {
  return {.matmul_flops = conv_flops(s.in, s.out, s.size * s.upsample, s.kernel)};
}

Work norm_modulate_work(int64_t tokens, int64_t width, DType activation) {
  return {.bytes = bytes_of(2 * tokens * width, activation) + bytes_of(2 * width, DType::kF32)};
}

Work qk_norm_rope_work(int64_t tokens, int64_t width, int64_t head_dim, DType activation) {
  return {.bytes = bytes_of(2 * tokens * width, activation) + bytes_of(tokens * head_dim, DType::kF32)};
}

Work group_norm_work(const GroupNormShape& s, DType activation) {
  return {.bytes = bytes_of(3 * s.size * s.size * s.channels, activation)};
}

Work block_work(const flux::Config& config, int64_t tokens) {
  const int64_t d = config.inner_dim();
  Work work = attention_work({tokens, config.num_heads, config.head_dim});
  work.matmul_flops = matmul_work({tokens, d, 12 * d}).matmul_flops;
  return work;
}

Work vae_decode_work(const vae::Config& config, int64_t size) {
  const int64_t deepest = config.block_out_channels.back();
  Work work;
  if (config.use_post_quant_conv) {
    work.matmul_flops += conv_flops(config.latent_channels, config.latent_channels, size, 1);
  }
  work.matmul_flops +=
      conv_flops(config.latent_channels, deepest, size, 3) + 2 * resnet_flops(deepest, deepest, size);
  if (config.mid_block_add_attention) {
    const Work attention = attention_work({size * size, 1, deepest});
    work = work + attention + matmul_work({size * size, deepest, 4 * deepest});
  }
  int64_t in = deepest, at = size;
  for (std::size_t level = config.block_out_channels.size(); level-- > 0;) {
    const int64_t out = config.block_out_channels[level];
    work.matmul_flops += resnet_flops(in, out, at);
    work.matmul_flops += static_cast<double>(config.layers_per_block) * resnet_flops(out, out, at);
    if (level > 0) {
      at *= 2;
      work.matmul_flops += conv_flops(out, out, at, 3);
    }
    in = out;
  }
  work.matmul_flops += conv_flops(in, config.out_channels, at, 3);
  return work;
}

}  // namespace darkroom::bench
