// How a safetensors file begins, for those who write its tensors themselves: piece by piece, of any size.
// Files that fit into memory are write_safetensors()'s business (weights/safetensors.h).
#pragma once

#include <map>
#include <string>
#include <vector>

#include "weights/safetensors_header.h"

namespace darkroom {

// Sorts tensors as the reference crate lays them out, wide types first and then by name, which aligns each to
// its element size, and sets where each begins. Returns the bytes of all.
std::size_t lay_out(std::vector<StoredTensor>& tensors);

// The length of the header and the header of these tensors, which must be laid out; padded so that the data,
// which follows, begins at a multiple of 8. Errors: kUsage for a repeated or reserved name, or one that is
// not UTF-8 (as for the metadata); `where` opens the message.
std::string safetensors_head(const std::vector<StoredTensor>& tensors,
                             const std::map<std::string, std::string>& metadata, const std::string& where);

}  // namespace darkroom
