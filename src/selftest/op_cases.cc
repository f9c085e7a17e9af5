#include "selftest/op_cases.h"

#include <fmt/format.h>

namespace darkroom {
namespace {

using Cases = std::vector<OpCase>;

void add_linear(Cases& cases) {
  struct Size {
    int64_t m, k, n;
  };
  // One row, fewer rows than a tile, tile edges, several blocks of K, and a small head; rows of whole blocks.
  for (const Size s : {Size{1, 64, 96}, Size{3, 7, 5}, Size{5, 300, 17}, Size{28, 256, 130},
                       Size{67, 96, 200}, Size{130, 1030, 70}, Size{64, 64, 1}, Size{1, 1, 1},
                       Size{1, 512, 70}, Size{5, 768, 37}, Size{40, 1280, 75}}) {
    const std::string shape = fmt::format("{}x{}x{}", s.m, s.k, s.n);
    cases.push_back({"linear " + shape, s.k, true,
                     [s](const Context& ctx, Operands& in) {
                       const Tensor x = in.activation({s.m, s.k});
                       return ops::linear(ctx, x, in.linear(s.k, s.n));
                     },
                     s.k});
    cases.push_back({"linear_gate_residual " + shape, s.k, true,
                     [s](const Context& ctx, Operands& in) {
                       const Tensor x = in.strided({s.m, s.k}), out = in.strided({s.m, s.n});
                       const Tensor gate = in.f32({s.n});
                       ops::linear_gate_residual(ctx, x, in.linear(s.k, s.n), gate, out);
                       return out;
                     },
                     s.k});
  }
  for (const Activation act :
       {Activation::kGeluTanh, Activation::kQuickGelu, Activation::kSilu, Activation::kRelu}) {
    for (const int64_t rows : {2, 40}) {
      cases.push_back({fmt::format("linear act {} rows {}", static_cast<int>(act), rows), 48, true,
                       [act, rows](const Context& ctx, Operands& in) {
                         const Tensor x = in.activation({rows, 48}, 3), out = in.strided({rows, 33});
                         ops::linear_into(ctx, x, in.linear(48, 33), act, out);
                         return out;
                       }});
    }
  }
  // A LoRA: few rows, odd ranks, one with two blocks of K.
  for (const auto& [s, rank] : {std::pair(Size{3, 256, 70}, 5), std::pair(Size{40, 512, 75}, 16),
                                std::pair(Size{130, 256, 200}, 300), std::pair(Size{7, 64, 9}, 1)}) {
    for (const DType lora : {DType::kF32, DType::kBF16, DType::kF16}) {
      cases.push_back(
          {fmt::format("linear {}x{}x{} lora {} {}", s.m, s.k, s.n, rank, dtype_name(lora)), s.k + rank, true,
           [s = s, rank = rank, lora](const Context& ctx, Operands& in) {
             const Tensor x = in.strided({s.m, s.k}), out = in.strided({s.m, s.n});
             const Tensor gate = in.f32({s.n});
             ops::linear_gate_residual(ctx, x, in.linear_with_lora(s.k, s.n, rank, lora), gate, out);
             return out;
           },
           s.k});
    }
  }
  cases.push_back({"linear without bias", 64, true, [](const Context& ctx, Operands& in) {
                     const Tensor x = in.activation({20, 64});
                     return ops::linear(ctx, x, {in.matrix({40, 64}, 0.1f), {}});
                   }});
  cases.push_back({"linear_residual", 80, true, [](const Context& ctx, Operands& in) {
                     const Tensor x = in.activation({20, 80}), out = in.activation({20, 24});
                     ops::linear_residual(ctx, x, in.linear(80, 24), out);
                     return out;
                   }});
}

// Products of 8 bits: one row, edges of tiles, several blocks of K, runs of columns that are whole units or
// not, shorter at the end, or longer than a block.
void add_int8(Cases& cases) {
  struct Size {
    int64_t m, k, n, group;
  };
  for (const Size s :
       {Size{1, 64, 96, 0}, Size{3, 7, 5, 0}, Size{28, 256, 130, 64}, Size{67, 1030, 40, 0},
        Size{9, 1100, 70, 128}, Size{5, 50, 17, 7}, Size{11, 2600, 9, 1200}, Size{1, 1, 1, 0}}) {
    const std::string shape = fmt::format("{}x{}x{}/{}", s.m, s.k, s.n, s.group);
    cases.push_back({"int8 linear " + shape, 1, false, [s](const Context& ctx, Operands& in) {
                       const Tensor x = in.strided({s.m, s.k}, 3), out = in.strided({s.m, s.n});
                       const LinearInput both(x, ops::quantize_rows(ctx, x, s.group));
                       ops::linear_gate_residual(ctx, both, in.int8_linear(s.k, s.n), in.f32({s.n}), out);
                       return out;
                     }});
  }
  for (const Size s : {Size{3, 7, 5, 0}, Size{28, 256, 130, 64}, Size{9, 1100, 70, 0}}) {
    cases.push_back({fmt::format("int8 linear {}x{}x{}/{} smooth", s.m, s.k, s.n, s.group), 1, false,
                     [s](const Context& ctx, Operands& in) {
                       const Tensor x = in.strided({s.m, s.k}, 3);
                       const Tensor smooth = in.f32({s.k}, 2);
                       const Tensor q = ops::quantize_rows(ctx, x, s.group, smooth);
                       return ops::linear(ctx, LinearInput(x, q), in.int8_linear(s.k, s.n));
                     }});
  }
  // Activations of 7 bits, beside weights of 8.
  for (const Size s : {Size{3, 7, 5, 0}, Size{28, 256, 130, 64}}) {
    cases.push_back({fmt::format("int7 linear {}x{}x{}/{}", s.m, s.k, s.n, s.group), 1, false,
                     [s](const Context& ctx, Operands& in) {
                       const Tensor x = in.strided({s.m, s.k}, 3);
                       const Tensor q = ops::quantize_rows(ctx, x, s.group, {}, kInt7Levels);
                       return ops::linear(ctx, LinearInput(x, q), in.int8_linear(s.k, s.n));
                     }});
  }
  for (const int64_t cols : {1, 7, 64, 1100}) {
    cases.push_back(
        {fmt::format("column_magnitudes {}", cols), 9, false, [cols](const Context& ctx, Operands& in) {
           const Tensor x = in.strided({9, cols}, 2), magnitudes = in.f32({2, cols});
           ops::column_magnitudes_into(ctx, x, magnitudes);
           return magnitudes;
         }});
  }
  cases.push_back({"int8 linear gelu", 1, false, [](const Context& ctx, Operands& in) {
                     const Tensor x = in.activation({20, 48}, 3);
                     return ops::linear(ctx, LinearInput(x, ops::quantize_rows(ctx, x)),
                                        in.int8_linear(48, 33, Operands::Scales::kOne),
                                        Activation::kGeluTanh);
                   }});
  // The LoRA's share is of the exact x.
  for (const auto& [s, rank] :
       {std::pair(Size{3, 256, 70, 0}, 5), std::pair(Size{130, 1300, 100, 1100}, 300)}) {
    cases.push_back({fmt::format("int8 linear {}x{}x{} lora {}", s.m, s.k, s.n, rank), s.k + rank, false,
                     [s = s, rank = rank](const Context& ctx, Operands& in) {
                       const Tensor x = in.strided({s.m, s.k}), out = in.strided({s.m, s.n});
                       Linear w = in.int8_linear(s.k, s.n);
                       const Linear lora = in.linear_with_lora(s.k, s.n, rank, DType::kBF16);
                       w.lora_down = lora.lora_down;
                       w.lora_up = lora.lora_up;
                       ops::linear_residual(ctx, LinearInput(x, ops::quantize_rows(ctx, x, s.group)), w, out);
                       return out;
                     }});
  }
}

void add_norms(Cases& cases) {
  for (const int64_t cols : {1, 7, 64, 770}) {
    cases.push_back(
        {fmt::format("layer_norm {}", cols), cols, true, [cols](const Context& ctx, Operands& in) {
           const Tensor x = in.strided({9, cols}, 2);
           const Tensor weight = in.weight({cols}, 0.5f, 1), bias = in.weight({cols});
           return ops::layer_norm(ctx, x, weight, bias, 1e-5f);
         }});
    cases.push_back({fmt::format("rms_norm {}", cols), cols, true, [cols](const Context& ctx, Operands& in) {
                       const Tensor x = in.strided({9, cols}, 2);
                       return ops::rms_norm(ctx, x, in.weight({cols}, 0.5f, 1), 1e-6f);
                     }});
    cases.push_back(
        {fmt::format("norm_modulate {}", cols), cols, false, [cols](const Context& ctx, Operands& in) {
           const Tensor x = in.strided({9, cols}, 2);
           const Tensor shift = in.f32({cols}), scale = in.f32({cols});
           return ops::norm_modulate(ctx, x, shift, scale, 1e-6f);
         }});
  }
  for (const int64_t dim : {2, 6, 32, 128}) {
    cases.push_back({fmt::format("qk_norm_rope {}", dim), dim, true, [dim](const Context& ctx, Operands& in) {
                       const Tensor x = in.strided({11, 3 * dim}, 2);
                       const Tensor cos = in.f32({11, dim / 2}), sin = in.f32({11, dim / 2});
                       ops::qk_norm_rope(ctx, x, in.weight({dim}, 0.5f, 1), 1e-6f, cos, sin);
                       return x;
                     }});
  }
  struct Group {
    int64_t h, w, c, groups;
  };
  for (const Group g :
       {Group{5, 7, 24, 4}, Group{1, 1, 32, 32}, Group{33, 20, 64, 32}, Group{16, 16, 6, 1}}) {
    cases.push_back({fmt::format("group_norm {}x{}x{}/{}", g.h, g.w, g.c, g.groups),
                     g.h * g.w * g.c / g.groups, true, [g](const Context& ctx, Operands& in) {
                       const Tensor x = in.activation({g.h, g.w, g.c}, 2);
                       const Tensor weight = in.weight({g.c}, 0.5f, 1), bias = in.weight({g.c});
                       return ops::group_norm(ctx, x, weight, bias,
                                              {.groups = g.groups, .silu = g.groups > 1});
                     }});
  }
  cases.push_back({"row_moments", 7 * 4, false, [](const Context& ctx, Operands& in) {
                     const Tensor x = in.activation({5, 7, 12}, 2);
                     const Tensor moments = ctx.arena.allocate(DType::kF32, {5, 6});
                     ops::row_moments_into(ctx, x, 3, moments);
                     return moments;
                   }});
  cases.push_back(
      {"group_statistics", 5, false, [](const Context& ctx, Operands& in) {
         std::vector<float> moments = in.numbers(5 * 6);
         for (std::size_t i = 0; i < moments.size(); ++i) {
           if (i % 6 >= 3) moments[i] += 2;  // no negative squares
         }
         return ops::group_statistics(ctx, ops::upload(ctx, moments, DType::kF32, {5, 6}), 28, 1e-6f);
       }});
  cases.push_back({"group_norm in place", 64, true, [](const Context& ctx, Operands& in) {
                     const Tensor x = in.activation({4, 4, 16}, 2);
                     const Tensor weight = in.weight({16}, 0.5f, 1), bias = in.weight({16});
                     ops::group_norm_in_place(ctx, x, weight, bias, {.groups = 4});
                     return x;
                   }});
}

void add_attention(Cases& cases) {
  struct Size {
    int64_t lq, lk, heads, dim;
    bool causal, bias;
  };
  for (const Size s : {Size{1, 1, 1, 4, false, false}, Size{77, 77, 2, 64, true, false},
                       Size{40, 40, 3, 32, false, true}, Size{130, 130, 2, 128, false, false},
                       Size{70, 70, 1, 512, false, false}, Size{13, 29, 2, 20, false, true},
                       Size{9, 600, 1, 16, false, false}, Size{300, 300, 1, 7, true, true}}) {
    const std::string name = fmt::format("attention {}x{} heads {}x{}{}{}", s.lq, s.lk, s.heads, s.dim,
                                         s.causal ? " causal" : "", s.bias ? " bias" : "");
    cases.push_back({name, s.dim, false, [s](const Context& ctx, Operands& in) {
                       const int64_t width = s.heads * s.dim;
                       const Tensor q = in.strided({s.lq, width}, 2), k = in.strided({s.lk, width}, 2);
                       const Tensor v = in.strided({s.lk, width}), out = in.strided({s.lq, width});
                       ops::AttentionOptions options{.heads = s.heads,
                                                     .scale = 1 / std::sqrt(static_cast<float>(s.dim)),
                                                     .causal = s.causal};
                       if (s.bias) options.relative_bias = in.f32({s.heads, s.lq + s.lk - 1}, 3);
                       ops::attention_into(ctx, q, k, v, options, out);
                       return out;
                     }});
  }
}

// In 8 bits: all that is rounded is written down, so the tolerance is that of exact results. One key and a few,
// edges of units, vectors, strips and blocks, heads of odd sizes and the largest.
void add_int8_attention(Cases& cases) {
  struct Size {
    int64_t lq, lk, heads, dim;
  };
  for (const Size s :
       {Size{1, 1, 1, 4}, Size{3, 5, 2, 1}, Size{13, 29, 2, 20}, Size{70, 70, 3, 64}, Size{100, 130, 2, 128},
        Size{9, 600, 1, 7}, Size{5, 257, 2, 130}, Size{2, 40, 1, kMaxInt8HeadDim}}) {
    cases.push_back({fmt::format("int8 attention {}x{} heads {}x{}", s.lq, s.lk, s.heads, s.dim), 1, false,
                     [s](const Context& ctx, Operands& in) {
                       const int64_t width = s.heads * s.dim;
                       const Tensor q = in.strided({s.lq, width}, 3), k = in.strided({s.lk, width}, 3);
                       const Tensor v = in.strided({s.lk, width}), out = in.strided({s.lq, width});
                       const float scale = 1 / std::sqrt(static_cast<float>(s.dim));
                       ops::attention_into(ctx, q, k, v, {.heads = s.heads, .scale = scale, .int8 = true},
                                           out);
                       return out;
                     }});
  }
}

// For the tolerance. In tiles of 6×6 (3×3 without downsampling, of 8 channels and more) rounding errors are of larger
// numbers, and may be four times those of a sum of the products.
int64_t conv_terms(int64_t in, int64_t kernel, int64_t downsample = 1) {
  const int64_t products = in * kernel * kernel;
  return kernel == 3 && downsample == 1 && in >= 8 ? 16 * products : products;
}

void add_parts(Cases& cases) {
  cases.push_back(
      {"attention in parts", 20, false, [](const Context& ctx, Operands& in) {
         const Tensor q = in.strided({31, 40}, 2), k = in.strided({300, 40}, 2);
         const Tensor v = in.strided({300, 40}), out = in.strided({31, 40});
         ops::AttentionOptions options{.heads = 2, .scale = 0.2f, .state = in.f32({31, 44})};
         for (const auto& [first, keys] : {std::pair(0, 70), std::pair(70, 200), std::pair(270, 30)}) {
           options.first = first == 0;
           options.last = first + keys == 300;
           ops::attention_into(ctx, q, k.slice_rows(first, keys), v.slice_rows(first, keys), options, out);
         }
         return out;
       }});
  for (const int64_t upsample : {1, 2}) {
    cases.push_back({fmt::format("conv rows 3 to 6 up{}", upsample), conv_terms(16, 3), true,
                     [upsample](const Context& ctx, Operands& in) {
                       const Tensor x = in.activation({8, 9, 16}), out = in.activation({3, 9 * upsample, 20});
                       const Conv2d conv = in.conv(16, 20, 3);
                       ops::conv2d_into(ctx, x, conv, {.upsample = upsample, .residual = out, .first_row = 3},
                                        out);
                       return out;
                     }});
  }
}

void add_convolutions(Cases& cases) {
  struct Size {
    int64_t h, w, in, out, kernel, upsample;
    bool residual;
    int64_t downsample = 1;
  };
  for (const Size s :
       {Size{8, 9, 16, 32, 3, 1, false}, Size{8, 9, 16, 32, 3, 1, true}, Size{5, 3, 7, 3, 3, 2, false},
        Size{1, 1, 4, 5, 3, 1, false}, Size{12, 10, 33, 20, 1, 1, true}, Size{20, 17, 130, 40, 3, 1, false},
        Size{6, 7, 24, 24, 3, 2, true}, Size{4, 6, 5, 6, 5, 1, false}, Size{6, 8, 16, 32, 3, 1, true, 2},
        Size{7, 5, 5, 3, 3, 1, false, 2}, Size{20, 2, 130, 17, 3, 2, false, 2},
        Size{13, 14, 20, 33, 3, 1, true}, Size{1, 9, 16, 7, 3, 1, false}, Size{9, 1, 16, 7, 3, 1, true},
        Size{12, 6, 8, 1, 3, 1, false}, Size{1, 7, 16, 7, 3, 2, true}, Size{7, 1, 16, 7, 3, 2, false},
        Size{5, 13, 40, 33, 3, 2, true}}) {
    const std::string name = fmt::format("conv {}x{} {}->{} k{} up{} down{}{}", s.h, s.w, s.in, s.out,
                                         s.kernel, s.upsample, s.downsample, s.residual ? " residual" : "");
    cases.push_back(
        {name, conv_terms(s.in, s.kernel, s.downsample), true, [s](const Context& ctx, Operands& in) {
           const Tensor x = in.activation({s.h, s.w, s.in});
           ops::ConvOptions options{.upsample = s.upsample, .downsample = s.downsample};
           if (s.residual)
             options.residual =
                 in.activation({s.h * s.upsample / s.downsample, s.w * s.upsample / s.downsample, s.out});
           return ops::conv2d(ctx, x, in.conv(s.in, s.out, s.kernel), options);
         }});
  }
}

void add_elementwise(Cases& cases) {
  cases.push_back({"add", 1, false, [](const Context& ctx, Operands& in) {
                     const Tensor x = in.activation({5, 37}), y = in.activation({5, 37});
                     const Tensor out = ctx.allocate({5, 37});
                     ops::add_into(ctx, x, y, out);
                     return out;
                   }});
  cases.push_back(
      {"add_scaled", 3, false, [](const Context& ctx, Operands& in) {
         const Tensor x = in.activation({5, 37}), y = in.activation({5, 37}), z = in.activation({5, 37});
         ops::add_scaled_into(ctx, x, -1.5f, y, 0.75f, z, y);  // in place
         return y;
       }});
  cases.push_back({"row_distances", 531, false, [](const Context& ctx, Operands& in) {
                     const Tensor x = in.activation({7, 531}), y = in.activation({7, 531});
                     const Tensor out = ctx.arena.allocate(DType::kF32, {7, 2});
                     ctx.backend.row_distances({.x = x, .y = y, .out = out});
                     return out;
                   }});
  cases.push_back({"gated_gelu", 1, false, [](const Context& ctx, Operands& in) {
                     const Tensor gate = in.strided({7, 45}, 6), up = in.strided({7, 45}, 2);
                     return ops::gated_gelu(ctx, gate, up);
                   }});
  cases.push_back({"add in place", 1, false, [](const Context& ctx, Operands& in) {
                     const Tensor x = in.strided({7, 45}), y = in.activation({7, 45});
                     ops::add_into(ctx, x, y, x);
                     return x;
                   }});
  cases.push_back({"silu", 1, false, [](const Context& ctx, Operands& in) {
                     return ops::silu(ctx, in.strided({7, 45}, 30));
                   }});
  cases.push_back({"embed", 1, true, [](const Context& ctx, Operands& in) {
                     const int32_t ids[] = {0, 4, 4, 11, 2};
                     return ops::embed(ctx, in.weight({12, 37}), ids);
                   }});
  cases.push_back({"embed rows of 512", 1, true,
                   [](const Context& ctx, Operands& in) {
                     const int32_t ids[] = {3, 0, 3, 2};
                     return ops::embed(ctx, in.weight({5, 512}), ids);
                   },
                   512});
  cases.push_back({"convert to f32", 1, false, [](const Context& ctx, Operands& in) {
                     return ops::convert(ctx, in.strided({7, 45}), DType::kF32);
                   }});
  cases.push_back({"convert to bf16", 1, false, [](const Context& ctx, Operands& in) {
                     return ops::convert(ctx, in.strided({7, 45}), DType::kBF16);
                   }});
  cases.push_back({"upload", 1, false, [](const Context& ctx, Operands& in) {
                     return ops::upload(ctx, in.numbers(5 * 33), ctx.activation, {5, 33});
                   }});
}

}  // namespace

std::vector<OpCase> op_cases() {
  Cases cases;
  add_linear(cases);
  add_int8(cases);
  add_norms(cases);
  add_attention(cases);
  add_int8_attention(cases);
  add_parts(cases);
  add_convolutions(cases);
  add_elementwise(cases);
  return cases;
}

}  // namespace darkroom
