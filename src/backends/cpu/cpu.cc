#include "backends/cpu/cpu.h"

#include "backends/cpu/engine.h"
#include "tensor/blocks.h"

namespace darkroom {
namespace cpu {
namespace {

class CpuBackendImpl final : public CpuBackend {
 public:
  explicit CpuBackendImpl(const CpuOptions& options) : engine_(options), kernels_(engine_.kernels()) {}

  std::string name() const override { return "cpu " + std::string(isa_name(engine_.isa())); }
  Device device() const override { return Device::kHost; }
  CpuIsa isa() const override { return engine_.isa(); }
  int threads() const override { return engine_.threads(); }
  Workspace workspace() const override { return engine_.workspace(); }

  void linear(const LinearArgs& args) override { cpu::linear(engine_, args); }
  void quantize_rows(const QuantizeRowsArgs& args) override { cpu::quantize_rows(engine_, args); }
  void attention(const AttentionArgs& args) override {
    args.int8_memory.present() ? cpu::int8_attention(engine_, args) : cpu::attention(engine_, args);
  }
  void conv2d(const Conv2dArgs& args) override { cpu::conv2d(engine_, args); }
  void row_moments(const RowMomentsArgs& args) override { cpu::row_moments(engine_, args); }
  void group_statistics(const GroupStatisticsArgs& args) override { cpu::group_statistics(engine_, args); }
  void group_norm(const GroupNormArgs& args) override { cpu::group_norm(engine_, args); }

  void layer_norm(const LayerNormArgs& a) override {
    engine_.reset_shared(2 * Engine::shared_bytes(a.x.cols()));
    const float* weight = engine_.as_f32(a.weight);
    normalise(a.x, a.out, true, a.epsilon, weight, engine_.as_f32(a.bias));
  }

  void norm_modulate(const NormModulateArgs& a) override {
    const std::size_t bytes = Engine::shared_bytes(a.x.cols());
    engine_.reset_shared(bytes);
    float* factor = static_cast<float*>(engine_.take_shared(bytes));
    const float* scale = static_cast<const float*>(a.scale.data);
    for (int64_t c = 0; c < a.x.cols(); ++c) factor[c] = 1.0f + scale[c];
    normalise(a.x, a.out, true, a.epsilon, factor, static_cast<const float*>(a.shift.data));
  }

  void rms_norm(const RmsNormArgs& a) override {
    engine_.reset_shared(Engine::shared_bytes(a.x.cols()));
    normalise(a.x, a.out, false, a.epsilon, engine_.as_f32(a.weight), nullptr);
  }

  void qk_norm_rope(const QkNormRopeArgs& a) override {
    const int64_t dim = a.weight.shape.numel();
    engine_.reset_shared(Engine::shared_bytes(dim));
    const float* weight = engine_.as_f32(a.weight);
    for_rows(a.x, [&](int64_t r, int64_t cols) {
      kernels_.norm_rope(a.x.dtype, mutable_element(a.x, r, 0), cols / dim, dim, a.epsilon, weight,
                         a.cos.row<float>(r), a.sin.row<float>(r));
    });
  }

  void gated_gelu(const GatedGeluArgs& a) override {
    for_rows(a.out, [&](int64_t r, int64_t cols) {
      kernels_.gated_gelu(a.out.dtype, element(a.gate, r, 0), element(a.up, r, 0),
                          mutable_element(a.out, r, 0), cols);
    });
  }

  void add(const AddArgs& a) override {
    for_rows(a.out, [&](int64_t r, int64_t cols) {
      kernels_.add(a.out.dtype, element(a.x, r, 0), a.y_scale, element(a.y, r, 0), a.z_scale,
                   a.z.present() ? element(a.z, r, 0) : nullptr, mutable_element(a.out, r, 0), cols);
    });
  }

  void row_distances(const RowDistancesArgs& a) override {
    for_rows(a.x, [&](int64_t r, int64_t cols) {
      kernels_.distances(a.x.dtype, element(a.x, r, 0), element(a.y, r, 0), cols, a.out.row<float>(r));
    });
  }

  void column_magnitudes(const ColumnMagnitudesArgs& a) override { cpu::column_magnitudes(engine_, a); }

  void activate(const ActivateArgs& a) override {
    for_rows(a.out, [&](int64_t r, int64_t cols) {
      kernels_.activate(a.out.dtype, a.activation, element(a.x, r, 0), mutable_element(a.out, r, 0), cols);
    });
  }

  void embed(const EmbedArgs& a) override {
    if (is_block(a.table.dtype)) return embed_blocks(a);
    for_rows(a.out, [&](int64_t r, int64_t cols) {
      kernels_.convert(a.table.dtype, element(a.table, a.ids[static_cast<std::size_t>(r)], 0), a.out.dtype,
                       mutable_element(a.out, r, 0), cols);
    });
  }

  void convert(const ConvertArgs& a) override {
    for_rows(a.out, [&](int64_t r, int64_t cols) {
      kernels_.convert(a.x.dtype, element(a.x, r, 0), a.out.dtype, mutable_element(a.out, r, 0), cols);
    });
  }

  void upload(std::span<const float> host, const Tensor& out) override {
    for_rows(out, [&](int64_t r, int64_t cols) {
      kernels_.convert(DType::kF32, host.data() + r * cols, out.dtype, mutable_element(out, r, 0), cols);
    });
  }

  void download(const Tensor& x, std::span<float> host) override {
    for_rows(x, [&](int64_t r, int64_t cols) {
      kernels_.convert(x.dtype, element(x, r, 0), DType::kF32, host.data() + r * cols, cols);
    });
  }

 private:
  void for_rows(const Tensor& shape_of, const std::function<void(int64_t row, int64_t cols)>& body) {
    const int64_t cols = shape_of.cols();
    engine_.run_rows(shape_of.rows(), cols, [&](int64_t first, int64_t last) {
      for (int64_t r = first; r < last; ++r) body(r, cols);
    });
  }

  // The plain loops of dequantize_blocks: a prompt has a few hundred rows.
  void embed_blocks(const EmbedArgs& a) {
    const int64_t block = block_size(a.table.dtype).elements;
    for_rows(a.out, [&](int64_t r, int64_t cols) {
      float values[256];
      const int64_t id = a.ids[static_cast<std::size_t>(r)];
      for (int64_t c = 0; c < cols; c += block) {
        dequantize_blocks(a.table.dtype, a.table.row_data(id) + row_bytes(a.table.dtype, c), block, values);
        kernels_.convert(DType::kF32, values, a.out.dtype, mutable_element(a.out, r, c), block);
      }
    });
  }

  void normalise(const Tensor& x, const Tensor& out, bool centred, float epsilon, const float* weight,
                 const float* bias) {
    for_rows(x, [&](int64_t r, int64_t cols) {
      kernels_.normalise(x.dtype, element(x, r, 0), mutable_element(out, r, 0), cols, centred, epsilon,
                         weight, bias);
    });
  }

  Engine engine_;
  const KernelTable& kernels_;
};

}  // namespace
}  // namespace cpu

std::unique_ptr<CpuBackend> make_cpu_backend(const CpuOptions& options) {
  return std::make_unique<cpu::CpuBackendImpl>(options);
}

}  // namespace darkroom
