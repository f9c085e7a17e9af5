// The forward pass over tokens: embedders, double blocks, single blocks, projection.
#include <cmath>

#include "models/flux/flux.h"

namespace darkroom::flux {
namespace {

constexpr float kEpsilon = 1e-6f;  // of every norm in the model

// Part `index` of one block's modulation vectors, as [D].
Tensor part(const Tensor& modulation, int64_t offset, int64_t index, int64_t d) {
  return modulation.slice_cols(offset + index * d, d).reshape({d});
}

// q, k and v of all tokens as columns of one [tokens, 3·D] tensor.
struct Qkv {
  Tensor q, k, v;
  explicit Qkv(const Tensor& fused)
      : q(fused.slice_cols(0, fused.cols() / 3)),
        k(fused.slice_cols(fused.cols() / 3, fused.cols() / 3)),
        v(fused.slice_cols(2 * (fused.cols() / 3), fused.cols() / 3)) {}
};

// The weights that one stream's attention input goes through.
struct QkvWeights {
  const Linear &q, &k, &v;
  const Tensor &norm_q, &norm_k;
};

// Projects n [rows, D] into rows [first, first + rows) of qkv, with QK-norm and rotary positions.
void project_qkv(const Context& ctx, const LinearInput& n, const QkvWeights& w, const Rope& rope,
                 const Tensor& fused, int64_t first) {
  const int64_t rows = n.x.rows();
  const Qkv out(fused.slice_rows(first, rows));
  ops::linear_into(ctx, n, w.q, Activation::kNone, out.q);
  ops::linear_into(ctx, n, w.k, Activation::kNone, out.k);
  ops::linear_into(ctx, n, w.v, Activation::kNone, out.v);
  const Tensor cos = rope.cos.slice_rows(first, rows), sin = rope.sin.slice_rows(first, rows);
  ops::qk_norm_rope(ctx, out.q, w.norm_q, kEpsilon, cos, sin);
  ops::qk_norm_rope(ctx, out.k, w.norm_k, kEpsilon, cos, sin);
}

ops::AttentionOptions attention_options(const Context& ctx, const Config& config) {
  return {.heads = config.num_heads,
          .scale = 1.0f / std::sqrt(static_cast<float>(config.head_dim)),
          .int8 = ctx.int8_attention};
}

void run_double_block(const Context& ctx, const Config& config, const DoubleBlock& block,
                      const Tensor& modulation, int64_t offset, const Rope& rope, const Hidden& hidden) {
  const int64_t d = config.inner_dim(), tokens = hidden.x.rows(), txt_tokens = hidden.txt_tokens;
  // One stream's tokens with its weights and its modulation: shift, scale, gate (attention), shift, scale,
  // gate (MLP).
  struct Stream {
    Tensor x;
    const StreamWeights& w;
    int64_t first, modulation;
  };
  const Stream streams[2] = {{hidden.txt(), block.txt, 0, offset + 6 * d},
                             {hidden.img(), block.img, txt_tokens, offset}};
  {
    const Arena::Scope scope(ctx.arena);
    const Tensor attended = ctx.allocate({tokens, d});
    const Arena::Scope inner(ctx.arena);
    const Tensor fused = ctx.allocate({tokens, 3 * d});
    for (const Stream& s : streams) {
      const Arena::Scope one(ctx.arena);
      const Tensor n = ops::norm_modulate(ctx, s.x, part(modulation, s.modulation, 0, d),
                                          part(modulation, s.modulation, 1, d), kEpsilon);
      project_qkv(ctx, input_of(ctx, n, s.w.q), {s.w.q, s.w.k, s.w.v, s.w.norm_q, s.w.norm_k}, rope, fused,
                  s.first);
    }
    const Qkv qkv(fused);
    ops::attention_into(ctx, qkv.q, qkv.k, qkv.v, attention_options(ctx, config), attended);
    for (const Stream& s : streams) {
      const Arena::Scope one(ctx.arena);
      const Tensor gate = part(modulation, s.modulation, 2, d);
      const LinearInput input = input_of(ctx, attended.slice_rows(s.first, s.x.rows()), s.w.out);
      ops::linear_gate_residual(ctx, input, s.w.out, gate, s.x);
    }
  }
  for (const Stream& s : streams) {
    const Arena::Scope scope(ctx.arena);
    const Tensor n = ops::norm_modulate(ctx, s.x, part(modulation, s.modulation, 3, d),
                                        part(modulation, s.modulation, 4, d), kEpsilon);
    const Tensor wide = ops::linear(ctx, input_of(ctx, n, s.w.mlp.in), s.w.mlp.in, Activation::kGeluTanh);
    ops::linear_gate_residual(ctx, input_of(ctx, wide, s.w.mlp.out), s.w.mlp.out,
                              part(modulation, s.modulation, 5, d), s.x);
  }
}

void run_single_block(const Context& ctx, const Config& config, const SingleBlock& w,
                      const Tensor& modulation, int64_t offset, const Rope& rope, const Hidden& hidden) {
  const Arena::Scope scope(ctx.arena);
  const int64_t d = config.inner_dim(), tokens = hidden.x.rows();
  const Tensor joined = ctx.allocate({tokens, 5 * d});  // attention output, then MLP
  {
    const Arena::Scope inner(ctx.arena);
    const Tensor n = ops::norm_modulate(ctx, hidden.x, part(modulation, offset, 0, d),
                                        part(modulation, offset, 1, d), kEpsilon);
    const LinearInput input = input_of(ctx, n, w.q);
    ops::linear_into(ctx, input, w.mlp, Activation::kGeluTanh, joined.slice_cols(d, 4 * d));
    const Tensor fused = ctx.allocate({tokens, 3 * d});
    project_qkv(ctx, input, {w.q, w.k, w.v, w.norm_q, w.norm_k}, rope, fused, 0);
    const Qkv qkv(fused);
    ops::attention_into(ctx, qkv.q, qkv.k, qkv.v, attention_options(ctx, config), joined.slice_cols(0, d));
  }
  // Attention and MLP have ranges of their own: with one scale the smaller one would lose digits.
  ops::linear_gate_residual(ctx, input_of(ctx, joined, w.out, d), w.out, part(modulation, offset, 2, d),
                            hidden.x);
}

}  // namespace

Hidden embed(const Context& ctx, const Config& config, const Weights& weights, const Tensor& latents,
             const Tensor& text) {
  Hidden hidden{ctx.allocate({text.rows() + latents.rows(), config.inner_dim()}), text.rows()};
  ops::linear_into(ctx, text, weights.context_embedder, Activation::kNone, hidden.txt());
  ops::linear_into(ctx, latents, weights.x_embedder, Activation::kNone, hidden.img());
  return hidden;
}

void run_blocks(const Context& ctx, const Config& config, const Weights& weights, const Tensor& modulation,
                const Rope& rope, const Hidden& hidden, int64_t first, int64_t last) {
  for (int64_t i = first; i < last; ++i) {
    ctx.throw_if_cancelled();
    if (i < config.num_layers) {
      run_double_block(ctx, config, weights.double_blocks[static_cast<std::size_t>(i)], modulation,
                       modulation_offset(config, i), rope, hidden);
    } else {
      const int64_t single = i - config.num_layers;
      run_single_block(ctx, config, weights.single_blocks[static_cast<std::size_t>(single)], modulation,
                       modulation_offset(config, i), rope, hidden);
    }
  }
}

Tensor project(const Context& ctx, const Config& config, const Weights& weights, const Tensor& modulation,
               const Hidden& hidden) {
  const int64_t d = config.inner_dim(), offset = modulation.cols() - 2 * d;  // scale first here, then shift
  const Tensor n = ops::norm_modulate(ctx, hidden.img(), part(modulation, offset, 1, d),
                                      part(modulation, offset, 0, d), kEpsilon);
  return ops::linear(ctx, n, weights.proj_out);
}

void modulated_input(const Context& ctx, const Config& config, const Tensor& modulation, const Hidden& hidden,
                     const Tensor& out) {
  const int64_t d = config.inner_dim();
  ops::norm_modulate_into(ctx, hidden.img(), part(modulation, 0, 0, d), part(modulation, 0, 1, d), kEpsilon,
                          out);
}

}  // namespace darkroom::flux
