// How large the inputs of linear layers are, from the weights alone: no picture is drawn.
//
// An adaptive norm's values have mean 0 and deviation 1 before scale and shift, so a channel has the mean `shift` and
// the deviation |1 + scale| (docs/QUALITY.md has what such factors are worth). Called by calibrate.
#pragma once

#include <atomic>
#include <map>
#include <span>
#include <string>
#include <vector>

#include "checkpoint/checkpoint.h"

namespace darkroom {

// Mean squares of the channels of inputs, by their names (Param::fed_by): of those that a norm modulates, and of
// attention's output, as its values are before they are averaged. 0 where nothing is known: GELU's output.
// modulation: flux::modulation_vectors() on the host, [steps, width]. Errors: kModel, kCancelled.
std::map<std::string, std::vector<float>> bound_squares(const Checkpoint& model,
                                                        std::span<const float> modulation,
                                                        const std::atomic<bool>& cancel);

}  // namespace darkroom
