// Whether numbers are numbers.
#pragma once

#include <span>

namespace darkroom {

// Neither NaN nor infinity among them. A number times 0 is 0, those two times 0 are NaN: so one sum tells.
inline bool all_finite(std::span<const float> values) {
  float sum = 0;
  for (const float value : values) sum += value * 0;
  return sum == 0;
}

}  // namespace darkroom
