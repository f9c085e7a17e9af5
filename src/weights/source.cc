#include "weights/source.h"

#include <utility>

#include "base/error.h"

namespace darkroom {

VisitFn bind_from(WeightSource& source, std::string prefix) {
  return [&source, prefix = std::move(prefix)](const std::string& name, Tensor& tensor, const Shape& shape) {
    tensor = source.get(prefix + name, shape);
  };
}

void WeightTally::add(const Tensor& tensor) {
  Row& row = rows_[tensor.dtype];
  row.tensors += 1;
  row.parameters += tensor.shape.numel();
  row.bytes += tensor.bytes_with_scales();
}

VisitFn WeightTally::visitor() {
  return [this](const std::string& name, Tensor& tensor, const Shape&) {
    if (!tensor.present()) fail(ErrorCode::kFailure, "weight '{}' was counted before it was bound", name);
    add(tensor);
  };
}

int64_t WeightTally::parameters() const {
  int64_t total = 0;
  for (const auto& [dtype, row] : rows_) total += row.parameters;
  return total;
}

std::size_t WeightTally::bytes() const {
  std::size_t total = 0;
  for (const auto& [dtype, row] : rows_) total += row.bytes;
  return total;
}

}  // namespace darkroom
