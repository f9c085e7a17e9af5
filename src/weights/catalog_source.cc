#include <algorithm>
#include <numeric>
#include <utility>

#include "base/error.h"
#include "base/printable.h"
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

CatalogSource::CatalogSource(Catalog catalog, std::vector<std::string> optional_prefixes)
    : catalog_(std::move(catalog)), optional_prefixes_(std::move(optional_prefixes)) {
  check_companions(catalog_);
}

std::string CatalogSource::resolve(const std::string& name) const {
  std::vector<std::string> spellings = {name};
  for (const auto& [a, b] : {std::pair("shared.weight", "encoder.embed_tokens.weight"),
                             std::pair("encoder.embed_tokens.weight", "shared.weight")}) {
    if (name.ends_with(a)) spellings.push_back(name.substr(0, name.size() - std::string_view(a).size()) + b);
  }
  for (const std::string& spelling : spellings) {
    if (catalog_.stored(spelling)) return spelling;
    for (const std::string& prefix : optional_prefixes_) {
      if (catalog_.stored(prefix + spelling)) return prefix + spelling;
      if (spelling.starts_with(prefix) && catalog_.stored(spelling.substr(prefix.size()))) {
        return spelling.substr(prefix.size());
      }
    }
  }
  return "";
}

bool CatalogSource::has(const std::string& name) const { return !resolve(name).empty(); }

std::string CatalogSource::locate(const std::string& name, const Shape& shape) const {
  std::string found = resolve(name);
  if (found.empty()) {
    fail(ErrorCode::kModel, "{}: there is no tensor '{}'{}", catalog_.where(), name,
         nearest_names(catalog_, name));
  }
  const StoredTensor& stored = *catalog_.stored(found);
  std::vector<int64_t> wanted;
  for (int i = 0; i < shape.rank(); ++i) wanted.push_back(shape[i]);
  if (!same_shape(stored.extents, wanted)) {
    fail(ErrorCode::kModel, "{}: tensor '{}' is {}, the config asks for {}", catalog_.where(found),
         printable(found), stored.describe(), shape.str());
  }
  return found;
}

CatalogSource::Found CatalogSource::find(const std::string& name, const Shape& shape) const {
  std::string found = locate(name, shape);
  const StoredTensor& stored = *catalog_.stored(found);
  if (!stored.dtype || !is_matrix_storage(*stored.dtype)) {
    fail(ErrorCode::kModel, "{}: tensor '{}' is {}: weights of this type are not supported",
         catalog_.where(found), printable(found), stored.describe());
  }
  return {found, *stored.dtype, find_scales(catalog_, stored, shape.rank() == 2)};
}

Tensor CatalogSource::get(const std::string& name, const Shape& shape) {
  const Found found = find(name, shape);
  Tensor tensor = catalog_.find(found.name)->reshape(shape);
  if (found.scales) {
    tensor.scale_count = static_cast<int64_t>(found.scales->values.size());
    tensor.scales = catalog_.find(found.scales->name)->row<float>(0);
  }
  return tensor;
}

Tensor CatalogSource::describe(const std::string& name, const Shape& shape) {
  const Found found = find(name, shape);
  Tensor tensor(nullptr, found.dtype, shape, Device::kNone);
  if (found.scales) tensor.scale_count = static_cast<int64_t>(found.scales->values.size());
  return tensor;
}

void CatalogSource::read(const std::string& name, const Shape& shape, std::span<std::byte> out) {
  const Found found = find(name, shape);
  Tensor tensor(nullptr, found.dtype, shape, Device::kNone);
  catalog_.read(found.name, out.first(tensor.bytes()));
  if (!found.scales) return;
  std::ranges::copy(std::as_bytes(std::span(found.scales->values)),
                    out.begin() + static_cast<std::ptrdiff_t>(tensor.scales_offset()));
}

}  // namespace darkroom
