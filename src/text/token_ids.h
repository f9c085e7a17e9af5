// The ids that a tokenizer makes of one prompt. Not text and not embeddings: see models/ for those.
#pragma once

#include <cstdint>
#include <vector>

namespace darkroom {

struct TokenIds {
  std::vector<int32_t> ids;  // exactly max_tokens of them, padding included
  bool truncated = false;    // the prompt had more tokens than fit, and the end of it is missing
};

}  // namespace darkroom
