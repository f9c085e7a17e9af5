#include "weights/storage.h"

#include <algorithm>
#include <array>

namespace darkroom {
namespace {

constexpr std::array<std::string_view, 5> kNames = {"as-stored", "bf16", "fp8", "fp8-scaled", "int8"};

}  // namespace

std::string_view storage_name(WeightStorage storage) { return kNames[static_cast<std::size_t>(storage)]; }

std::optional<WeightStorage> parse_storage(std::string_view name) {
  const auto it = std::ranges::find(kNames, name);
  if (it == kNames.end()) return std::nullopt;
  return static_cast<WeightStorage>(it - kNames.begin());
}

DType storage_dtype(WeightStorage storage) {
  if (storage == WeightStorage::kBF16) return DType::kBF16;
  return storage == WeightStorage::kI8 ? DType::kI8 : DType::kF8E4M3;
}

int64_t storage_scales(WeightStorage storage, int64_t rows) {
  if (storage == WeightStorage::kI8) return rows;
  return storage == WeightStorage::kF8Scaled ? 1 : 0;
}

}  // namespace darkroom
