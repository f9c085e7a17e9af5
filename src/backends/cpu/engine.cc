#include "backends/cpu/engine.h"

#include <algorithm>

#include "base/error.h"

namespace darkroom::cpu {
namespace {

constexpr int64_t kLargestPlannedHead = 512;  // the autoencoder's; a larger one grows the scratch
constexpr std::size_t kPlannedShared =
    512 * 4608 * 4 + (1u << 16);  // its largest convolution in f32, and a bias

std::size_t aligned(std::size_t bytes) {
  return (bytes + kBufferAlignment - 1) / kBufferAlignment * kBufferAlignment;
}

}  // namespace

Engine::Engine(const CpuOptions& options)
    : pool_(options.threads),
      isa_(resolve_isa(options.isa)),
      kernels_(make_kernel_table(isa_)),
      pairs_(kernels_.emulated_bf16),
      int8_(int8_kernels_for(kInt8Levels, isa_, options.int8_dot, kernels_)),
      int7_(int8_kernels_for(kInt7Levels, isa_, options.int8_dot, kernels_)),
      attention_int8_(cpu::attention_int8_kernels(isa_, options.int8_dot, kernels_)),
      has_pairs_(options.emulate_bf16_dot || isa_ == CpuIsa::kAvx512Bf16) {
  if (has_pairs_ && !options.emulate_bf16_dot) pairs_ = avx512bf16_gemm(pairs_);
  scratch_.resize(static_cast<std::size_t>(pool_.size()));
  reserve_scratch(std::max({gemm_scratch_floats(kernels_.gemm), winograd_scratch_floats(kernels_),
                            int8_gemm_scratch_floats(), small_m_scratch_floats(),
                            attention_scratch_floats(kernels_.gemm, kLargestPlannedHead),
                            int8_attention_scratch_floats(attention_int8_, kLargestPlannedHead)}));
}

const GemmKernels& Engine::gemm_kernels(DType activation, DType weight) const {
  // f16 and the block types are rounded to bf16, as those do who store such weights as bf16: a pair takes
  // half the time of two f32. What is stored as f32 is meant to have its bits.
  const bool fits = weight != DType::kF32;
  return has_pairs_ && activation == DType::kBF16 && fits ? pairs_ : kernels_.gemm;
}

// What an earlier run has made of the shared memory is there whatever the next one does.
Backend::Workspace Engine::workspace() const {
  const std::size_t planned = std::max(kPlannedShared, shared_.size());
  return {.bytes = scratch_.front().size() * scratch_.size() + shared_.size(),
          .conv_bytes = planned - shared_.size()};
}

void Engine::run_rows(int64_t rows, int64_t cols, const std::function<void(int64_t, int64_t)>& body) {
  const int64_t per_task = std::max<int64_t>(1, 32768 / std::max<int64_t>(1, cols));
  run(ceil_div(rows, per_task),
      [&](int64_t task, int) { body(task * per_task, std::min(rows, (task + 1) * per_task)); });
}

void Engine::reserve_scratch(std::size_t floats) {
  for (Buffer& buffer : scratch_) {
    if (buffer.size() < floats * sizeof(float)) buffer = Buffer(floats * sizeof(float));
  }
}

void Engine::reset_shared(std::size_t bytes) {
  if (shared_.size() < bytes) {
    { const Buffer old = std::move(shared_); }  // given back before the larger one is asked for
    shared_ = Buffer(bytes);
  }
  shared_used_ = 0;
}

void* Engine::take_shared(std::size_t bytes) {
  require(shared_used_ + aligned(bytes) <= shared_.size(), ErrorCode::kFailure,
          "cpu backend: {} bytes of shared scratch reserved, {} needed; please report this", shared_.size(),
          shared_used_ + aligned(bytes));
  void* taken = shared_.data() + shared_used_;
  shared_used_ += aligned(bytes);
  return taken;
}

std::size_t Engine::shared_bytes(int64_t floats) {
  return aligned(static_cast<std::size_t>(floats) * sizeof(float));
}

const float* Engine::as_f32(const Tensor& tensor) {
  if (!tensor.present()) return nullptr;
  if (tensor.dtype == DType::kF32) return static_cast<const float*>(tensor.data);
  const int64_t count = tensor.shape.numel();
  float* wide = static_cast<float*>(take_shared(shared_bytes(count)));
  kernels_.convert(tensor.dtype, tensor.data, DType::kF32, wide, count);
  return wide;
}

const float* Engine::column_scales(const Tensor& weight) {
  const int64_t n = weight.rows();
  if (weight.scale_count == 0 || weight.scale_count == n) return weight.scales;
  float* same = static_cast<float*>(take_shared(shared_bytes(n)));
  std::fill_n(same, n, *weight.scales);
  return same;
}

void apply_scale(const KernelTable& table, const float* scale, float* sums, int64_t stride, int64_t rows,
                 int64_t cols) {
  EpilogueArgs args;
  args.scale = scale;
  args.out = sums;
  args.out_stride = stride;
  table.epilogue(args, sums, stride, rows, cols);
}

EpilogueArgs advanced(EpilogueArgs e, int64_t row, int64_t col) {
  const int64_t bytes = static_cast<int64_t>(dtype_bytes(e.dtype));
  if (e.scale) e.scale += col;
  if (e.bias) e.bias += col;
  if (e.gate) e.gate += col;
  if (e.residual)
    e.residual = static_cast<const std::byte*>(e.residual) + (row * e.residual_stride + col) * bytes;
  e.out = static_cast<std::byte*>(e.out) + (row * e.out_stride + col) * bytes;
  return e;
}

}  // namespace darkroom::cpu
