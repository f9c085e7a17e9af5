// The inner loops of the cpu backend, as one table of function pointers per instruction set. Private to this
// room.
//
// Kernels know nothing of threads, tensors or tiles: they get pointers and counts, and never allocate or
// throw. The drivers (gemm.cc, int8_gemm.cc, small_m.cc, attention.cc, conv.cc, winograd.cc, cpu.cc) are
// ordinary code, compiled once.
#pragma once

#include <cstddef>
#include <cstdint>

#include "backends/cpu/cpu.h"
#include "ops/backend.h"
#include "tensor/dtype.h"

namespace darkroom::cpu {

// Packed operands of the matrix kernels count depth in units of four bytes: one f32, or two bf16 that are
// multiplied and summed as a pair. A packed row of A is always kDepth units from the next, known at compile
// time, so that a tile of rows is addressed from one register. A strip of B (16 columns) is then 16 KiB. Also
// the number of keys in a block of attention.
inline constexpr int64_t kDepth = 256;

enum class Form : uint8_t { kF32, kPairs };

// out[r][c] = residual + gate·act(c[r][c]·scale + bias) for a small tile.
struct EpilogueArgs {
  Activation activation = Activation::kNone;
  const float* scale = nullptr;  // of the tile's first column; the others likewise; null if absent
  const float* bias = nullptr;
  const float* gate = nullptr;
  DType dtype = DType::kF32;  // of residual and out
  const void* residual = nullptr;
  int64_t residual_stride = 0;
  void* out = nullptr;
  int64_t out_stride = 0;
};

// C[mr][nr] (+)= A·B over `steps` units: a [mr][kDepth], b [steps][nr], c rows ldc floats apart.
using MicroKernel = void (*)(const void* a, const void* b, int64_t steps, float* c, int64_t ldc,
                             bool accumulate);

// stride: elements from a row to the next.
using PackB = void (*)(DType dtype, const void* begin, int64_t stride, int64_t rows, int64_t depth,
                       float* out);

struct GemmKernels {
  int64_t mr, nr;
  Form form;
  MicroKernel micro;
  // Columns of B from `rows` <= nr rows of a row-major matrix, `depth` elements each (at most kDepth, or
  // 2·kDepth in pairs), into [steps][nr]; what is missing becomes zero. Pairs do not take f32; of the others
  // only f16 is rounded (f8 and i8 fit bf16 exactly).
  PackB pack_b;
  // The same of whole blocks of a block type, rounded in pairs; what is missing becomes anything.
  PackB pack_blocks;
};

// C[mr][nr] (+)= A·B of 8 bits in i32 over `steps` units of four: a [mr][kDepth], b [steps][nr] as pack_b has
// them. Row r of the products begins at start[r], where the kernels want that.
using Int8MicroKernel = void (*)(const void* a, const void* b, int64_t steps, const int32_t* start,
                                 int32_t* c, int64_t ldc, bool accumulate);
// `rows` <= nr rows of weights, of `depth` <= 4·kDepth elements, `stride` apart, into [steps][nr] units; what
// is missing becomes anything. False where they have more bits than the kernel multiplies.
using PackInt8 = bool (*)(const int8_t* begin, int64_t stride, int64_t rows, int64_t depth, void* out);

struct Int8Kernels {
  int64_t mr = 0, nr = 0;
  // Where instructions multiply u8 by i8: what pack_b adds to the weights. A row of products begins at −offset
  // times the sum of its activations, which `sum` adds up (`count` a multiple of four). Else 0 and null.
  int32_t offset = 0;
  int32_t (*sum)(const int8_t* x, int64_t count) = nullptr;
  Int8MicroKernel micro = nullptr;
  PackInt8 pack_b = nullptr;
  // A loop of the instructions that `micro` multiplies with, in registers: see CeilingTable.
  double (*ceiling)(int64_t rounds) = nullptr;
};

// One block of keys of an online softmax, see attention_kernels.cc.
struct SoftmaxArgs {
  float* scores = nullptr;  // [rows][kDepth], in: q·k; out: e^(score − max)
  int64_t rows = 0, cols = 0;
  float scale = 1;
  const float* bias = nullptr;  // of row 0, column 0; row r starts r floats earlier; null if absent
  bool causal = false;
  int64_t causal_limit = 0;     // causal: row r sees columns < causal_limit + r
  float* max = nullptr;         // [rows] running maximum
  float* sum = nullptr;         // [rows] running sum
  float* correction = nullptr;  // [rows] out: what earlier results must be multiplied by
};

// Weights of attention in 8 bits are 0 to kMostInt8Weight. Where they are multiplied they are less half of it, so
// that they are i8 in [−127, 127]; it is even, so that halves round as before.
inline constexpr int32_t kWeightOffset = static_cast<int32_t>(kMostInt8Weight) / 2;
static_assert(kWeightOffset % 2 == 0 && kWeightOffset <= 127);

// One block of keys of attention in 8 bits, see AttentionArgs and int8_attention_kernels.cc.
struct Int8SoftmaxArgs {
  // [rows][kDepth], in: sums of products; out: weights less kWeightOffset, weight_units(cols) units at
  // the front of each row.
  int32_t* scores = nullptr;
  int64_t rows = 0, cols = 0;
  bool first = false;                // of the blocks
  const float* key_scale = nullptr;  // [cols], readable to whole vectors
  const float* factor = nullptr;     // [rows]
  float* max = nullptr;              // [rows] running
  float* sum = nullptr;              // [rows] running
  float* keep = nullptr;             // [rows] out: what earlier results are multiplied by
  float* add = nullptr;              // [rows] out: what this block's are
  int32_t* start = nullptr;          // [rows] out: see Int8Kernels::sum
};

// result = result·keep + (products + offsets)·scale·add.
struct Int8ValuesArgs {
  const int32_t* products = nullptr;
  int64_t stride = 0, rows = 0, cols = 0;  // cols a multiple of the vector
  const int32_t* offsets = nullptr;        // [cols]
  const float* scale = nullptr;            // [cols]
  const float *keep = nullptr, *add = nullptr;
  float* result = nullptr;
  int64_t result_stride = 0;
};

// x as dot_blocks wants it: runs of 16 elements, each followed by its sum.
inline constexpr int64_t kRun = 16;
constexpr int64_t run_floats(int64_t elements) { return elements / kRun * (kRun + 1); }

using Dot = void (*)(DType dtype, const void* w, int64_t w_stride, int64_t rows, const float* x,
                     int64_t x_stride, int64_t m, int64_t depth, float* out, int64_t out_stride,
                     bool accumulate);

// A tile of a Winograd convolution's result, from the sums of its products.
struct WinogradResults {
  const float* sums = nullptr;                   // of the tile's first product and channel
  int64_t sums_stride = 0;                       // from a product to the next
  int64_t channels = 0;                          // there are sums of more, up to whole vectors
  const float* bias = nullptr;                   // may be null
  DType dtype = DType::kF32;                     // of residual and out
  const void* residual = nullptr;                // may be null
  void* out = nullptr;                           // the tile's first pixel, which need not exist
  int64_t row_stride = 0, pixel_stride = 0;      // of both, in elements
  int64_t first_row = 0, end_row = 0, cols = 0;  // what of the tile exists
};

// Results of a tile, each way.
inline constexpr int64_t kWinogradTile = kConvTileRows;

// A convolution of 3×3 by tiles. `inputs` squared pixels become `data` squared numbers for each channel, and
// 3×3 weights become `products` squared ones. What is multiplied, and summed over channels, becomes the
// results.
struct WinogradKernels {
  int64_t inputs, data, products;
  const uint8_t* data_of;  // [products] which row, and which column, of the data goes into each
  // pixels [inputs][inputs], null where there is none: zeros. Data point i of channel c goes to out[i·stride +
  // c]; channels are rounded up to whole vectors.
  void (*transform_data)(DType dtype, const void* const* pixels, int64_t channels, float* out,
                         int64_t stride);
  // taps [channels][9][nr] -> [channels][nr] for each product, the first at out, the next `stride` floats on.
  void (*transform_weights)(const float* taps, int64_t channels, float* out, int64_t stride);
  void (*transform_results)(const WinogradResults& results);
};

struct KernelTable {
  GemmKernels gemm;                              // f32
  WinogradKernels winograd, winograd_upsampled;  // for products by `gemm`
  GemmKernels emulated_bf16;                     // pairs, portable
  Int8Kernels int8;                              // without an instruction for dot products
  Int8Kernels int7;                              // the same for up to kInt7Levels; or `int8`
  PackInt8 pack_int8_flipped[4];                 // in strips of one vector, two, three and four

  // QuantizeRowsArgs for one row; false where it holds NaN or infinity.
  bool (*quantize_row)(DType dtype, const void* x, const float* smooth, int64_t count, int64_t group,
                       int32_t levels, int8_t* out, float* scales);
  // ColumnMagnitudesArgs of one row; false where it holds NaN or infinity.
  bool (*add_magnitudes)(DType dtype, const void* x, int64_t count, float* largest, float* squares);
  // out[r][c] (+)= f32(sums[r][c])·scale[r·scale_stride]; `out` may be `sums`. cols a multiple of the vector.
  void (*scale_sums)(const int32_t* sums, int64_t stride, int64_t rows, int64_t cols, const float* scale,
                     int64_t scale_stride, float* out, int64_t out_stride, bool accumulate);

  void (*epilogue)(const EpilogueArgs& args, const float* c, int64_t ldc, int64_t rows, int64_t cols);

  // out[m][rows] (+)= x[m][depth]·w[rows][depth]ᵀ, f32 x and out; dot_blocks: w of a block type, x in runs.
  Dot dot, dot_blocks;

  // V-side of attention: [keys][cols] row-major to strips [cols/nr][keys][nr], f32, padded with zeros.
  void (*pack_rows)(DType dtype, const void* in, int64_t stride, int64_t keys, int64_t cols, float* out);
  void (*softmax_block)(const SoftmaxArgs& args);
  // x[r][0, cols) *= factor[r]; cols a multiple of the vector.
  void (*scale_rows)(float* x, int64_t stride, int64_t rows, int64_t cols, const float* factor);
  void (*scale_store)(DType dtype, const float* x, float factor, int64_t count, void* out);

  // Attention in 8 bits. Columns are padded to whole vectors, but those of x.
  // Adds up columns in f64, in the order of the rows; false where |x| is NaN or above kMostInt8Attended.
  bool (*sum_columns)(DType dtype, const void* x, int64_t stride, int64_t rows, int64_t cols, double* sums);
  // out = x − mean; `largest`, if not null, becomes the larger of itself and the magnitudes of its column.
  void (*centre_rows)(DType dtype, const void* x, int64_t stride, int64_t rows, int64_t cols,
                      const float* mean, float* out, int64_t out_stride, float* largest);
  // x·inverse as i8, weight_units(keys) units of four keys in strips [cols/nr][units][nr], each byte xor `flip`;
  // adds the columns' sums to `sums`. cols a multiple of nr. Which keys share a unit is the set's own affair.
  void (*pack_values)(const float* x, int64_t stride, int64_t keys, int64_t cols, const float* inverse,
                      uint32_t flip, int64_t nr, void* out, int32_t* sums);
  int64_t (*weight_units)(int64_t keys);
  void (*int8_softmax_block)(const Int8SoftmaxArgs& args);
  void (*add_int8_values)(const Int8ValuesArgs& args);
  // out = x·factor + more.
  void (*scale_add_store)(DType dtype, const float* x, float factor, const float* more, int64_t count,
                          void* out);

  // Rows. dtype is that of x and out (f32 or bf16) unless two are given; count is in elements.
  void (*convert)(DType in_dtype, const void* in, DType out_dtype, void* out, int64_t count);
  // x + y_scale·y + z_scale·z; z may be null.
  void (*add)(DType dtype, const void* x, float y_scale, const void* y, float z_scale, const void* z,
              void* out, int64_t count);
  // Σ|x − y| and Σ|y| into out[0] and out[1].
  void (*distances)(DType dtype, const void* x, const void* y, int64_t count, float* out);
  void (*activate)(DType dtype, Activation activation, const void* x, void* out, int64_t count);
  void (*gated_gelu)(DType dtype, const void* gate, const void* up, void* out, int64_t count);
  // (x − mean)/√(variance + epsilon)·weight + bias; not centred: mean is 0. bias may be null.
  void (*normalise)(DType dtype, const void* x, void* out, int64_t count, bool centred, float epsilon,
                    const float* weight, const float* bias);
  void (*norm_rope)(DType dtype, void* x, int64_t heads, int64_t head_dim, float epsilon, const float* weight,
                    const float* cos, const float* sin);
  // For each channel over `pixels`: the first value k, Σ(x − k) and Σ(x − k)², each [channels].
  void (*moments)(DType dtype, const void* x, int64_t pixels, int64_t channels, float* first, float* sum,
                  float* squares);
  // (x − mean)·weight + bias by channel, then SiLU if asked.
  void (*scale_channels)(DType dtype, const void* x, void* out, int64_t pixels, int64_t channels,
                         const float* mean, const float* weight, const float* bias, bool silu);
};

// Filled family by family from each file that is compiled for every instruction set.
void add_gemm_kernels(CpuIsa isa, KernelTable& table);
void add_int8_kernels(CpuIsa isa, KernelTable& table);
void add_block_kernels(CpuIsa isa, KernelTable& table);  // after add_gemm_kernels
void add_winograd_kernels(CpuIsa isa, KernelTable& table);
void add_attention_kernels(CpuIsa isa, KernelTable& table);
void add_int8_attention_kernels(CpuIsa isa, KernelTable& table);
void add_row_kernels(CpuIsa isa, KernelTable& table);

// In such a file, after Highway's loop: `return N_<set>::call` for the set that isa names.
#define DARKROOM_FOR_ISA(isa, call) \
  switch (isa) {                    \
    DARKROOM_ISA_CASES(call)        \
    default:                        \
      return N_SCALAR::call;        \
  }
#if defined(__x86_64__)
#define DARKROOM_ISA_CASES(call) \
  case CpuIsa::kSse4:            \
    return N_SSE4::call;         \
  case CpuIsa::kAvx2:            \
    return N_AVX2::call;         \
  case CpuIsa::kAvx512:          \
  case CpuIsa::kAvx512Bf16:      \
    return N_AVX3::call;
#elif defined(__aarch64__)
// Highway 1.0.4 and newer have a second name, for what is compiled where processors may lack AES.
#if HWY_TARGETS & HWY_NEON
#define DARKROOM_NEON N_NEON
#else
#define DARKROOM_NEON N_NEON_WITHOUT_AES
#endif
#define DARKROOM_ISA_CASES(call) \
  case CpuIsa::kNeon:            \
    return DARKROOM_NEON::call;
#else
#define DARKROOM_ISA_CASES(call)
#endif

// isa is one of supported_isas().
KernelTable make_kernel_table(CpuIsa isa);

// `emulated` of the AVX-512 table with the native instruction.
GemmKernels avx512bf16_gemm(const GemmKernels& emulated);

// The processor's dot product, if it has one that `dot` allows, else the set's own.
Int8Kernels dot_int8_kernels(CpuIsa isa, Int8Dot dot, const KernelTable& table);
// The fastest for weights and activations of so many levels: the same, or the set's own for fewer.
Int8Kernels int8_kernels_for(int32_t levels, CpuIsa isa, Int8Dot dot, const KernelTable& table);
// The same for attention, whose operands have a power of two of columns: nr is one.
Int8Kernels attention_int8_kernels(CpuIsa isa, Int8Dot dot, const KernelTable& table);

// Register-only loops for the bench: run `rounds` and return the operations done (2 per multiply-add).
struct CeilingTable {
  double (*f32)(int64_t rounds);
  double (*read)(const std::byte* data, int64_t bytes);  // returns a sum, so that the reads stay
};
const CeilingTable& ceiling_table(CpuIsa isa);
double avx512bf16_ceiling(int64_t rounds);

// kAuto becomes the best set. Errors: kUsage if the processor lacks it.
CpuIsa resolve_isa(CpuIsa isa);

}  // namespace darkroom::cpu
