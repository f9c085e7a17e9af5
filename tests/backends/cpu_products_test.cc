// linear, conv2d and attention of the cpu backend at awkward sizes, against plain loops in f64.
#include <algorithm>
#include <functional>
#include <set>

#include "backends/cpu/engine.h"
#include "cpu_test_util.h"
#include "tensor/blocks.h"

namespace darkroom {
namespace {

constexpr DType kWeightTypes[] = {DType::kF32, DType::kF16, DType::kBF16, DType::kF8E4M3, DType::kF8E5M2};

struct LinearCase {
  int64_t m, n, k;
  bool fused = true;  // bias, activation, gate and residual
  Activation activation = Activation::kGeluTanh;
};

struct OwnedBlocks {
  Buffer memory;
  Tensor tensor;
};

// Runs one case and compares every element; x, weight and out have gaps between rows, and out is its own
// residual.
void check_linear(Backend& backend, const LinearCase& c, DType activation, DType weight_type) {
  SCOPED_TRACE(fmt::format("{} {}x{}x{} {} {}", backend.name(), c.m, c.n, c.k, dtype_name(activation),
                           dtype_name(weight_type)));
  const OwnedTensor x = random_tensor(activation, {c.m, c.k}, 1, 1, 3);
  const OwnedTensor w = random_tensor(weight_type, {c.n, c.k}, 2, 1, 5);
  const OwnedTensor bias = random_tensor(weight_type, {c.n}, 3), gate = random_tensor(DType::kF32, {c.n}, 4);
  const OwnedTensor before = random_tensor(activation, {c.m, c.n}, 5, 1, 1);
  const OwnedTensor out = random_tensor(activation, {c.m, c.n}, 5, 1, 1);
  LinearArgs args{.x = *x, .weight = *w, .bias = {}, .gate = {}, .residual = {}, .out = *out};
  if (c.fused) {
    args.bias = *bias;
    args.activation = c.activation;
    args.gate = *gate;
    args.residual = *out;
  }
  backend.linear(args);
  ASSERT_TRUE(out.gaps_untouched());
  for (int64_t i = 0; i < c.m; ++i) {
    for (int64_t j = 0; j < c.n; ++j) {
      double sum = 0, size = 1, rounding = 0;
      for (int64_t p = 0; p < c.k; ++p) {
        sum += x.get(i, p) * w.get(j, p);
        size += std::fabs(x.get(i, p) * w.get(j, p));
        if (weight_type == DType::kF16 && activation == DType::kBF16) {  // weights may be rounded to bf16
          rounding += std::fabs(x.get(i, p) * w.get(j, p)) / 256;
        }
      }
      if (c.fused) {
        sum = before.get(i, j) + gate.get(0, j) * activation_in_f64(c.activation, sum + bias.get(0, j));
      }
      // Plain f32 sums err by a third of this at most here; an activation is at most a little steeper than 1.
      const double bound = 2.4e-7 * (4 + size) + 1.2 * rounding;
      ASSERT_NEAR(out.get(i, j), sum, with_rounding(activation, bound, sum)) << i << "," << j;
    }
  }
}

const LinearCase kLinearCases[] = {{1, 1, 1},
                                   {1, 5, 3},
                                   {2, 67, 19},
                                   {3, 64, 300},
                                   {8, 130, 70},
                                   {9, 1, 1},
                                   {9, 17, 2},
                                   {13, 31, 33},
                                   {14, 33, 255},
                                   {30, 16, 256},
                                   {31, 65, 257},
                                   {97, 40, 513},
                                   {100, 3, 600},
                                   {12, 100, 17, false},
                                   {20, 20, 20, true, Activation::kSilu},
                                   {10, 19, 21, true, Activation::kQuickGelu}};

class CpuProducts : public EveryIsa {};

TEST_P(CpuProducts, LinearMatchesPlainLoops) {
  const auto backend = make(2);
  for (const LinearCase& c : kLinearCases) {
    for (const DType activation : {DType::kF32, DType::kBF16}) {
      for (const DType weight : kWeightTypes) check_linear(*backend, c, activation, weight);
    }
  }
}

// Large enough for several tiles, groups of rows, and blocks of K.
TEST_P(CpuProducts, LinearAcrossTiles) {
  const auto backend = make(3);
  check_linear(*backend, {205, 210, 530}, DType::kBF16, DType::kBF16);
  check_linear(*backend, {110, 400, 260}, DType::kF32, DType::kF32);
}

// K longer than the block of the path for few rows.
TEST_P(CpuProducts, LinearFewRowsLongK) {
  const auto backend = make(2);
  check_linear(*backend, {3, 66, 9001}, DType::kF32, DType::kBF16);
  check_linear(*backend, {8, 5, 4097}, DType::kBF16, DType::kF32);
}

// The layout of avx512bf16 with a portable kernel: packing, blocks and odd ends are those of
// the native instruction.
TEST_P(CpuProducts, PairsOfBfloat16) {
  const CpuOptions options{.threads = 2, .isa = GetParam(), .emulate_bf16_dot = true};
  const cpu::Engine engine(options);
  for (const DType weight :
       {DType::kBF16, DType::kF16, DType::kF8E4M3, DType::kF8E5M2, DType::kI8, DType::kQ4_0, DType::kNF4}) {
    ASSERT_EQ(engine.gemm_kernels(DType::kBF16, weight).form, cpu::Form::kPairs);
    ASSERT_EQ(engine.gemm_kernels(DType::kF32, weight).form, cpu::Form::kF32);
  }
  ASSERT_EQ(engine.gemm_kernels(DType::kBF16, DType::kF32).form,
            cpu::Form::kF32);  // would lose bits in pairs
  const auto backend = make_cpu_backend(options);
  for (const LinearCase& c : kLinearCases) {
    for (const DType weight : kWeightTypes) check_linear(*backend, c, DType::kBF16, weight);
  }
  check_linear(*backend, {110, 70, 1025}, DType::kBF16, DType::kBF16);
}

// out[i][j] is code j of the format times a power of two: exact, whichever kernel computes it.
void check_every_code(Backend& backend, DType stored, DType activation, int64_t m) {
  SCOPED_TRACE(
      fmt::format("{} {} {} rows {}", backend.name(), dtype_name(stored), dtype_name(activation), m));
  constexpr int64_t kCodes = 256, kDepth = 5, kAt = 3;
  OwnedTensor x(activation, {m, kDepth}), w(stored, {kCodes, kDepth});
  std::vector<float> scales(kCodes);
  for (int64_t j = 0; j < kCodes; ++j) {
    scales[static_cast<std::size_t>(j)] = std::ldexp(1.0f, static_cast<int>(j % 7) - 3);
    for (int64_t c = 0; c < kDepth; ++c) w.set(j, c, c == kAt ? static_cast<float>(j) : 0);
  }
  for (int64_t i = 0; i < m; ++i) {
    for (int64_t c = 0; c < kDepth; ++c) x.set(i, c, c == kAt ? 1 : 0);
  }
  const OwnedTensor out(activation, {m, kCodes});
  Tensor scaled = *w;
  scaled.scale_count = kCodes;
  scaled.scales = scales.data();
  backend.linear({.x = *x, .weight = scaled, .bias = {}, .gate = {}, .residual = {}, .out = *out});
  for (int64_t i = 0; i < m; ++i) {
    for (int64_t j = 0; j < kCodes; ++j) {
      const float code =
          dispatch_matrix_storage(stored, [&]<typename T>() { return to_float(w->row<T>(j)[kAt]); });
      const float want = code * scales[static_cast<std::size_t>(j)];
      if (std::isnan(want)) {
        ASSERT_TRUE(std::isnan(out.get(i, j))) << j;
      } else {
        ASSERT_EQ(out.get(i, j), want) << j;
      }
    }
  }
}

TEST_P(CpuProducts, EveryCodeOfOneByteIsExact) {
  for (const bool pairs : {false, true}) {
    const auto backend = make_cpu_backend({.threads = 2, .isa = GetParam(), .emulate_bf16_dot = pairs});
    for (const DType stored : {DType::kF8E4M3, DType::kF8E5M2, DType::kI8}) {
      for (const DType activation : {DType::kF32, DType::kBF16}) {
        for (const int64_t rows : {2, 20}) check_every_code(*backend, stored, activation, rows);
      }
    }
  }
}

// Random blocks of every row of [n, k]; the scales of row 1 are NaN with every bit set.
OwnedBlocks random_blocks(DType dtype, int64_t n, int64_t k) {
  OwnedBlocks out{Buffer(row_bytes(dtype, n * k)), {}};
  out.tensor = Tensor(out.memory.data(), dtype, {n, k});
  std::mt19937 random(7);
  const BlockSize size = block_size(dtype);
  for (int64_t r = 0; r < n; ++r) {
    for (int64_t c = 0; c < k; c += size.elements) {
      std::byte* block = out.tensor.row_data(r) + row_bytes(dtype, c);
      for (std::size_t i = 0; i < size.bytes; ++i) block[i] = static_cast<std::byte>(random());
      scale_block(dtype, block, 0.5f + static_cast<float>(random() % 1000) / 300);
      const std::size_t scale_bytes = dtype == DType::kNF4 || dtype == DType::kFP4 ? 4 : 2;
      if (r == 1) std::memset(block + block_scales(dtype).scale, 0x7F, scale_bytes);
      if (r == 1) std::memset(block + block_scales(dtype).scale, 0xFF, scale_bytes - 1);
    }
  }
  return out;
}

// x is rows of the unit matrix, so that the result is the weights themselves: exactly, or rounded to bf16.
void check_every_element(Backend& backend, DType dtype, DType activation, int64_t m) {
  SCOPED_TRACE(fmt::format("{} {} {} rows {}", backend.name(), dtype_name(dtype), dtype_name(activation), m));
  constexpr int64_t kN = 37, kK = 768;  // a tile's edge, and more than a block of K
  const OwnedBlocks w = random_blocks(dtype, kN, kK);
  OwnedTensor x(activation, {kK, kK});
  const OwnedTensor out(activation, {kK, kN});
  std::memset(x->data, 0, x->bytes());
  for (int64_t i = 0; i < kK; ++i) x.set(i, i, 1);
  for (int64_t first = 0; first < kK; first += m) {
    const int64_t rows = std::min(m, kK - first);
    backend.linear({.x = x->slice_rows(first, rows),
                    .weight = w.tensor,
                    .bias = {},
                    .gate = {},
                    .residual = {},
                    .out = out->slice_rows(first, rows)});
  }
  std::vector<float> row(kK);
  for (int64_t j = 0; j < kN; ++j) {
    dequantize_blocks(dtype, w.tensor.row_data(j), kK, row.data());
    for (int64_t i = 0; i < kK; ++i) {
      const float value = row[static_cast<std::size_t>(i)];
      const float want = activation == DType::kBF16 ? round_to_bfloat16(value) : value;
      if (j == 1) {
        ASSERT_TRUE(std::isnan(out.get(i, j))) << i;
      } else {
        ASSERT_EQ(out.get(i, j), want) << i << "," << j;
      }
    }
  }
}

TEST_P(CpuProducts, EveryElementOfBlocksIsExact) {
  for (const bool pairs : {false, true}) {
    const auto backend = make_cpu_backend({.threads = 2, .isa = GetParam(), .emulate_bf16_dot = pairs});
    for (int i = 0; i < kDTypes; ++i) {
      const DType dtype = static_cast<DType>(i);
      if (!is_block(dtype)) continue;
      for (const DType activation : {DType::kF32, DType::kBF16}) {
        for (const int64_t rows : {3, 768}) check_every_element(*backend, dtype, activation, rows);
      }
    }
  }
}

// All paths for few rows at once (4, 2 and 1 of 7), over more than a block of K; x is far from 0 on average,
// where what codes and minima have in common must cancel.
void check_blocks_of_few_rows(Backend& backend, DType dtype) {
  SCOPED_TRACE(fmt::format("{} {}", backend.name(), dtype_name(dtype)));
  constexpr int64_t kM = 7, kN = 19, kK = 4096 + 512;
  const OwnedBlocks w = random_blocks(dtype, kN, kK);
  OwnedTensor x = random_tensor(DType::kF32, {kM, kK}, 1, 1, 3);
  for (int64_t i = 0; i < kM; ++i) {
    for (int64_t c = 0; c < kK; ++c) x.set(i, c, static_cast<float>(x.get(i, c)) + static_cast<float>(i % 3));
  }
  const OwnedTensor out(DType::kF32, {kM, kN}, 2);
  backend.linear({.x = *x, .weight = w.tensor, .bias = {}, .gate = {}, .residual = {}, .out = *out});
  ASSERT_TRUE(out.gaps_untouched());
  std::vector<float> row(kK);
  for (int64_t j = 0; j < kN; ++j) {
    dequantize_blocks(dtype, w.tensor.row_data(j), kK, row.data());
    for (int64_t i = 0; i < kM; ++i) {
      if (j == 1) {  // has a scale that is NaN
        ASSERT_TRUE(std::isnan(out.get(i, j))) << i;
        continue;
      }
      double sum = 0, size = 1;
      for (int64_t c = 0; c < kK; ++c) {
        const double product = x.get(i, c) * static_cast<double>(row[static_cast<std::size_t>(c)]);
        sum += product;
        size += std::fabs(product);
      }
      ASSERT_NEAR(out.get(i, j), sum, 2.4e-7 * (4 + size)) << i << "," << j;
    }
  }
}

TEST_P(CpuProducts, BlocksOfFewRowsMatchPlainLoops) {
  const auto backend = make(2);
  for (int i = 0; i < kDTypes; ++i) {
    if (is_block(static_cast<DType>(i))) check_blocks_of_few_rows(*backend, static_cast<DType>(i));
  }
}

struct ConvCase {
  int64_t height, width, ci, co, kh, kw, upsample, downsample = 1;
};

// By how much f32 may miss a result whose products' magnitudes sum up to `size`. Tiles of 6×6 take larger
// numbers' differences, and an error anywhere in a tile reaches all of it: in 200 tiles of random numbers up
// to 1.9e-6 of the magnitudes, where products one by one had 1.7e-7; also where most taps are off the picture.
double conv_error(const ConvCase& c, double size) {
  const bool tiles = c.kh == 3 && c.kw == 3 && c.downsample == 1 && c.ci >= 8;
  const double inside = 9.0 / 4 * static_cast<double>(c.ci);  // of factors in [−1, 1]
  return tiles ? 2.4e-6 * (4 + std::max(size, inside)) : 2.4e-7 * (4 + size);
}

void check_conv(Backend& backend, const ConvCase& c, DType activation, DType weight_type) {
  SCOPED_TRACE(fmt::format("{} {}x{} {}->{} {}x{} u{} d{} {} {}", backend.name(), c.height, c.width, c.ci,
                           c.co, c.kh, c.kw, c.upsample, c.downsample, dtype_name(activation),
                           dtype_name(weight_type)));
  const OwnedTensor x = random_tensor(activation, {c.height, c.width, c.ci}, 1);
  const OwnedTensor w = random_tensor(weight_type, {c.co, c.ci, c.kh, c.kw}, 2),
                    bias = random_tensor(weight_type, {c.co}, 3);
  const int64_t height = c.height * c.upsample, width = c.width * c.upsample;
  const int64_t d = c.downsample, columns = width / d;
  const OwnedTensor before = random_tensor(activation, {height / d, columns, c.co}, 4);
  const OwnedTensor out = random_tensor(activation, {height / d, columns, c.co}, 4);
  backend.conv2d({.x = *x,
                  .weight = *w,
                  .bias = *bias,
                  .residual = *out,
                  .out = *out,
                  .upsample = c.upsample,
                  .downsample = d});
  for (int64_t p = 0; p < height / d * columns; ++p) {
    for (int64_t o = 0; o < c.co; ++o) {
      double sum = before.get(p, o) + bias.get(0, o), size = 1;
      for (int64_t i = 0; i < c.kh; ++i) {
        for (int64_t j = 0; j < c.kw; ++j) {
          const int64_t y = p / columns * d + d - 1 + i - c.kh / 2,
                        z = p % columns * d + d - 1 + j - c.kw / 2;
          if (y < 0 || y >= height || z < 0 || z >= width) continue;
          for (int64_t ch = 0; ch < c.ci; ++ch) {
            const double product =
                x.get(y / c.upsample * c.width + z / c.upsample, ch) * w.get((o * c.ci + ch) * c.kh + i, j);
            sum += product;
            size += std::fabs(product);
          }
        }
      }
      ASSERT_NEAR(out.get(p, o), sum, with_rounding(activation, conv_error(c, size), sum)) << p << "," << o;
    }
  }
}

const ConvCase kConvCases[] = {{1, 1, 1, 1, 1, 1, 1},
                               {3, 4, 5, 3, 3, 3, 1},
                               {5, 3, 7, 17, 3, 3, 2},
                               {2, 9, 3, 4, 1, 3, 1},
                               {6, 6, 33, 9, 1, 1, 1},
                               {7, 5, 2, 2, 5, 5, 1},
                               {4, 4, 40, 35, 3, 3, 1},
                               {6, 8, 9, 18, 3, 3, 1, 2},
                               {5, 7, 4, 3, 3, 3, 1, 2},
                               {3, 3, 6, 5, 3, 3, 2, 2},
                               // Tiles of 6×6: whole ones, parts of one, more than a task's, two blocks of
                               // input and of output channels.
                               {6, 12, 8, 4, 3, 3, 1},
                               {1, 20, 9, 33, 3, 3, 1},
                               {19, 1, 8, 3, 3, 3, 1},
                               {27, 31, 8, 5, 3, 3, 1},
                               {2, 5, 300, 3, 3, 3, 1},
                               {1, 2, 300, 100, 3, 3, 1},
                               {3, 6, 8, 4, 3, 3, 2},
                               {1, 10, 9, 33, 3, 3, 2},
                               {11, 1, 8, 3, 3, 3, 2},
                               {13, 14, 8, 5, 3, 3, 2},
                               {1, 2, 300, 5, 3, 3, 2}};

TEST_P(CpuProducts, ConvolutionMatchesPlainLoops) {
  const auto backend = make(2),
             pairs = make_cpu_backend({.threads = 2, .isa = GetParam(), .emulate_bf16_dot = true});
  for (const ConvCase& c : kConvCases) {
    for (const DType weight : {DType::kF32, DType::kBF16, DType::kF8E4M3}) {
      check_conv(*backend, c, DType::kF32, weight);
      check_conv(*backend, c, DType::kBF16, weight);
      check_conv(*pairs, c, DType::kBF16, weight);
    }
  }
}

// Strips of whole tiles of x and a row more on either side, in place of what they are added to: the bytes of
// the picture as a whole.
TEST_P(CpuProducts, ConvolutionOfStripsIsTheWholePictureByteForByte) {
  constexpr int64_t kHeight = 20, kWidth = 15, kIn = 40, kOut = 35;
  const auto backend = make(2);
  for (const DType dtype : {DType::kF32, DType::kBF16}) {
    const OwnedTensor x = random_tensor(dtype, {kHeight, kWidth, kIn}, 1),
                      w = random_tensor(DType::kBF16, {kOut, kIn, 3, 3}, 2);
    const auto rows_of = [](const OwnedTensor& t, int64_t first, int64_t count) {
      return (*t)
          .reshape({t->shape[0], t->shape[1] * t->shape[2]})
          .slice_rows(first, count)
          .reshape({count, t->shape[1], t->shape[2]});
    };
    for (const int64_t u : {1, 2}) {
      const Shape shape{kHeight * u, kWidth * u, kOut};
      const OwnedTensor whole = random_tensor(dtype, shape, 3);
      backend->conv2d({.x = *x, .weight = *w, .bias = {}, .residual = *whole, .out = *whole, .upsample = u});
      for (const int64_t rows : {kConvTileRows, 2 * kConvTileRows, 3 * kConvTileRows}) {
        const OwnedTensor strips = random_tensor(dtype, shape, 3);
        for (int64_t first = 0; first < kHeight; first += rows) {
          const int64_t above = std::min<int64_t>(first, 1), end = std::min(kHeight, first + rows + 1);
          const Tensor out = rows_of(strips, first * u, std::min(rows, kHeight - first) * u);
          backend->conv2d({.x = rows_of(x, first - above, end - first + above),
                           .weight = *w,
                           .bias = {},
                           .residual = out,
                           .out = out,
                           .upsample = u,
                           .first_row = above * u});
        }
        EXPECT_TRUE(whole.bytes() == strips.bytes()) << dtype_name(dtype) << " u" << u << " " << rows;
      }
    }
  }
}

struct AttentionCase {
  int64_t lq, lk, heads, dim;
  bool causal = false, bias = false;
};

void check_attention(Backend& backend, const AttentionCase& c, DType dtype) {
  SCOPED_TRACE(fmt::format("{} {}x{} {} heads of {} causal {} bias {} {}", backend.name(), c.lq, c.lk,
                           c.heads, c.dim, c.causal, c.bias, dtype_name(dtype)));
  const Shape shape_q{c.lq, c.heads * c.dim}, shape_k{c.lk, c.heads * c.dim};
  const OwnedTensor q = random_tensor(dtype, shape_q, 1, 3, 2), k = random_tensor(dtype, shape_k, 2, 1, 7);
  const OwnedTensor v = random_tensor(dtype, shape_k, 3, 1, 1), out(dtype, shape_q, 4);
  OwnedTensor bias = random_tensor(DType::kF32, {c.heads, c.lq + c.lk - 1}, 4, 2);
  for (int64_t h = 0; h < c.heads && c.lk > 2; ++h) bias.set(h, c.lq, -INFINITY);  // hides a diagonal
  const float scale = 1.0f / std::sqrt(static_cast<float>(c.dim));
  AttentionArgs args{.q = *q,
                     .k = *k,
                     .v = *v,
                     .out = *out,
                     .heads = c.heads,
                     .scale = scale,
                     .causal = c.causal,
                     .relative_bias = {},
                     .state = {}};
  if (c.bias) args.relative_bias = *bias;
  backend.attention(args);
  ASSERT_TRUE(out.gaps_untouched());
  for (int64_t h = 0; h < c.heads; ++h) {
    for (int64_t i = 0; i < c.lq; ++i) {
      std::vector<double> p;
      double largest = -INFINITY, total = 0;
      for (int64_t j = 0; j < (c.causal ? std::min(i + 1, c.lk) : c.lk); ++j) {
        double score = 0;
        for (int64_t d = 0; d < c.dim; ++d) score += q.get(i, h * c.dim + d) * k.get(j, h * c.dim + d);
        p.push_back(score * static_cast<double>(scale) + (c.bias ? bias.get(h, j - i + c.lq - 1) : 0.0));
        largest = std::max(largest, p.back());
      }
      for (double& s : p) total += s = std::exp(s - largest);
      for (int64_t d = 0; d < c.dim; ++d) {
        double sum = 0;
        for (std::size_t j = 0; j < p.size(); ++j)
          sum += p[j] / total * v.get(static_cast<int64_t>(j), h * c.dim + d);
        ASSERT_NEAR(out.get(i, h * c.dim + d), sum, with_rounding(dtype, 3e-6, sum))
            << h << "," << i << "," << d;
      }
    }
  }
}

TEST_P(CpuProducts, AttentionMatchesPlainLoops) {
  const auto backend = make(2);
  for (const DType dtype : {DType::kF32, DType::kBF16}) {
    for (const AttentionCase& c : {AttentionCase{1, 1, 1, 1},
                                   {1, 300, 2, 3},
                                   {5, 7, 2, 17},
                                   {200, 40, 1, 64},
                                   {30, 520, 2, 20},
                                   {77, 77, 3, 64, true},
                                   {270, 270, 1, 8, true, true},
                                   {3, 9, 2, 6, true, true},
                                   {9, 3, 2, 6, true},
                                   {210, 300, 2, 5, false, true},
                                   {20, 30, 1, 300},
                                   {8, 260, 1, 513}}) {
      check_attention(*backend, c, dtype);
    }
  }
}

// A first block of keys that is hidden altogether, and values that must spread.
TEST_P(CpuProducts, AttentionInfinityAndNan) {
  const auto backend = make(1);
  constexpr int64_t kKeys = 600, kDim = 4;
  const OwnedTensor q = random_tensor(DType::kF32, {1, kDim}, 1),
                    k = random_tensor(DType::kF32, {kKeys, kDim}, 2);
  OwnedTensor v = random_tensor(DType::kF32, {kKeys, kDim}, 3), bias(DType::kF32, {1, kKeys});
  const OwnedTensor out(DType::kF32, {1, kDim});
  for (int64_t j = 0; j < kKeys; ++j) bias.set(0, j, j == kKeys - 1 ? 0.0f : -INFINITY);
  const AttentionArgs args{.q = *q, .k = *k, .v = *v, .out = *out, .relative_bias = *bias, .state = {}};
  backend->attention(args);
  for (int64_t d = 0; d < kDim; ++d) EXPECT_FLOAT_EQ(out->row<float>(0)[d], v->row<float>(kKeys - 1)[d]);
  bias.set(0, 5, NAN);
  backend->attention(args);
  for (int64_t d = 0; d < kDim; ++d) EXPECT_TRUE(std::isnan(out->row<float>(0)[d]));
  for (int64_t j = 0; j < kKeys; ++j) bias.set(0, j, -INFINITY);
  backend->attention(args);
  for (int64_t d = 0; d < kDim; ++d) EXPECT_TRUE(std::isnan(out->row<float>(0)[d]));
}

TEST_P(CpuProducts, NanAndInfinityPassThroughLinear) {
  const auto backend = make(2);
  for (const int64_t m : {4, 40}) {
    OwnedTensor x = random_tensor(DType::kBF16, {m, 33}, 1);
    const OwnedTensor w = random_tensor(DType::kBF16, {19, 33}, 2), out(DType::kBF16, {m, 19});
    x.set(1, 32, NAN);
    x.set(2, 7, INFINITY);
    backend->linear({.x = *x, .weight = *w, .bias = {}, .gate = {}, .residual = {}, .out = *out});
    for (int64_t j = 0; j < 19; ++j) {
      EXPECT_TRUE(std::isfinite(out.get(0, j)));
      EXPECT_TRUE(std::isnan(out.get(1, j)));
      EXPECT_TRUE(std::isinf(out.get(2, j)));
      EXPECT_TRUE(std::isfinite(out.get(3, j)));
    }
  }
}

// Runs op(backend) with 1, 2, 3 and 5 threads and expects the same bytes.
void expect_same_bytes(CpuIsa isa, bool emulate, const std::function<std::vector<std::byte>(Backend&)>& op) {
  std::set<std::vector<std::byte>> results;
  for (const int threads : {1, 2, 3, 5}) {
    results.insert(op(*make_cpu_backend({.threads = threads, .isa = isa, .emulate_bf16_dot = emulate})));
  }
  EXPECT_EQ(results.size(), 1u) << isa_name(isa);
}

TEST_P(CpuProducts, SameBytesForAnyThreadCount) {
  for (const DType dtype : {DType::kF32, DType::kBF16}) {
    for (const bool emulate : {false, true}) {
      for (const int64_t m : {3, 250}) {  // 250 × 410: the tiles differ between 1 and 5 threads
        const OwnedTensor x = random_tensor(dtype, {m, 600}, 1), w = random_tensor(dtype, {410, 600}, 2);
        expect_same_bytes(GetParam(), emulate, [&](Backend& backend) {
          const OwnedTensor out(dtype, {m, 410});
          backend.linear({.x = *x, .weight = *w, .bias = {}, .gate = {}, .residual = {}, .out = *out});
          return out.bytes();
        });
      }
      const OwnedTensor image = random_tensor(dtype, {25, 26, 17}, 3),
                        kernel = random_tensor(dtype, {40, 17, 3, 3}, 4);
      for (const auto& [up, down] : {std::pair(1, 1), std::pair(2, 1), std::pair(1, 2)}) {
        expect_same_bytes(GetParam(), emulate, [&, u = up, d = down](Backend& backend) {
          const OwnedTensor out(dtype, {25 * u / d, 26 * u / d, 40});
          backend.conv2d({.x = *image,
                          .weight = *kernel,
                          .bias = {},
                          .residual = {},
                          .out = *out,
                          .upsample = u,
                          .downsample = d});
          return out.bytes();
        });
      }
    }
    const OwnedTensor q = random_tensor(dtype, {400, 48}, 5), k = random_tensor(dtype, {300, 48}, 6);
    expect_same_bytes(GetParam(), false, [&](Backend& backend) {
      const OwnedTensor out(dtype, {400, 48});
      backend.attention(
          {.q = *q, .k = *k, .v = *k, .out = *out, .heads = 3, .relative_bias = {}, .state = {}});
      return out.bytes();
    });
  }
}

INSTANTIATE_TEST_SUITE_P(All, CpuProducts, testing::ValuesIn(supported_isas()),
                         [](const auto& isa) { return std::string(isa_name(isa.param)); });

}  // namespace
}  // namespace darkroom
