// Smoothing factors: by them the channels of what linear layers multiply are made more alike before they are
// quantised, and the columns of the weights less so (SmoothQuant, arXiv 2211.10438). x ⊙ smooth and weights
// divided by it have the product of x and the weights.
//
// A file of factors is a safetensors file with one f32 tensor "X.smooth" [in] for each input of the model's
// blocks, X the first of the layers that multiply it (Param::fed_by); `calibrate` writes it.
#pragma once

#include <filesystem>
#include <functional>
#include <map>
#include <span>
#include <string>
#include <vector>

#include "weights/param.h"
#include "weights/tensor_file.h"

namespace darkroom {

inline constexpr std::string_view kSmoothEnding = ".smooth";
// The field of the metadata that tells such files from others, and what it says.
inline constexpr const char* kSmoothFormatField = "darkroom.smoothing";
inline constexpr const char* kSmoothFormat = "1";

// The matrices whose inputs have factors.
inline bool has_smoothed_input(const Param& param) {
  return param.quantizable() && param.unit.stage == Stage::kBlock && !param.fed_by.empty();
}

// Errors: kModel, with `place` ("FILE: 'X.smooth'") and the number, for factors that are not finite, not above 0 or
// subnormal.
void require_factors(std::span<const float> factors, const std::string& place);

// An open file of factors. Any number of threads may use the const functions at once.
class Smoothing {
 public:
  // For a model that `visit` visits. Errors: kModel, naming the file and the tensor: no file of factors, one of
  // another model, factors that are not finite or not above 0.
  Smoothing(const std::filesystem::path& path, const std::function<void(const VisitFn&)>& visit);

  // Factors by their name, "X.smooth", f32. Errors: kModel when the file has not as many, or has changed.
  void read(const std::string& name, std::span<std::byte> out) const;
  const TensorFile& file() const { return file_; }

 private:
  TensorFile file_;
};

}  // namespace darkroom
