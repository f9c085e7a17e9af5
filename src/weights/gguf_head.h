// How a GGUF file begins, for those who write its tensors themselves: piece by piece, of any size. Files that
// fit into memory are write_gguf()'s business (weights/gguf.h).
#pragma once

#include <string>
#include <vector>

#include "weights/gguf.h"

namespace darkroom {

// Sets where each tensor begins: in the order given, as ggml demands, each at a multiple of `alignment`.
// Returns the bytes of all; what lies between two and behind the last is to be zero.
std::size_t lay_out_gguf(std::vector<StoredTensor>& tensors, std::size_t alignment = kGgufAlignment);

// Version 3: the fields and the list of these tensors, which must be laid out, padded to the alignment that
// the fields ask for (gguf_alignment()); the data follows. Errors: kUsage for a repeated, empty, overlong
// name or one that is not UTF-8, a type that GGUF does not have, a shape that it cannot hold; kModel for an
// alignment; `where` opens the message.
std::string gguf_head(const std::vector<StoredTensor>& tensors, const GgufFields& fields,
                      const std::string& where);

}  // namespace darkroom
