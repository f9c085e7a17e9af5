// What a backend implements: every op of ops.h on arguments that ops.cc has already checked.
//
// A backend may trust shapes, dtypes and devices. "Row" means all extents but the last; rows may be strided
// (Tensor::row_stride), columns are contiguous. Unless an op says otherwise:
//   - activations (x, out, residual, q, k, v) share one dtype, f32 or bf16, the precision of the run;
//   - weights and biases are f32, f16, bf16, f8_e4m3 or f8_e5m2 and are widened, never copied whole; the
//     matrix of linear may also be of a block type, or i8, and have scales (Tensor::scales); the table of
//     embed may be of a block type;
//   - arithmetic accumulates in f32 and each output element is rounded once, when it is stored; beside bf16
//     activations a matrix's values may be rounded to bf16 first, and attention's weights to 11 bits; products of
//     8-bit activations are exact;
//   - `out` does not overlap an input, except where "in place" is allowed by name;
//   - results do not depend on the number of threads.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <utility>

#include "tensor/buffer.h"
#include "tensor/tensor.h"

namespace darkroom {

enum class Activation : uint8_t {
  kNone,
  kGeluTanh,   // 0.5·x·(1 + tanh(√(2/π)·(x + 0.044715·x³)))
  kQuickGelu,  // x·sigmoid(1.702·x)
  kSilu,       // x·sigmoid(x)
  kRelu,       // max(x, 0)
};

// out[M,N] = residual + gate ⊙ act((x[M,K]·weight[N,K]ᵀ) ⊙ scales + lora_hidden·lora_upᵀ + bias). Absent
// parts are skipped; one scale counts for all N. `out` may be `residual`.
//
// x may be i8 in ±x.levels as quantize_rows() gives it, beside an i8 weight with scales. Then x·weightᵀ is
// Σ f32(Sᵣ)·sᵣ over the runs r of columns that share a scale s, in their order, with Sᵣ the exact sum of
// products in i32; every f32 operation is rounded on its own. So without an activation and a LoRA all backends
// give the same bits. Where both x.levels and weight.levels are at most kInt7Levels, and known, a backend may
// use products that larger numbers would overflow; else weights of any i8 are exact.
struct LinearArgs {
  Tensor x;
  Tensor weight;                          // has the scales
  Tensor bias;                            // [N] or absent
  Tensor lora_hidden = {}, lora_up = {};  // f32 [M,R], and [N,R] of a floating type; or absent
  Activation activation = Activation::kNone;
  Tensor gate;      // f32 [N] or absent
  Tensor residual;  // [M,N] or absent
  Tensor out;       // f32, or x's dtype; if x is i8, f32 or bf16; the residual's dtype
};

// Sums of so many products of 8 bits, one factor taken as unsigned, fit i32: 255·127·65536 < 2^31.
inline constexpr int64_t kMaxInt8Depth = 65536;

// x[M,K] ⊙ smooth, x f32 or bf16, in 8 bits: runs of `group` columns of a row, the last of them shorter, have
// a scale each. It is their largest magnitude/out.levels, and out = (x·smooth)·(1/scale) to the nearest integer,
// ties to even; both divisions and products in f32. A run whose magnitudes are all below 2^-100 gives zeros and
// the scale 1. Errors: fail_not_finite() with the first row that holds NaN or infinity, or gets to it by `smooth`.
struct QuantizeRowsArgs {
  Tensor x;
  Tensor smooth;      // f32 [K] or absent: as if all were 1
  int64_t group = 0;  // 1 to K
  Tensor out;         // i8 [M,K], dense, of kInt8Levels or kInt7Levels
  Tensor scales;      // f32 [M, ⌈K/group⌉], dense
};
inline constexpr float kLeastQuantised = 0x1p-100f;
// Throws kFailure.
[[noreturn]] void fail_not_finite(const Tensor& x, int64_t row);

// Each row of x[M,N]: (x − mean)/√(variance + epsilon) · weight + bias. In place allowed.
struct LayerNormArgs {
  Tensor x, weight, bias, out;
  float epsilon = 0;
};

// Each row of x[M,N]: (x − mean)/√(variance + epsilon) · (1 + scale) + shift, scale and shift f32 [N]. In
// place allowed.
struct NormModulateArgs {
  Tensor x, scale, shift, out;
  float epsilon = 0;
};

// Each row of x[M,N]: x/√(mean(x²) + epsilon) · weight. In place allowed.
struct RmsNormArgs {
  Tensor x, weight, out;
  float epsilon = 0;
};

// In place on x[L, heads·D]: each head's D values are RMS-normalised, multiplied by weight [D], then rotated
// in interleaved pairs: (x₂ⱼ, x₂ⱼ₊₁) ← (x₂ⱼ·cos − x₂ⱼ₊₁·sin, x₂ⱼ₊₁·cos + x₂ⱼ·sin), cos and sin f32 [L, D/2].
struct QkNormRopeArgs {
  Tensor x, weight, cos, sin;
  float epsilon = 0;
};

// out[Lq, heads·D] = softmax(scale·q·kᵀ + bias)·v, head by head; q [Lq, heads·D], k and v [Lk, heads·D].
// Streams over the keys; never stores Lq × Lk.
//
// With `state` the keys come in parts, one call each, neither causal nor with a bias: f32 [Lq, heads·(D +
// 2)], per head the D sums of e^(s − m)·v, the largest score m and the sum of e^(s − m). The first part
// begins it; the last leaves it alone and writes `out`, which the others do not touch.
//
// With `int8_memory` both products are of 8 bits (arXiv 2410.02367, 2411.10958), neither causal, nor with a
// bias, nor in parts. For each head, with K and V less the means of their columns over all keys, which change
// no softmax and are added to its result:
//   - q's and k's rows become i8 with scales sq and sk, as quantize_rows() makes them, and v's columns, for each
//     block of kInt8KeyBlock keys by itself, with scales sv;
//   - a row of q has with key j the score tⱼ = f32(Sⱼ)·sk, Sⱼ the exact sum of products; f = (sq·scale)·log₂e;
//   - a block with the largest score M has pⱼ = kMostInt8Weight·2^((tⱼ − M)·f), to nearest, ties to even;
//   - with m the largest score so far and m' that of this block too, x and the total, 0 at first, become
//     x·2^((m − m')·f) + (f32(Σ pⱼ·vⱼ)·sv)·2^((M − m')·f) and total·2^((m − m')·f) + f32(Σ pⱼ)·2^((M − m')·f);
//   - out = x·(1/total) + mean of v.
// Means are summed in f64, each block's keys in their order, then the blocks; all else is f32, rounded after
// each operation. 2^z is (((c₃·r + c₂)·r + c₁)·r + 1)·2ⁿ, n the integer nearest to z, at least −64, r = z − n
// (1.02e-4 off at most). So all backends give the same bits, and values that are all the same stay so. Errors:
// fail_attended() with the first row of k, v or q that holds NaN or infinity, or, in k and v, more than
// kMostInt8Attended.
struct AttentionArgs {
  Tensor q, k, v, out;
  int64_t heads = 1;
  float scale = 1;
  bool causal = false;   // key j takes part in row i only if j <= i
  Tensor relative_bias;  // f32 [heads, Lq + Lk − 1] or absent: adds relative_bias[head][j − i + Lq − 1]
  Tensor state;          // or absent
  bool first = true, last = true;
  Tensor int8_memory = {};  // i8 [int8_attention_bytes()], for what a backend likes; or absent
};
inline constexpr int64_t kInt8KeyBlock = 256, kMaxInt8HeadDim = 1024;
inline constexpr float kMostInt8Attended = 0x1p100f, kMostInt8Weight = 252;
// Throws kFailure; what x is to the op: "q", "k" or "v".
[[noreturn]] void fail_attended(std::string_view what, const Tensor& x, int64_t row);
inline constexpr float kPowerOfTwo[3] = {0x1.62f5fap-1f, 0x1.f00c4ep-3f, 0x1.c2a218p-5f};  // c₁, c₂, c₃
inline constexpr float kLog2E = 0x1.715476p+0f;
// Room for K and V in 8 bits in whole vectors and units, their scales, sums and means; and for sums in f64.
int64_t int8_attention_head_bytes(int64_t keys, int64_t head_dim);
int64_t int8_attention_bytes(int64_t keys, int64_t heads, int64_t head_dim);

// out = gelu_tanh(gate) ⊙ up, all [M,N].
struct GatedGeluArgs {
  Tensor gate, up, out;
};

// out = x + y_scale·y + z_scale·z, all [M,N], z may be absent; multiply-adds in f32, in this order. In place
// allowed.
struct AddArgs {
  Tensor x, y, z, out;
  float y_scale = 1, z_scale = 1;
};

// x, y [M,N] -> out f32 [M,2]: Σ|x − y| and Σ|y| of each row.
struct RowDistancesArgs {
  Tensor x, y, out;
};

// x [M,N] -> out f32 [2,N], dense: out[0] becomes the largest magnitude of each column, if that is larger than it
// was; the squares of a column are added to out[1], row by row. Errors: as QuantizeRowsArgs.
struct ColumnMagnitudesArgs {
  Tensor x, out;
};

// out = act(x). In place allowed.
struct ActivateArgs {
  Tensor x, out;
  Activation activation = Activation::kSilu;
};

// out[i] = table[ids[i]], table [V,N], ids in [0, V).
struct EmbedArgs {
  Tensor table;
  std::span<const int32_t> ids;
  Tensor out;
};

// x [H,W,C] dense -> out f32 [H, 2·groups]: of each row of pixels, first the mean of every group of channels,
// then the sum of squared distances from it of every group. A row's moments do not depend on the other rows
// of x.
struct RowMomentsArgs {
  Tensor x, out;
  int64_t groups = 1;
};

// moments [H, 2·groups], each of `count` values -> out f32 [2, groups]: the mean of each group and
// 1/√(variance + epsilon). The rows are put together in their order, in f64.
struct GroupStatisticsArgs {
  Tensor moments, out;
  int64_t count = 1;
  float epsilon = 0;
};

// x [H,W,C] dense, statistics f32 [2, groups]: (x − mean)·statistics[1]·weight + bias by channel, weight and
// bias [C], then SiLU if asked. In place allowed.
struct GroupNormArgs {
  Tensor x, statistics, weight, bias, out;
  bool silu = false;
};

// Rows [first_row, first_row + R) of [H·u/d, W·u/d, Co] = residual + conv(upsample(x [H,W,Ci])) + bias, as
// out [R, W·u/d, Co]: cross-correlation with weight [Co,Ci,kh,kw], zero padding (kh−1)/2 and (kw−1)/2, after
// nearest-neighbour upsampling by u. With d = 2 only the results at odd rows and columns are kept, which for
// even sizes is stride 2 after a zero row below and a zero column on the right. All dense. `out` may be
// `residual`.
//
// Where kh = kw = 3 and d = 1 a backend may compute kConvTileRows rows at once, from first_row on: a row's
// bytes then depend on all rows of x under its tile. Other than that they do not depend on which rows are
// computed. So a result may come in strips of whole tiles, of an x that has a row more on either side if the
// picture has one.
inline constexpr int64_t kConvTileRows = 6;
struct Conv2dArgs {
  Tensor x, weight;
  Tensor bias;      // [Co] or absent
  Tensor residual;  // shape of out or absent
  Tensor out;
  int64_t upsample = 1;    // u: 1 or 2
  int64_t downsample = 1;  // d: 1 or 2
  int64_t first_row = 0;
};

// out = x in another dtype (rounded to nearest even), same shape.
struct ConvertArgs {
  Tensor x, out;
};

// Thread rule: one op at a time per backend object; ops use the backend's own threads.
class Backend {
 public:
  virtual ~Backend() = default;

  virtual std::string name() const = 0;  // "reference", "dry_run", "cpu avx2"
  virtual Device device() const = 0;
  // Who computes: of a graphics card its driver with the version, its class of kernels, and a digest of them and of
  // who compiles them; empty elsewhere.
  struct Identity {
    std::string device, driver, device_class, kernels;
  };
  virtual Identity identity() const { return {name(), "", "", ""}; }
  // One line that whoever draws should know of this backend; empty: nothing.
  const std::string& note() const { return note_; }
  void set_note(std::string note) { note_ = std::move(note); }
  // A dry run: its tensors have no data, so no values need to be made for them.
  virtual bool counts_only() const { return false; }

  // Memory for this backend's tensors, with anything in it. Errors: kOutOfMemory with the bytes asked for.
  virtual std::unique_ptr<Memory> allocate(std::size_t bytes);
  // Calls `write` once with `bytes` of the host's memory; what it puts there lies at `place`, in memory of this
  // backend, for all ops asked for after this returns. From any thread, beside ops, none of which may still use
  // the place (wait()). Errors: kOutOfMemory, those of `write`.
  using Write = std::function<void(std::span<std::byte>)>;
  virtual void fill(std::byte* place, std::size_t bytes, const Write& write);
  // Calls `look` once with the bytes at `place`, as the ops asked for so far have left them.
  using Look = std::function<void(std::span<const std::byte>)>;
  virtual void look_at(const std::byte* place, std::size_t bytes, const Look& look);

  // Ops may return before they have run, and run in the order asked for. A ticket stands for all asked for so
  // far on the thread of ops; wait() returns when they have run, on any thread. Errors: kDevice when the
  // device is lost, and what an op found out about its values only then.
  using Ticket = uint64_t;
  virtual Ticket mark() { return 0; }
  virtual void wait(Ticket) {}

  virtual void linear(const LinearArgs& args) = 0;
  virtual void quantize_rows(const QuantizeRowsArgs& args) = 0;
  virtual void layer_norm(const LayerNormArgs& args) = 0;
  virtual void norm_modulate(const NormModulateArgs& args) = 0;
  virtual void rms_norm(const RmsNormArgs& args) = 0;
  virtual void qk_norm_rope(const QkNormRopeArgs& args) = 0;
  virtual void attention(const AttentionArgs& args) = 0;
  virtual void gated_gelu(const GatedGeluArgs& args) = 0;
  virtual void add(const AddArgs& args) = 0;
  virtual void row_distances(const RowDistancesArgs& args) = 0;
  virtual void column_magnitudes(const ColumnMagnitudesArgs& args) = 0;
  virtual void activate(const ActivateArgs& args) = 0;
  virtual void embed(const EmbedArgs& args) = 0;
  virtual void row_moments(const RowMomentsArgs& args) = 0;
  virtual void group_statistics(const GroupStatisticsArgs& args) = 0;
  virtual void group_norm(const GroupNormArgs& args) = 0;
  virtual void conv2d(const Conv2dArgs& args) = 0;
  virtual void convert(const ConvertArgs& args) = 0;

  // Between the host and tensors of this backend, in the order of ops; `host` holds exactly
  // tensor.shape.numel() values, row by row.
  virtual void upload(std::span<const float> host, const Tensor& out) = 0;
  virtual void download(const Tensor& x, std::span<float> host) = 0;

  virtual int threads() const { return 1; }  // that an op runs on

  // Memory that the backend holds for itself beside tensors, at most, for the shapes of FLUX.1: of all its
  // threads together, and what the decoder's convolutions add once they have run.
  struct Workspace {
    std::size_t bytes = 0, conv_bytes = 0;
  };
  virtual Workspace workspace() const { return {}; }

  // The memory of a device that has its own; nothing where tensors lie in the host's.
  struct DeviceMemory {
    std::size_t free_bytes = 0;                  // beside what allocate() has given, as the driver says
    std::size_t held_bytes = 0, peak_bytes = 0;  // of allocate(): now, and since begin_peak()
    bool staged =
        false;  // what comes in and out passes a buffer of the host's, as large as the largest tensor
  };
  virtual std::optional<DeviceMemory> device_memory() const { return std::nullopt; }
  virtual void begin_peak() {}
  // allocate() gives so much in all, and refuses more. Nothing to do where tensors lie in the host's memory.
  virtual void limit_memory(std::size_t) {}

  // A backend that only counts takes each op from now on for so many; returns what it took it for before.
  virtual double count_times(double) { return 1; }

 private:
  std::string note_;
};

}  // namespace darkroom
