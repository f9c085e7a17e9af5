#include "calibrate/salience.h"

#include <cmath>

#include "base/error.h"
#include "weights/smoothing.h"

namespace darkroom {
namespace {

constexpr const char* kEnding = ".salience";

}  // namespace

Salience::Salience(const std::function<void(const VisitFn&)>& visit, int64_t steps) : steps_(steps) {
  visit([&](const Param& param, Tensor&) {
    if (param.smooth && has_smoothed_input(param))
      largest_[param.fed_by].resize(static_cast<std::size_t>(steps * param.cols()));
  });
}

std::size_t Salience::bytes() const {
  std::size_t values = 0;
  for (const auto& [name, of_steps] : largest_) values += of_steps.size();
  return values * sizeof(float);
}

std::span<float> Salience::of(const std::string& input, int64_t step) {
  std::vector<float>& all = largest_.at(input);
  const std::size_t channels = all.size() / static_cast<std::size_t>(steps_);
  return std::span(all).subspan(static_cast<std::size_t>(step) * channels, channels);
}

std::vector<NamedTensor> Salience::tensors() {
  std::vector<NamedTensor> out;
  for (auto& [name, all] : largest_) {
    const int64_t channels = static_cast<int64_t>(all.size()) / steps_;
    out.push_back({name + kEnding, Tensor(all.data(), DType::kF32, {steps_, channels})});
  }
  return out;
}

void Salience::read(const TensorFile& file) {
  for (auto& [name, all] : largest_) {
    const StoredTensor* const stored = file.find(name + kEnding);
    const std::vector<int64_t> extents = {steps_, static_cast<int64_t>(all.size()) / steps_};
    require(stored && stored->dtype == DType::kF32 && stored->extents == extents, ErrorCode::kModel,
            "{}: has no '{}{}' of {} steps and {} channels", file.where(), name, kEnding, extents[0],
            extents[1]);
    file.read(*stored, std::as_writable_bytes(std::span(all)));
    for (const float value : all) {
      require(std::isfinite(value) && value >= 0, ErrorCode::kModel, "{}: '{}{}' holds {}", file.where(),
              name, kEnding, value);
    }
  }
}

}  // namespace darkroom
