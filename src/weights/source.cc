#include "weights/source.h"

#include <algorithm>
#include <cstring>
#include <utility>

namespace darkroom {

std::vector<StoredPlace> as_named(const Param& param) { return {{.name = param.name}}; }

Param smooth_param(const Param& matrix) {
  return {matrix.fed_by + ".smooth", {matrix.cols()}, Role::kVector, matrix.unit};
}

void visit_with_extras(WeightSource& source, const Param& param, Tensor& field, const VisitFn& visit) {
  visit(param, field);
  if (param.lora_down) {
    if (const std::optional<LoraParams> lora = source.lora_of(param)) {
      visit(lora->down, *param.lora_down);
      visit(lora->up, *param.lora_up);
    }
  }
  if (!param.smooth) return;
  if (const std::optional<Param> smooth = source.smooth_of(param)) visit(*smooth, *param.smooth);
}

void WeightSource::read_rows(const Param& param, const RowRange& rows, std::span<std::byte> out) {
  const Tensor stored = describe(param);
  const std::size_t bytes = stored.bytes_with_scales();
  Buffer whole(bytes);
  read(param, {whole.data(), bytes});
  const std::size_t row = row_bytes(stored.dtype, param.shape.numel() / std::max<int64_t>(param.shape[0], 1));
  std::memcpy(out.data(), whole.data() + static_cast<std::size_t>(rows.first) * row, out.size());
}

std::vector<float> WeightSource::read_scales(const Param& param) {
  Tensor stored = describe(param);
  if (stored.scale_count == 0) return {};
  Buffer whole(stored.bytes_with_scales());
  read(param, {whole.data(), stored.bytes_with_scales()});
  stored.lay_into(whole.data());
  return {stored.scales, stored.scales + stored.scale_count};
}

Tensor LoadedWeights::load(const Param& param) {
  Tensor tensor = source_.describe(param);
  const std::size_t bytes = tensor.bytes_with_scales();
  Buffer& memory = owned_.emplace_back(bytes);
  source_.read(param, {memory.data(), bytes});
  tensor.lay_into(memory.data());
  tensor.device = Device::kHost;
  return tensor;
}

VisitFn LoadedWeights::binder(std::string prefix) {
  return [this, prefix = std::move(prefix)](const Param& param, Tensor& field) {
    Param named = param;
    named.name = prefix + param.name;
    if (!param.fed_by.empty()) named.fed_by = prefix + param.fed_by;
    visit_with_extras(source_, named, field, [this](const Param& each, Tensor& into) { into = load(each); });
  };
}

VisitFn describe_from(WeightSource& source) {
  return [&source](const Param& param, Tensor& field) {
    visit_with_extras(source, param, field,
                      [&source](const Param& each, Tensor& into) { into = source.describe(each); });
  };
}

}  // namespace darkroom
