// Matrices that bitsandbytes packed: four bits an element, NF4 or FP4, in runs that share a scale (arXiv
// 2305.14314).
//
// `X.weight` is U8 of half as many bytes as it has elements; beside it lie `X.weight.absmax`, the scales of
// the runs, `X.weight.quant_map`, what the 16 codes mean, and `X.weight.quant_state.bitsandbytes__nf4` (or
// fp4), a JSON text with the shape. Nested scales are bytes themselves: `X.weight.nested_absmax` and
// `X.weight.nested_quant_map`.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "weights/catalog.h"
#include "weights/spelling.h"

namespace darkroom {

struct PackedMatrix {
  std::string name;              // of `X.weight`
  DType dtype = DType::kNF4;     // or kFP4
  std::vector<int64_t> extents;  // [rows, cols], those that were packed
  int64_t run = 64;              // elements that share a scale, a multiple of 64
  bool nested = false;           // scales are bytes
  float nested_offset = 0;       // is added to each scale
  int64_t nested_run = 256;      // scales that share a scale
};

// Nothing when `name` is no such matrix. Errors: kModel, naming file and tensor: one that lacks a companion,
// or whose companions contradict it, or codes that mean other numbers than bitsandbytes' own.
std::optional<PackedMatrix> find_packed(const Catalog& catalog, const std::string& name);

// Rows of the matrix as blocks of its dtype (tensor/dtype.h) into `out`. Errors: kModel.
void read_packed(const Catalog& catalog, const PackedMatrix& matrix, const RowRange& rows,
                 std::span<std::byte> out);

// A tensor's extents as a model sees them: of a packed one those that were packed. Empty when there is none
// of that name. Errors: as find_packed().
std::vector<int64_t> extents_of(const Catalog& catalog, const std::string& name);

}  // namespace darkroom
