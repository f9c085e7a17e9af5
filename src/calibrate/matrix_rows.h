// The numbers of parameters, a few at a time.
#pragma once

#include <atomic>
#include <functional>
#include <span>
#include <vector>

#include "weights/source.h"

namespace darkroom {

// Calls use(row, f32 [cols]) for the rows of a matrix, in their order, whatever it is stored as. Errors: kModel,
// kCancelled.
void for_matrix_rows(WeightSource& source, const Param& param, const std::atomic<bool>& cancel,
                     const std::function<void(int64_t row, std::span<const float> values)>& use);

std::vector<float> read_vector(WeightSource& source, const Param& param);

}  // namespace darkroom
