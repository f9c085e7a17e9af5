#include "convert/smoothed.h"

#include <algorithm>
#include <cstring>
#include <map>
#include <utility>

#include "base/error.h"
#include "weights/quantize.h"
#include "weights/scales.h"

namespace darkroom {
namespace {

// Factors by themselves.
class FactorSource final : public WeightSource {
 public:
  explicit FactorSource(std::shared_ptr<const Smoothing> smoothing) : smoothing_(std::move(smoothing)) {}
  Tensor describe(const Param& param) override {
    return Tensor(nullptr, DType::kF32, param.shape, Device::kNone);
  }
  void read(const Param& param, std::span<std::byte> out) override { smoothing_->read(param.name, out); }

 private:
  std::shared_ptr<const Smoothing> smoothing_;
};

// Matrices in f32, their columns multiplied or divided by the factors that `factors` has by their names.
class ColumnSource final : public WeightSource {
 public:
  ColumnSource(std::shared_ptr<WeightSource> base, std::shared_ptr<WeightSource> factors, bool divides)
      : base_(std::move(base)), factors_(std::move(factors)), divides_(divides) {}

  Tensor describe(const Param& param) override {
    return Tensor(nullptr, DType::kF32, param.shape, Device::kNone);
  }
  void read(const Param& param, std::span<std::byte> out) override {
    read_rows(param, {0, param.shape[0]}, out);
  }
  void read_rows(const Param& param, const RowRange& rows, std::span<std::byte> out) override {
    const Tensor stored = base_->describe(param);
    const Buffer memory(static_cast<std::size_t>(rows.count) * row_bytes(stored.dtype, param.cols()));
    base_->read_rows(param, rows, {memory.data(), memory.size()});
    const Shape shape{rows.count, param.cols()};
    const Tensor wide(out.data(), DType::kF32, shape);
    const std::vector<float> scales = base_->read_scales(param);
    dequantize_rows(Tensor(memory.data(), stored.dtype, shape), scales_of_rows(scales, rows), wide);
    const std::vector<float> by = column_factors(param);
    for (int64_t r = 0; r < rows.count; ++r) {
      for (std::size_t c = 0; c < by.size(); ++c) wide.row<float>(r)[c] *= by[c];
    }
  }
  std::vector<float> read_scales(const Param&) override { return {}; }

 private:
  std::vector<float> column_factors(const Param& param) const {
    std::vector<float> out(static_cast<std::size_t>(param.cols()));
    factors_->read(smooth_param(param), std::as_writable_bytes(std::span(out)));
    if (divides_) {
      for (float& factor : out) factor = 1 / factor;
    }
    return out;
  }

  std::shared_ptr<WeightSource> base_, factors_;
  bool divides_;
};

// `factors` null: those beside the matrices.
void multiply_columns(PartSource& source, const std::shared_ptr<WeightSource>& factors) {
  std::map<WeightSource*, std::shared_ptr<WeightSource>> changed;
  for (SourceTensor& tensor : source.tensors) {
    if (!has_smoothed_input(tensor.param)) continue;
    std::shared_ptr<WeightSource>& with = changed[tensor.source.get()];
    if (!with)
      with = std::make_shared<ColumnSource>(tensor.source, factors ? factors : tensor.source,
                                            factors != nullptr);
    tensor.source = with;
    tensor.in_file = std::exchange(tensor.stored, with->describe(tensor.param));
  }
}

}  // namespace

void smooth(PartSource& source, std::shared_ptr<const Smoothing> smoothing) {
  const std::string where = smoothing->file().where();
  const auto factors = std::make_shared<FactorSource>(std::move(smoothing));
  multiply_columns(source, factors);
  std::vector<SourceTensor> added;
  for (const SourceTensor& tensor : source.tensors) {
    if (!tensor.param.smooth || !has_smoothed_input(tensor.param)) continue;
    const Param param = smooth_param(tensor.param);
    added.push_back({where, param.name, param, factors, factors->describe(param)});
  }
  source.tensors.insert(source.tensors.end(), added.begin(), added.end());
}

void undo_smoothing(PartSource& source) {
  multiply_columns(source, nullptr);
  std::erase_if(source.extras,
                [](const ExtraTensor& extra) { return extra.stored.name.ends_with(kSmoothEnding); });
}

}  // namespace darkroom
