// The scales of quantised matrices in a catalog: which tensor they are, and whether they make sense.
//
// A matrix `X.weight` in F8_E4M3, F8_E5M2 or I8 may have `X.weight_scale`, `X.scale_weight` as ComfyUI calls
// it, or `X.weight_scale_inv` (a factor, too, whatever its name says), in F32: one number ([] or [1]) or one
// for each row
// ([rows] or [rows, 1]). Its elements are what is stored times the scale. Files of that kind also hold a
// marker, `scaled_fp8`, scales for activations, which are never quantised here, and `X.comfy_quant`, a JSON
// text that names the format: these are left alone. Whatever else lies beside such a matrix changes what it
// means in a way that is not known, and is refused. So is `X.scale`: some multiply by it, some divide.
#pragma once

#include <array>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "weights/catalog.h"
#include "weights/spelling.h"

namespace darkroom {

// Those of rows of a tensor, among all its scales: none, the one of the tensor, or one for each row.
inline std::span<const float> scales_of_rows(std::span<const float> scales, const RowRange& rows) {
  if (scales.size() <= 1) return scales;
  return scales.subspan(static_cast<std::size_t>(rows.first), static_cast<std::size_t>(rows.count));
}

// What the scale of a matrix is called: by darkroom, and by others.
inline constexpr std::array<std::string_view, 3> kScaleEndings = {".weight_scale", ".scale_weight",
                                                                  ".weight_scale_inv"};

// The name of the scale that `weight`, such as "X.weight", is to be multiplied by, if the catalog has one.
std::optional<std::string> scale_name(const Catalog& catalog, const std::string& weight);

// Whether a tensor, by its name, is the scale of a matrix.
bool is_matrix_scale_name(std::string_view name);
// The tensor that the scale of that name belongs to; null when the catalog has none.
const StoredTensor* scaled_weight(const Catalog& catalog, std::string_view scale);

struct StoredScales {
  std::string name;           // in the catalog
  std::vector<float> values;  // one, or one for each row
};

// The scales of a tensor of the catalog; nothing when it has none. is_matrix: what the model takes it for.
// Errors: kModel, naming file, tensor and number: scales of another type or shape, NaN, infinite, not
// positive, subnormal or beyond 1e6; for a tensor that is no matrix, or in a type that needs none; I8 without
// scales.
std::optional<StoredScales> find_scales(const Catalog& catalog, const StoredTensor& weight, bool is_matrix);

// Whether a scale of these extents is one number, or one for each of `rows` rows.
bool is_scale_shape(const std::vector<int64_t>& extents, int64_t rows);

// Errors: kModel, naming file and tensors, when something lies beside a matrix in F8_E4M3, F8_E5M2 or I8 that
// is not known (see above), or it has two scales.
void check_companions(const Catalog& catalog);

// Whether a tensor, by its name, belongs to the quantisation of others and holds no parameters.
bool is_scale_name(std::string_view name);
// Whether a tensor, by its name, is a scale for activations.
bool is_input_scale_name(std::string_view name);

}  // namespace darkroom
