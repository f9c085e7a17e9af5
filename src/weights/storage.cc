#include "weights/storage.h"

#include "base/names.h"

namespace darkroom {
namespace {

constexpr Named<WeightStorage> kStorages[] = {{WeightStorage::kAsStored, "as-stored"},
                                              {WeightStorage::kBF16, "bf16"},
                                              {WeightStorage::kF8, "fp8"},
                                              {WeightStorage::kF8Scaled, "fp8-scaled"},
                                              {WeightStorage::kI8, "int8"}};

}  // namespace

std::string_view storage_name(WeightStorage storage) { return name_of(kStorages, storage); }

std::optional<WeightStorage> parse_storage(std::string_view name) { return value_named(kStorages, name); }

DType storage_dtype(WeightStorage storage) {
  if (storage == WeightStorage::kBF16) return DType::kBF16;
  return storage == WeightStorage::kI8 ? DType::kI8 : DType::kF8E4M3;
}

int64_t storage_scales(WeightStorage storage, int64_t rows) {
  if (storage == WeightStorage::kI8) return rows;
  return storage == WeightStorage::kF8Scaled ? 1 : 0;
}

}  // namespace darkroom
