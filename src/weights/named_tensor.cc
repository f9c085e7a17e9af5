#include "weights/named_tensor.h"

#include <cstring>

#include "base/error.h"
#include "base/printable.h"

namespace darkroom {

StoredTensor stored_form(const NamedTensor& named, const std::string& where) {
  const Tensor& tensor = named.tensor;
  require(
      tensor.present() && tensor.device == Device::kHost && (tensor.data != nullptr || tensor.bytes() == 0),
      ErrorCode::kFailure, "{}: tensor '{}' has no data to write", where, printable(named.name));
  StoredTensor out;
  out.name = named.name;
  out.type = stored_type_name(tensor.dtype);
  out.dtype = tensor.dtype;
  for (int i = 0; i < tensor.shape.rank(); ++i) out.extents.push_back(tensor.shape[i]);
  out.bytes = tensor.bytes();
  out.elements = tensor.shape.numel();
  return out;
}

std::span<const std::byte> joined_rows(const Tensor& tensor, std::vector<std::byte>& copy) {
  const auto* data = static_cast<const std::byte*>(tensor.data);
  if (tensor.dense()) return {data, tensor.bytes()};
  copy.resize(tensor.bytes());
  const std::size_t row = row_bytes(tensor.dtype, tensor.cols());
  if (row == 0) return copy;
  for (int64_t r = 0; r < tensor.rows(); ++r) {
    std::memcpy(copy.data() + static_cast<std::size_t>(r) * row, tensor.row_data(r), row);
  }
  return copy;
}

}  // namespace darkroom
