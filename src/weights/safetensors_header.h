// The JSON header of a safetensors file: what it lists, checked by the rules of the reference crate
// (github.com/huggingface/safetensors, safetensors/src/tensor.rs). Pure text work: no file, no tensor data.
#pragma once

#include <map>
#include <string>
#include <string_view>
#include <vector>

#include "weights/stored_tensor.h"

namespace darkroom {

struct SafetensorsHeader {
  std::vector<StoredTensor> tensors;            // in the order of their data
  std::map<std::string, std::string> metadata;  // the free text under "__metadata__"
  std::size_t data_bytes = 0;                   // the end of the last tensor
};

// Accepts what the crate's version 0.8.0 accepts: one JSON object in UTF-8, blanks around it, of entries of
// dtype, shape, data_offsets and fields that are ignored, and a "__metadata__" of texts; known types; of a
// repeated name the last entry; data that lies without hole or overlap from 0 on, each tensor's size being
// what its type and shape say. Limits of our own: kMaxStoredTensors entries, and as many texts;
// kMaxStoredRank extents, each below 2^63. Errors: kModel, beginning with `where`, for anything else.
SafetensorsHeader parse_safetensors_header(std::string_view text, const std::string& where);

}  // namespace darkroom
