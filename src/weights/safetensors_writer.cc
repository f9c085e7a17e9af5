#include <algorithm>
#include <nlohmann/json.hpp>

#include "base/error.h"
#include "base/printable.h"
#include "weights/safetensors.h"
#include "weights/safetensors_head.h"

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

std::string shape_text(const std::vector<int64_t>& extents) {
  std::string text = "[";
  for (std::size_t i = 0; i < extents.size(); ++i) text += (i ? "," : "") + std::to_string(extents[i]);
  return text + "]";
}

void check_names(const std::vector<StoredTensor>& tensors, const std::string& where) {
  std::vector<std::string_view> names;
  for (const StoredTensor& tensor : tensors) names.push_back(tensor.name);
  std::ranges::sort(names);
  require(!std::ranges::binary_search(names, "__metadata__"), ErrorCode::kUsage,
          "{}: a tensor cannot be named __metadata__", where);
  const auto twice = std::ranges::adjacent_find(names);
  if (twice != names.end()) fail(ErrorCode::kUsage, "{}: two tensors named '{}'", where, printable(*twice));
}

// Types narrower than a byte come last.
std::size_t element_bytes(const StoredTensor& tensor) {
  if (tensor.dtype) return dtype_bytes(*tensor.dtype);
  return tensor.elements == 0 ? 0 : tensor.bytes / static_cast<std::size_t>(tensor.elements);
}

}  // namespace

std::size_t lay_out(std::vector<StoredTensor>& tensors) {
  std::ranges::sort(tensors, [](const StoredTensor& a, const StoredTensor& b) {
    const std::size_t x = element_bytes(a), y = element_bytes(b);
    return x != y ? x > y : a.name < b.name;
  });
  std::size_t end = 0;
  for (StoredTensor& tensor : tensors) {
    tensor.begin = end;
    end += tensor.bytes;
  }
  return end;
}

std::string safetensors_head(const std::vector<StoredTensor>& tensors,
                             const std::map<std::string, std::string>& metadata, const std::string& where) {
  check_names(tensors, where);
  std::string json = "{";
  if (!metadata.empty()) {
    json += "\"__metadata__\":{";
    for (const auto& [key, text] : metadata) {
      json += (json.back() == '{' ? "" : ",") + quoted(key) + ":" + quoted(text);
    }
    json += "}";
  }
  for (const StoredTensor& tensor : tensors) {
    json += fmt::format("{}{}:{{\"dtype\":\"{}\",\"shape\":{},\"data_offsets\":[{},{}]}}",
                        json.size() == 1 ? "" : ",", quoted(tensor.name), tensor.type,
                        shape_text(tensor.extents), tensor.begin, tensor.begin + tensor.bytes);
  }
  json += "}";
  json.resize((json.size() + 7) / 8 * 8, ' ');
  std::string length(8, '\0');
  for (std::size_t i = 0; i < 8; ++i)
    length[i] = static_cast<char>(static_cast<uint64_t>(json.size()) >> (8 * i));
  return length + json;
}

void write_safetensors(const std::filesystem::path& path, std::span<const NamedTensor> tensors,
                       const WriteOptions& options) {
  std::map<std::string_view, const Tensor*> by_name;
  std::vector<StoredTensor> stored;
  for (const NamedTensor& named : tensors) {
    by_name[named.name] = &named.tensor;
    stored.push_back(stored_form(named, path.string()));
  }
  lay_out(stored);
  const std::string head = safetensors_head(stored, options.metadata, path.string());
  std::vector<std::vector<std::byte>> copies(stored.size());
  std::vector<std::span<const std::byte>> pieces = {std::as_bytes(std::span(head))};
  for (std::size_t i = 0; i < stored.size(); ++i) {
    pieces.push_back(joined_rows(*by_name.at(stored[i].name), copies[i]));
  }
  write_pieces_atomically(path, pieces, options.overwrite);
}

}  // namespace darkroom
