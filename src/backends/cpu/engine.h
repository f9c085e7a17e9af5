// What the drivers share: threads, kernels, scratch memory; and the families of ops that have drivers of
// their own. Private to this room.
#pragma once

#include <cstddef>
#include <functional>
#include <vector>

#include "backends/cpu/kernels.h"
#include "base/threads.h"
#include "tensor/buffer.h"

namespace darkroom::cpu {

// One per backend object. One op at a time uses it, so scratch memory belongs to that op.
class Engine {
 public:
  explicit Engine(const CpuOptions& options);

  CpuIsa isa() const { return isa_; }
  const KernelTable& kernels() const { return kernels_; }
  // Kernels for a product of activations and weights of these types: pairs where the processor has them and
  // they fit.
  const GemmKernels& gemm_kernels(DType activation, DType weight) const;
  // For weights and activations of so many levels (Tensor::levels).
  const Int8Kernels& int8_kernels(int32_t levels) const { return levels <= kInt7Levels ? int7_ : int8_; }
  const Int8Kernels& attention_int8_kernels() const { return attention_int8_; }
  int threads() const { return pool_.size(); }
  Backend::Workspace workspace() const;

  // As ThreadPool::parallel_for.
  void run(int64_t tasks, const std::function<void(int64_t task, int worker)>& task) {
    pool_.parallel_for(tasks, task);
  }
  // Calls body(first, last) for blocks of rows of about 32 Ki elements.
  void run_rows(int64_t rows, int64_t cols, const std::function<void(int64_t first, int64_t last)>& body);

  // Makes every worker's scratch at least this large; between ops only.
  void reserve_scratch(std::size_t floats);
  float* scratch(int worker) const {
    return reinterpret_cast<float*>(scratch_[static_cast<std::size_t>(worker)].data());
  }

  // Memory for one op as a whole, cut up from the front. reset_shared makes room and frees all that was
  // taken.
  void reset_shared(std::size_t bytes);
  void* take_shared(std::size_t bytes);
  // A vector of any dtype as f32, in shared memory unless it is f32 already; null if absent.
  const float* as_f32(const Tensor& tensor);
  // The scales of a matrix, one for each of its rows, in shared memory unless they are that already; null if
  // it has none.
  const float* column_scales(const Tensor& weight);
  // What take_shared uses up for this many floats.
  static std::size_t shared_bytes(int64_t floats);

 private:
  ThreadPool pool_;
  CpuIsa isa_;
  KernelTable kernels_;
  GemmKernels pairs_;
  Int8Kernels int8_, int7_, attention_int8_;
  bool has_pairs_;
  std::vector<Buffer> scratch_;
  Buffer shared_;
  std::size_t shared_used_ = 0;
};

// The rows of A. Packed on the fly, so that A may be a matrix or the patches of an image.
class RowSource {
 public:
  virtual ~RowSource() = default;
  // Columns [first, first + depth) of one row: f32, or bf16 with a zero after an odd end.
  virtual void pack(int64_t row, int64_t first, int64_t depth, Form form, void* out) const = 0;
};

// out = residual + gate·act((A·Wᵀ)·scale + H·Uᵀ + bias).
struct Gemm {
  const RowSource* a = nullptr;
  int64_t m = 0, n = 0, k = 0;
  Tensor weight;                      // [n, k], rows may be strided
  EpilogueArgs epilogue;              // scale, bias, gate, residual and out of the first row and column
  const RowSource* hidden = nullptr;  // of a LoRA
  Tensor up = {};                     // [n, rank], of a floating type
};
void gemm(Engine& engine, const GemmKernels& kernels, const Gemm& job);
std::size_t gemm_scratch_floats(const GemmKernels& kernels);  // per worker

// The same of 8 bits: x as quantize_rows() makes it stands for job.a.
void int8_gemm(Engine& engine, const Gemm& job, const Tensor& x);
std::size_t int8_gemm_scratch_floats();
void quantize_rows(Engine& engine, const QuantizeRowsArgs& args);
void column_magnitudes(Engine& engine, const ColumnMagnitudesArgs& args);

// linear() for up to kSmallM rows: dot products along K, each weight read once.
inline constexpr int64_t kSmallM = 8;
void small_m_linear(Engine& engine, const LinearArgs& args, const EpilogueArgs& epilogue);
std::size_t small_m_scratch_floats();
std::size_t small_m_shared_bytes(const LinearArgs& args);

void linear(Engine& engine, const LinearArgs& args);
void conv2d(Engine& engine, const Conv2dArgs& args);
// Those of 3×3 by Winograd's tiles.
bool takes_winograd(const Conv2dArgs& args);
void winograd_conv2d(Engine& engine, const Conv2dArgs& args);
std::size_t winograd_scratch_floats(const KernelTable& kernels);
void attention(Engine& engine, const AttentionArgs& args);
std::size_t attention_scratch_floats(const GemmKernels& kernels, int64_t head_dim);
void int8_attention(Engine& engine, const AttentionArgs& args);
std::size_t int8_attention_scratch_floats(const Int8Kernels& kernels, int64_t head_dim);
void row_moments(Engine& engine, const RowMomentsArgs& args);
void group_statistics(Engine& engine, const GroupStatisticsArgs& args);
void group_norm(Engine& engine, const GroupNormArgs& args);

// The element at (row, col) of a tensor of any dtype but the block types.
inline void* mutable_element(const Tensor& t, int64_t row, int64_t col) {
  return static_cast<std::byte*>(t.data) +
         (row * t.row_stride + col) * static_cast<int64_t>(dtype_bytes(t.dtype));
}
inline const void* element(const Tensor& t, int64_t row, int64_t col) { return mutable_element(t, row, col); }
// The same of any dtype; of a block type the block that begins there.
inline const void* stored_at(const Tensor& t, int64_t row, int64_t col) {
  return t.row_data(row) + row_bytes(t.dtype, col);
}

// sums[r][c] *= scale[c], in place.
void apply_scale(const KernelTable& table, const float* scale, float* sums, int64_t stride, int64_t rows,
                 int64_t cols);

// `e` for the part of the result that starts at (row, col).
EpilogueArgs advanced(EpilogueArgs e, int64_t row, int64_t col);

constexpr int64_t ceil_div(int64_t a, int64_t b) { return (a + b - 1) / b; }
constexpr int64_t round_up(int64_t a, int64_t b) { return ceil_div(a, b) * b; }

}  // namespace darkroom::cpu
