// A tensor as the header of a file lists it, whatever the file's format.
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "tensor/tensor.h"

namespace darkroom {

struct StoredTensor {
  std::string name;              // as in the file; not fit for a message without printable()
  std::string_view type;         // the file's word for the type, "BF16", "Q4_K"; static storage
  std::optional<DType> dtype;    // absent: a type that is listed here but cannot be used as a Tensor ("F64")
  std::vector<int64_t> extents;  // outermost first, also of a GGUF, which lists them the other way round
  std::size_t begin = 0;         // bytes from the start of the data, which follows the header
  std::size_t bytes = 0;
  int64_t elements = 0;  // the product of extents; 1 for []

  // "BF16 [3072, 64]", for messages.
  std::string describe() const;
};

// More than any model needs (FLUX.1: 1,160), and few enough to check in well under a second.
inline constexpr std::size_t kMaxStoredTensors = 100'000;
inline constexpr std::size_t kMaxStoredRank = 32;

// A safetensors file's word for a dtype: "F32", "F8_E4M3"; a block type's is GGUF's, "Q4_K", or
// "NF4" and "FP4", which no file lists.
std::string_view stored_type_name(DType dtype);

}  // namespace darkroom
