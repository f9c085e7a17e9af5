#include "weights/source.h"

#include <utility>

namespace darkroom {

std::vector<StoredPlace> as_named(const Param& param) { return {{.name = param.name}}; }

void visit_with_lora(WeightSource& source, const Param& param, Tensor& field, const VisitFn& visit) {
  visit(param, field);
  if (!param.lora_down) return;
  const std::optional<LoraParams> lora = source.lora_of(param);
  if (!lora) return;
  visit(lora->down, *param.lora_down);
  visit(lora->up, *param.lora_up);
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
    visit_with_lora(source_, named, field, [this](const Param& each, Tensor& into) { into = load(each); });
  };
}

VisitFn describe_from(WeightSource& source) {
  return [&source](const Param& param, Tensor& field) {
    visit_with_lora(source, param, field,
                    [&source](const Param& each, Tensor& into) { into = source.describe(each); });
  };
}

}  // namespace darkroom
