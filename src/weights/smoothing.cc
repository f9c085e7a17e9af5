#include "weights/smoothing.h"

#include <cmath>

#include "base/error.h"
#include "base/printable.h"
#include "weights/source.h"

namespace darkroom {
void require_factors(std::span<const float> factors, const std::string& place) {
  for (std::size_t i = 0; i < factors.size(); ++i) {
    require(std::isnormal(factors[i]) && factors[i] > 0, ErrorCode::kModel,
            "{} is {} at {}, a smoothing factor must be finite and above 0", place, factors[i], i);
  }
}

Smoothing::Smoothing(const std::filesystem::path& path, const std::function<void(const VisitFn&)>& visit)
    : file_(path) {
  const auto format = file_.metadata().find(kSmoothFormatField);
  require(format != file_.metadata().end(), ErrorCode::kModel,
          "{}: holds no smoothing factors; `darkroom calibrate` makes such files", file_.where());
  require(format->second == kSmoothFormat, ErrorCode::kModel,
          "{}: smoothing factors in format {}, this version reads format {}", file_.where(),
          printable(format->second), kSmoothFormat);
  visit([&](const Param& param, Tensor&) {
    if (!param.smooth || !has_smoothed_input(param)) return;
    std::vector<float> factors(static_cast<std::size_t>(param.cols()));
    const std::string name = smooth_param(param).name;
    read(name, std::as_writable_bytes(std::span(factors)));
    require_factors(factors, fmt::format("{}: '{}'", file_.where(), name));
  });
}

void Smoothing::read(const std::string& name, std::span<std::byte> out) const {
  const StoredTensor* const stored = file_.find(name);
  require(stored != nullptr, ErrorCode::kModel,
          "{}: has no '{}': it was calibrated for another model, or calibration did not come to its end",
          file_.where(), name);
  const std::size_t inputs = out.size() / sizeof(float);
  const std::vector<int64_t> extents = {static_cast<int64_t>(inputs)};
  require(stored->dtype == DType::kF32 && stored->extents == extents, ErrorCode::kModel,
          "{}: '{}' is {}, the model's layer has {} inputs: it was calibrated for another model",
          file_.where(), name, stored->describe(), inputs);
  file_.read(*stored, out);
}

}  // namespace darkroom
