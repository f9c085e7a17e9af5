#include "weights/scales.h"

#include <algorithm>
#include <cmath>
#include <span>

#include "base/error.h"
#include "base/printable.h"

namespace darkroom {
namespace {

// Weights are of order one, and the largest that is stored is 448 (57344 in e5m2): a scale beyond this is one
// that was damaged or means something else.
constexpr float kLargestScale = 1e6f;

constexpr std::string_view kWeight = ".weight", kFormat = ".comfy_quant", kMarker = "scaled_fp8";

}  // namespace

bool is_scale_shape(const std::vector<int64_t>& extents, int64_t rows) {
  if (extents.empty()) return true;
  if (extents.size() > 2 || (extents.size() == 2 && extents[1] != 1)) return false;
  return extents[0] == 1 || extents[0] == rows;
}

std::optional<std::string> scale_name(const Catalog& catalog, const std::string& weight) {
  if (!weight.ends_with(kWeight)) return std::nullopt;
  const std::string layer = weight.substr(0, weight.size() - kWeight.size());
  for (const std::string_view ending : kScaleEndings) {
    std::string scale = layer + std::string(ending);
    if (catalog.stored(scale)) return scale;
  }
  return std::nullopt;
}

bool is_matrix_scale_name(std::string_view name) {
  return std::ranges::any_of(kScaleEndings, [&](std::string_view ending) { return name.ends_with(ending); });
}

const StoredTensor* scaled_weight(const Catalog& catalog, std::string_view scale) {
  for (const std::string_view ending : kScaleEndings) {
    if (!scale.ends_with(ending)) continue;
    const std::string_view layer = scale.substr(0, scale.size() - ending.size());
    return catalog.stored(std::string(layer) + std::string(kWeight));
  }
  return nullptr;
}

std::optional<StoredScales> find_scales(const Catalog& catalog, const StoredTensor& weight, bool is_matrix) {
  const std::optional<std::string> scaled_by = scale_name(catalog, weight.name);
  const auto refuse = [&](const std::string& why) {
    fail(ErrorCode::kModel, "{}: tensor '{}' is {}{}", catalog.where(weight.name), printable(weight.name),
         weight.describe(), why);
  };
  if (!scaled_by) {
    if (weight.dtype == DType::kI8) refuse(" and has no scale; 8-bit integers mean nothing without one");
    return std::nullopt;
  }
  StoredScales scales{*scaled_by, {}};
  const StoredTensor& stored = *catalog.stored(scales.name);
  if (!is_matrix || !weight.dtype || dtype_bytes(*weight.dtype) != 1) {
    refuse(fmt::format(" and has a scale, '{}'; only matrices in F8_E4M3, F8_E5M2 and I8 may have one",
                       printable(stored.name)));
  }
  const int64_t rows = weight.extents.at(0);
  if (stored.dtype != DType::kF32 || !is_scale_shape(stored.extents, rows)) {
    fail(ErrorCode::kModel,
         "{}: tensor '{}' is {}, expected F32 with one scale, or one for each of {} rows; scales of blocks "
         "are not supported",
         catalog.where(stored.name), printable(stored.name), stored.describe(), rows);
  }
  scales.values.resize(static_cast<std::size_t>(stored.elements));
  catalog.read(stored.name, 0, std::as_writable_bytes(std::span(scales.values)));
  for (std::size_t i = 0; i < scales.values.size(); ++i) {
    const float value = scales.values[i];
    if (std::isnormal(value) && value > 0 && value <= kLargestScale) continue;
    fail(ErrorCode::kModel, "{}: tensor '{}' holds {} at {}; a scale is positive and at most {:g}",
         catalog.where(stored.name), printable(stored.name), value, i, kLargestScale);
  }
  return scales;
}

bool is_input_scale_name(std::string_view name) {
  return name.ends_with(".input_scale") || name.ends_with(".scale_input") ||
         name.ends_with(".input_scale_ub");
}

bool is_scale_name(std::string_view name) {
  return is_matrix_scale_name(name) || is_input_scale_name(name) || name.ends_with(kFormat) ||
         name == kMarker || name.ends_with("." + std::string(kMarker));
}

}  // namespace darkroom
