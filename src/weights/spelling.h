// How a file spells a parameter: the name that it has there, and which rows of that tensor it is.
#pragma once

#include <cstdint>
#include <functional>
#include <string>
#include <vector>

#include "weights/param.h"

namespace darkroom {

// Rows [first, first + count) of a tensor, its first extent.
struct RowRange {
  int64_t first = 0, count = 0;
};

struct StoredPlace {
  std::string name = {};  // of the tensor in the file
  // Taken one after the other, as the parameter's rows; empty: the whole tensor.
  std::vector<RowRange> rows = {};
  int64_t all_rows = 0;  // that the tensor must have, where `rows` says which are taken
};

// Where a parameter may lie: the first of these that a file has. At least one, which messages name.
using Spelling = std::function<std::vector<StoredPlace>(const Param& param)>;

// The parameter's own name.
std::vector<StoredPlace> as_named(const Param& param);

}  // namespace darkroom
