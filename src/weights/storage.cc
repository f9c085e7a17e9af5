#include "weights/storage.h"

#include "base/names.h"

namespace darkroom {
namespace {

constexpr Named<WeightStorage> kStorages[] = {{WeightStorage::kAsStored, "as-stored"},
                                              {WeightStorage::kBF16, "bf16"},
                                              {WeightStorage::kF16, "f16"},
                                              {WeightStorage::kF8, "fp8"},
                                              {WeightStorage::kF8Scaled, "fp8-scaled"},
                                              {WeightStorage::kI8, "int8"},
                                              {WeightStorage::kQ8_0, "q8_0"},
                                              {WeightStorage::kQ4_0, "q4_0"},
                                              {WeightStorage::kQ4_1, "q4_1"},
                                              {WeightStorage::kQ5_0, "q5_0"},
                                              {WeightStorage::kQ5_1, "q5_1"},
                                              {WeightStorage::kQ2K, "q2_k"},
                                              {WeightStorage::kQ3K, "q3_k"},
                                              {WeightStorage::kQ4K, "q4_k"},
                                              {WeightStorage::kQ5K, "q5_k"},
                                              {WeightStorage::kQ6K, "q6_k"}};

}  // namespace

std::string_view storage_name(WeightStorage storage) { return name_of(kStorages, storage); }

std::optional<WeightStorage> parse_storage(std::string_view name) { return value_named(kStorages, name); }

DType storage_dtype(WeightStorage storage) {
  switch (storage) {
    case WeightStorage::kBF16:
      return DType::kBF16;
    case WeightStorage::kF16:
      return DType::kF16;
    case WeightStorage::kI8:
      return DType::kI8;
    case WeightStorage::kQ8_0:
      return DType::kQ8_0;
    case WeightStorage::kQ4_0:
      return DType::kQ4_0;
    case WeightStorage::kQ4_1:
      return DType::kQ4_1;
    case WeightStorage::kQ5_0:
      return DType::kQ5_0;
    case WeightStorage::kQ5_1:
      return DType::kQ5_1;
    case WeightStorage::kQ2K:
      return DType::kQ2K;
    case WeightStorage::kQ3K:
      return DType::kQ3K;
    case WeightStorage::kQ4K:
      return DType::kQ4K;
    case WeightStorage::kQ5K:
      return DType::kQ5K;
    case WeightStorage::kQ6K:
      return DType::kQ6K;
    case WeightStorage::kAsStored:
    case WeightStorage::kF8:
    case WeightStorage::kF8Scaled:
      break;
  }
  return DType::kF8E4M3;
}

int64_t storage_scales(WeightStorage storage, int64_t rows) {
  if (storage == WeightStorage::kI8) return rows;
  return storage == WeightStorage::kF8Scaled ? 1 : 0;
}

bool is_quantised_storage(WeightStorage storage) {
  return storage != WeightStorage::kAsStored && storage != WeightStorage::kBF16 &&
         storage != WeightStorage::kF16;
}

}  // namespace darkroom
