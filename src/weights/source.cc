#include "weights/source.h"

#include <utility>

namespace darkroom {

std::vector<StoredPlace> as_named(const Param& param) { return {{.name = param.name}}; }

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
    field = load(named);
  };
}

VisitFn describe_from(WeightSource& source) {
  return [&source](const Param& param, Tensor& field) { field = source.describe(param); };
}

}  // namespace darkroom
