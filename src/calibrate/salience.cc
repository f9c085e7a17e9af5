#include "calibrate/salience.h"

#include <algorithm>
#include <cmath>

#include "base/error.h"
#include "weights/smoothing.h"

namespace darkroom {
namespace {

constexpr const char *kLargest = ".salience", *kSquares = ".squares";

void read_magnitudes(const TensorFile& file, const std::string& name, const std::vector<int64_t>& extents,
                     std::span<float> out) {
  const StoredTensor* const stored = file.find(name);
  require(stored && stored->dtype == DType::kF32 && stored->extents == extents, ErrorCode::kModel,
          "{}: has no '{}' of F32 {}", file.where(), name, Shape(extents));
  file.read(*stored, std::as_writable_bytes(out));
  for (const float value : out) {
    require(std::isfinite(value) && value >= 0, ErrorCode::kModel, "{}: '{}' holds {}", file.where(), name,
            value);
  }
}

}  // namespace

Salience::Salience(const std::function<void(const VisitFn&)>& visit, int64_t steps) : steps_(steps) {
  visit([&](const Param& param, Tensor&) {
    if (!param.smooth || !has_smoothed_input(param)) return;
    Input& input = inputs_[param.fed_by];
    input.largest.resize(static_cast<std::size_t>(steps * param.cols()));
    input.squares.resize(static_cast<std::size_t>(param.cols()));
  });
}

std::size_t Salience::bytes() const {
  std::size_t values = 0;
  for (const auto& [name, input] : inputs_) values += input.largest.size() + input.squares.size();
  return values * sizeof(float);
}

void Salience::add(const std::string& name, int64_t step, std::span<const float> magnitudes) {
  Input& input = inputs_.at(name);
  const std::size_t channels = input.squares.size();
  float* const largest = input.largest.data() + static_cast<std::size_t>(step) * channels;
  for (std::size_t c = 0; c < channels; ++c) {
    largest[c] = std::max(largest[c], magnitudes[c]);
    input.squares[c] += magnitudes[channels + c];
  }
}

Magnitudes Salience::of(const std::string& name) const {
  const Input& input = inputs_.at(name);
  return {input.largest, input.squares};
}

std::vector<NamedTensor> Salience::tensors() {
  std::vector<NamedTensor> out;
  for (auto& [name, input] : inputs_) {
    const int64_t channels = static_cast<int64_t>(input.squares.size());
    out.push_back({name + kLargest, Tensor(input.largest.data(), DType::kF32, {steps_, channels})});
    out.push_back({name + kSquares, Tensor(input.squares.data(), DType::kF32, {channels})});
  }
  return out;
}

void Salience::read(const TensorFile& file) {
  for (auto& [name, input] : inputs_) {
    const int64_t channels = static_cast<int64_t>(input.squares.size());
    read_magnitudes(file, name + kLargest, {steps_, channels}, input.largest);
    read_magnitudes(file, name + kSquares, {channels}, input.squares);
  }
}

}  // namespace darkroom
