// How large the channels get that linear layers multiply: what a calibration gathers, in memory and on disk.
#pragma once

#include <cstddef>
#include <filesystem>
#include <functional>
#include <map>
#include <span>
#include <string>
#include <vector>

#include "calibrate/rules.h"
#include "weights/named_tensor.h"
#include "weights/param.h"
#include "weights/tensor_file.h"

namespace darkroom {

// For each input of a model's blocks the largest magnitude of each channel in each step, and the sum of its
// squares in all. Not thread-safe.
class Salience {
 public:
  // Zeros, for the inputs of the model that `visit` visits.
  Salience(const std::function<void(const VisitFn&)>& visit, int64_t steps);

  int64_t steps() const { return steps_; }
  std::size_t bytes() const;
  // Of an input by its name (Param::fed_by), f32 [2, channels]: as ops::column_magnitudes_into() gives them for x
  // of that step.
  void add(const std::string& input, int64_t step, std::span<const float> magnitudes);
  Magnitudes of(const std::string& input) const;

  // To and from the tensors "X.salience", f32 [steps, channels], and "X.squares", [channels], of a file. Errors:
  // kModel for other shapes, or numbers that are not finite or below 0.
  std::vector<NamedTensor> tensors();
  void read(const TensorFile& file);

 private:
  int64_t steps_;
  struct Input {
    std::vector<float> largest, squares;
  };
  std::map<std::string, Input> inputs_;
};

}  // namespace darkroom
