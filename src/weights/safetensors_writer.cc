#include <algorithm>
#include <cstring>
#include <nlohmann/json.hpp>

#include "base/error.h"
#include "base/printable.h"
#include "weights/safetensors.h"

namespace darkroom {
namespace {

// JSON text of a string. Errors: kUsage when it is not UTF-8.
std::string quoted(const std::string& text) {
  try {
    return nlohmann::json(text).dump();
  } catch (const nlohmann::json::exception&) {
    fail(ErrorCode::kUsage, "'{}' is not UTF-8 and cannot be a name or a text in a safetensors file",
         printable(text));
  }
}

// Rows joined: what the file holds of a tensor. Dense tensors are written where they lie, others from `copy`.
std::span<const std::byte> joined_rows(const Tensor& tensor, std::vector<std::byte>& copy) {
  const auto* data = static_cast<const std::byte*>(tensor.data);
  if (tensor.dense()) return {data, tensor.bytes()};
  copy.resize(tensor.bytes());
  const std::size_t element = dtype_bytes(tensor.dtype);
  const std::size_t row = static_cast<std::size_t>(tensor.cols()) * element;
  if (row == 0) return copy;
  for (std::size_t r = 0; r < static_cast<std::size_t>(tensor.rows()); ++r) {
    std::memcpy(copy.data() + r * row, data + r * static_cast<std::size_t>(tensor.row_stride) * element, row);
  }
  return copy;
}

std::string shape_text(const Shape& shape) {
  std::string text = "[";
  for (int i = 0; i < shape.rank(); ++i) text += (i ? "," : "") + std::to_string(shape[i]);
  return text + "]";
}

// Length and JSON, padded so that the data begins at a multiple of 8.
std::string header_bytes(std::span<const NamedTensor* const> sorted, const WriteOptions& options) {
  std::string json = "{";
  if (!options.metadata.empty()) {
    json += "\"__metadata__\":{";
    for (const auto& [key, text] : options.metadata) {
      json += (json.back() == '{' ? "" : ",") + quoted(key) + ":" + quoted(text);
    }
    json += "}";
  }
  std::size_t begin = 0;
  for (const NamedTensor* named : sorted) {
    const std::size_t end = begin + named->tensor.bytes();
    json += fmt::format("{}{}:{{\"dtype\":\"{}\",\"shape\":{},\"data_offsets\":[{},{}]}}",
                        json.size() == 1 ? "" : ",", quoted(named->name),
                        stored_type_name(named->tensor.dtype), shape_text(named->tensor.shape), begin, end);
    begin = end;
  }
  json += "}";
  json.resize((json.size() + 7) / 8 * 8, ' ');
  std::string length(8, '\0');
  for (std::size_t i = 0; i < 8; ++i)
    length[i] = static_cast<char>(static_cast<uint64_t>(json.size()) >> (8 * i));
  return length + json;
}

}  // namespace

void write_safetensors(const std::filesystem::path& path, std::span<const NamedTensor> tensors,
                       const WriteOptions& options) {
  std::vector<const NamedTensor*> sorted;
  for (const NamedTensor& named : tensors) {
    const Tensor& tensor = named.tensor;
    require(named.name != "__metadata__", ErrorCode::kUsage, "a tensor cannot be named __metadata__");
    require(
        tensor.present() && tensor.device == Device::kHost && (tensor.data != nullptr || tensor.bytes() == 0),
        ErrorCode::kFailure, "{}: tensor '{}' has no data to write", path.string(), printable(named.name));
    sorted.push_back(&named);
  }
  std::ranges::sort(sorted, [](const NamedTensor* a, const NamedTensor* b) {
    const std::size_t x = dtype_bytes(a->tensor.dtype), y = dtype_bytes(b->tensor.dtype);
    return x != y ? x > y : a->name < b->name;  // wide first: every tensor is aligned to its element size
  });
  std::vector<std::string_view> names;
  for (const NamedTensor* named : sorted) names.push_back(named->name);
  std::ranges::sort(names);
  const auto twice = std::ranges::adjacent_find(names);
  if (twice != names.end())
    fail(ErrorCode::kUsage, "{}: two tensors named '{}'", path.string(), printable(*twice));

  const std::string header = header_bytes(sorted, options);
  std::vector<std::vector<std::byte>> copies(sorted.size());
  std::vector<std::span<const std::byte>> pieces = {std::as_bytes(std::span(header))};
  for (std::size_t i = 0; i < sorted.size(); ++i) pieces.push_back(joined_rows(sorted[i]->tensor, copies[i]));
  write_pieces_atomically(path, pieces, options.overwrite);
}

}  // namespace darkroom
