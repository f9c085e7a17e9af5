// The JSON header of a safetensors file: what it lists, checked by the rules of the reference crate
// (github.com/huggingface/safetensors, safetensors/src/tensor.rs). Pure text work: no file, no tensor data.
//
// Called by SafetensorsFile; other code wants weights/safetensors.h.
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "tensor/tensor.h"

namespace darkroom {

// One tensor as a header lists it.
struct StoredTensor {
  std::string name;            // as in the file; not fit for a message without printable()
  std::string_view type;       // the file's word for the element type, "BF16"; static storage
  std::optional<DType> dtype;  // absent: a type that is listed here but cannot be used as a Tensor ("F64")
  std::vector<int64_t> extents;
  std::size_t begin = 0;  // bytes from the start of the data, which follows the header
  std::size_t bytes = 0;
  int64_t elements = 0;  // the product of extents; 1 for []

  // "BF16 [3072, 64]", for messages.
  std::string describe() const;
};

struct SafetensorsHeader {
  std::vector<StoredTensor> tensors;            // in the order of their data
  std::map<std::string, std::string> metadata;  // the free text under "__metadata__"
  std::size_t data_bytes = 0;                   // the end of the last tensor
};

// More than any model needs (FLUX.1: 1,160), and few enough to check in well under a second.
inline constexpr std::size_t kMaxStoredTensors = 100'000;
inline constexpr std::size_t kMaxStoredRank = 32;

// Accepts what the crate's version 0.8.0 accepts: one JSON object in UTF-8, blanks around it, of entries of
// dtype, shape, data_offsets and fields that are ignored, and a "__metadata__" of texts; known types; of a
// repeated name the last entry; data that lies without hole or overlap from 0 on, each tensor's size being
// what its type and shape say. Limits of our own: kMaxStoredTensors entries, and as many texts;
// kMaxStoredRank extents, each below 2^63. Errors: kModel, beginning with `where`, for anything else.
SafetensorsHeader parse_safetensors_header(std::string_view text, const std::string& where);

// The file's word for a dtype: "F32", "F8_E4M3".
std::string_view stored_type_name(DType dtype);

}  // namespace darkroom
