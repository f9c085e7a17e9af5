// A tensor in memory that is to become one of a file's.
#pragma once

#include <cstddef>
#include <span>
#include <string>
#include <vector>

#include "tensor/tensor.h"
#include "weights/stored_tensor.h"

namespace darkroom {

struct NamedTensor {
  std::string name;
  Tensor tensor;  // with data on the host; rows may be strided
};

// As a file will list it; where it begins is left open. Errors: kFailure, beginning with `where`, for a
// tensor without data.
StoredTensor stored_form(const NamedTensor& named, const std::string& where);

// Rows joined: what the file holds of a tensor. Dense tensors are taken where they lie, others from `copy`.
std::span<const std::byte> joined_rows(const Tensor& tensor, std::vector<std::byte>& copy);

}  // namespace darkroom
