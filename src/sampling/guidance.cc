#include "sampling/guidance.h"

#include <cstddef>

#include "base/error.h"

namespace darkroom {

void combine_true_cfg(std::span<const float> negative, std::span<const float> positive, float scale,
                      std::span<float> velocity) {
  require(negative.size() == positive.size() && negative.size() == velocity.size(), ErrorCode::kUsage,
          "guidance: {} negative and {} positive values for {} results; the three must be equal",
          negative.size(), positive.size(), velocity.size());
  for (std::size_t i = 0; i < velocity.size(); ++i) {
    velocity[i] = negative[i] + scale * (positive[i] - negative[i]);
  }
}

}  // namespace darkroom
