#include "weights/source.h"

#include <utility>

#include "base/error.h"

namespace darkroom {

VisitFn bind_from(WeightSource& source, std::string prefix) {
  return [&source, prefix = std::move(prefix)](const std::string& name, Tensor& tensor, const Shape& shape) {
    tensor = source.get(prefix + name, shape);
  };
}

}  // namespace darkroom
