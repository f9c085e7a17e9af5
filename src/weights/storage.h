// The storages that the matrices of a model part can be brought into, and what they are called.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string_view>
#include <utility>

#include "tensor/tensor.h"

namespace darkroom {

class Smoothing;

enum class WeightStorage : uint8_t {
  kAsStored,
  kBF16,
  kF16,
  kF8,        // F8_E4M3 without a scale
  kF8Scaled,  // F8_E4M3 with one scale for each matrix
  kI8,        // with a scale for each row
  // GGUF's block types. A matrix whose rows are no whole blocks stays as it is stored.
  kQ8_0,
  kQ4_0,
  kQ4_1,
  kQ5_0,
  kQ5_1,
  kQ2K,
  kQ3K,
  kQ4K,
  kQ5K,
  kQ6K,
};

// What becomes of a part's matrices as they are read.
struct StorageChoice {
  WeightStorage all = WeightStorage::kAsStored;
  // Those of Stage::kBlock become kI8 whatever `all` is, of so many levels (Tensor::levels): what 8-bit activations
  // are multiplied by. 0: they do not.
  int32_t block_levels = 0;
  int threads = 1;  // that change a matrix together, at least 1; the numbers do not depend on it
  // Whose factors they are divided by meanwhile; or null.
  std::shared_ptr<const Smoothing> smoothing = nullptr;

  StorageChoice(WeightStorage storage = WeightStorage::kAsStored, int32_t levels_of_blocks = 0,
                std::shared_ptr<const Smoothing> factors = nullptr)
      : all(storage), block_levels(levels_of_blocks), smoothing(std::move(factors)) {}
  StorageChoice(WeightStorage, bool,
                std::shared_ptr<const Smoothing> = nullptr) = delete;  // how many, not whether
  bool changes_nothing() const { return all == WeightStorage::kAsStored && block_levels == 0; }
};

// "as-stored", "bf16", "f16", "fp8", "fp8-scaled", "int8", "q8_0", "q4_0", "q4_1", "q5_0", "q5_1", "q2_k",
// "q3_k", "q4_k", "q5_k", "q6_k".
std::string_view storage_name(WeightStorage storage);
// Nothing for another text.
std::optional<WeightStorage> parse_storage(std::string_view name);

// Not of kAsStored: the type of the elements, and how many scales a matrix of so many rows has.
DType storage_dtype(WeightStorage storage);
int64_t storage_scales(WeightStorage storage, int64_t rows);
// Whether matrices are quantised in it: not kAsStored, kBF16 and kF16.
bool is_quantised_storage(WeightStorage storage);

}  // namespace darkroom
