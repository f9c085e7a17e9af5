#include <algorithm>
#include <numeric>
#include <optional>
#include <utility>

#include "base/error.h"
#include "base/printable.h"
#include "weights/smoothing.h"
#include "weights/source.h"

namespace darkroom {
namespace {

// Edits (insert, delete, replace one byte) from a to b: Levenshtein's distance, one row at a time.
std::size_t edit_distance(std::string_view a, std::string_view b) {
  std::vector<std::size_t> row(b.size() + 1);
  std::iota(row.begin(), row.end(), std::size_t{0});
  for (std::size_t i = 0; i < a.size(); ++i) {
    std::size_t diagonal = std::exchange(row[0], i + 1);
    for (std::size_t j = 0; j < b.size(); ++j) {
      const std::size_t replaced = diagonal + (a[i] == b[j] ? 0 : 1);
      diagonal = row[j + 1];
      row[j + 1] = std::min({replaced, diagonal + 1, row[j] + 1});
    }
  }
  return row.back();
}

// " (nearest: 'x', 'y', 'z')". Bounded work: a hostile file may hold many names, and long ones.
std::string nearest_names(const Catalog& catalog, const std::string& wanted) {
  constexpr std::size_t kMaxNames = 5000, kMaxLength = 200, kShown = 3;
  std::vector<std::pair<std::size_t, std::string_view>> ranked;
  for (const std::string_view name : catalog.names()) {
    if (ranked.size() == kMaxNames) break;
    if (name.size() <= kMaxLength)
      ranked.emplace_back(edit_distance(wanted.substr(0, kMaxLength), name), name);
  }
  if (ranked.empty()) return "";
  const std::size_t shown = std::min(kShown, ranked.size());
  std::partial_sort(ranked.begin(), ranked.begin() + static_cast<std::ptrdiff_t>(shown), ranked.end());
  std::string text = " (nearest: ";
  for (std::size_t i = 0; i < shown; ++i) text += (i ? ", '" : "'") + printable(ranked[i].second) + "'";
  return text + ")";
}

bool is_pointwise(const std::vector<int64_t>& extents) {
  return extents.size() == 4 && extents[2] == 1 && extents[3] == 1;
}

// The same extents, or the two spellings of a 1×1 convolution.
bool same_shape(const std::vector<int64_t>& stored, const std::vector<int64_t>& wanted) {
  if (stored == wanted) return true;
  if (stored.empty()) return wanted == std::vector<int64_t>{1};
  const auto starts_like = [](const std::vector<int64_t>& conv, const std::vector<int64_t>& matrix) {
    return is_pointwise(conv) && matrix.size() == 2 && conv[0] == matrix[0] && conv[1] == matrix[1];
  };
  return starts_like(stored, wanted) || starts_like(wanted, stored);
}

}  // namespace

CatalogSource::CatalogSource(Catalog catalog, Spelling spelling)
    : catalog_(std::move(catalog)), spelling_(std::move(spelling)) {
  check_companions(catalog_);
}

bool CatalogSource::has(const Param& param) const {
  return std::ranges::any_of(
      spelling_(param), [&](const StoredPlace& place) { return catalog_.stored(place.name) != nullptr; });
}

std::optional<Param> CatalogSource::smooth_of(const Param& param) {
  if (!has_smoothed_input(param)) return std::nullopt;
  const Param smooth = smooth_param(param);
  return has(smooth) ? std::optional(smooth) : std::nullopt;
}

std::string CatalogSource::place_of(const Param& param) {
  const StoredPlace place = locate(param);
  const std::string tensor =
      fmt::format("{}: tensor '{}'", catalog_.where(place.name), printable(place.name));
  return place.rows.empty() ? tensor : fmt::format("{}, in the rows of '{}'", tensor, param.name);
}

StoredPlace CatalogSource::locate(const Param& param) const {
  std::vector<StoredPlace> places = spelling_(param);
  const auto found = std::ranges::find_if(
      places, [&](const StoredPlace& place) { return catalog_.stored(place.name) != nullptr; });
  if (found == places.end()) {
    const std::string& name = places.front().name;
    fail(ErrorCode::kModel, "{}: there is no tensor '{}'{}", catalog_.where(), printable(name),
         nearest_names(catalog_, name));
  }
  const StoredTensor& stored = *catalog_.stored(found->name);
  std::vector<int64_t> wanted;
  for (int i = 0; i < param.shape.rank(); ++i) wanted.push_back(param.shape[i]);
  if (!found->rows.empty()) wanted.at(0) = found->all_rows;
  if (!same_shape(extents_of(catalog_, found->name), wanted)) {
    fail(ErrorCode::kModel, "{}: tensor '{}' is {}, the config asks for {}", catalog_.where(found->name),
         printable(found->name), stored.describe(), Shape(wanted));
  }
  return std::move(*found);
}

CatalogSource::Found CatalogSource::find(const Param& param) const {
  Found found{locate(param), DType::kF32, {}, {}};
  const StoredTensor& stored = *catalog_.stored(found.place.name);
  found.packed = find_packed(catalog_, found.place.name);
  if (found.packed) {
    found.dtype = found.packed->dtype;
    return found;
  }
  if (!stored.dtype || !is_matrix_storage(*stored.dtype)) {
    fail(ErrorCode::kModel, "{}: tensor '{}' is {}: weights of this type are not supported",
         catalog_.where(found.place.name), printable(found.place.name), stored.describe());
  }
  found.dtype = *stored.dtype;
  const std::optional<StoredScales> scales = find_scales(catalog_, stored, param.shape.rank() == 2);
  if (!scales) return found;
  if (scales->values.size() == 1 || found.place.rows.empty()) {
    found.scales = scales->values;
    return found;
  }
  for (const RowRange& rows : found.place.rows) {
    const auto first = scales->values.begin() + rows.first;
    found.scales.insert(found.scales.end(), first, first + rows.count);
  }
  return found;
}

Tensor CatalogSource::describe(const Param& param) {
  const Found found = find(param);
  Tensor tensor(nullptr, found.dtype, param.shape, Device::kNone);
  tensor.scale_count = static_cast<int64_t>(found.scales.size());
  return tensor;
}

void CatalogSource::read_rows(const Found& found, RowRange rows, std::size_t row,
                              std::span<std::byte> out) const {
  const std::vector<RowRange> all = {{0, rows.first + rows.count}};
  for (const RowRange& stored : found.place.rows.empty() ? all : found.place.rows) {
    const int64_t count = std::min(stored.count - rows.first, rows.count);
    if (count > 0) {
      const RowRange piece{stored.first + rows.first, count};
      const std::size_t bytes = static_cast<std::size_t>(count) * row;
      if (found.packed) {
        read_packed(catalog_, *found.packed, piece, out.first(bytes));
      } else {
        catalog_.read(found.place.name, static_cast<std::size_t>(piece.first) * row, out.first(bytes));
      }
      out = out.subspan(bytes);
      rows = {stored.count, rows.count - count};
    }
    rows.first -= stored.count;
  }
}

void CatalogSource::read_rows(const Param& param, const RowRange& rows, std::span<std::byte> out) {
  const Found found = find(param);
  const int64_t all = param.shape[0];
  read_rows(found, rows, row_bytes(found.dtype, all == 0 ? 0 : param.shape.numel() / all), out);
}

std::vector<float> CatalogSource::read_scales(const Param& param) { return find(param).scales; }

void CatalogSource::read(const Param& param, std::span<std::byte> out) {
  const Found found = find(param);
  const Tensor tensor(nullptr, found.dtype, param.shape, Device::kNone);
  const int64_t all = param.shape[0];
  read_rows(found, {0, all}, row_bytes(found.dtype, all == 0 ? 0 : param.shape.numel() / all),
            out.first(tensor.bytes()));
  std::ranges::copy(std::as_bytes(std::span(found.scales)),
                    out.begin() + static_cast<std::ptrdiff_t>(tensor.scales_offset()));
}

}  // namespace darkroom
