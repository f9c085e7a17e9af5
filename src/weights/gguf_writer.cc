#include <algorithm>
#include <cstring>

#include "base/error.h"
#include "base/file_map.h"
#include "base/printable.h"
#include "base/utf8.h"
#include "weights/gguf_head.h"
#include "weights/gguf_types.h"

namespace darkroom {
namespace {

std::size_t padding_of(std::size_t bytes, std::size_t alignment) {
  return (alignment - bytes % alignment) % alignment;
}

template <typename T>
void put(std::string& out, T value) {
  out.append(reinterpret_cast<const char*>(&value), sizeof(value));
}

void put_text(std::string& out, std::string_view text) {
  put(out, uint64_t{text.size()});
  out += text;
}

void put_name(std::string& out, const std::string& name, std::size_t max_bytes, const std::string& where) {
  if (name.empty() || name.size() > max_bytes || name.find('\0') != name.npos || !is_valid_utf8(name)) {
    fail(ErrorCode::kUsage, "{}: '{}' cannot be a name in a GGUF file: 1 to {} bytes of UTF-8 can", where,
         printable(name), max_bytes);
  }
  put_text(out, name);
}

void put_field(std::string& out, const std::string& key, const GgufField& field, const std::string& where) {
  put_name(out, key, kMaxGgufKey, where);
  if (field.is_array) put(out, GgufKind::kArray);
  put(out, field.kind);
  const bool texts = field.kind == GgufKind::kText;
  if (field.is_array) {
    put(out, uint64_t{texts ? field.texts.size() : field.numbers.size() / gguf_kind_bytes(field.kind)});
  } else if (texts && !is_valid_utf8(field.texts.front())) {
    fail(ErrorCode::kUsage, "{}: the field '{}' is not UTF-8", where, printable(key));
  }
  out += field.numbers;
  for (const std::string& text : field.texts) put_text(out, text);
}

void put_tensor(std::string& out, const StoredTensor& tensor, const std::string& where) {
  put_name(out, tensor.name, kMaxGgufName, where);
  const auto* type = std::ranges::find(kGgufTypes, tensor.type, &GgufType::name);
  if (type == std::end(kGgufTypes) || tensor.extents.size() > kMaxGgufRank || tensor.elements == 0 ||
      (tensor.extents.empty() ? 1 : tensor.extents.back()) % type->block.elements != 0) {
    fail(ErrorCode::kUsage, "{}: tensor '{}' is {}, which a GGUF file cannot hold", where,
         printable(tensor.name), tensor.describe());
  }
  put(out, static_cast<uint32_t>(tensor.extents.size()));
  std::for_each(tensor.extents.rbegin(), tensor.extents.rend(), [&](int64_t extent) { put(out, extent); });
  put(out, type->id);
  put(out, uint64_t{tensor.begin});
}

void check_names(const std::vector<StoredTensor>& tensors, const std::string& where) {
  std::vector<std::string_view> names;
  for (const StoredTensor& tensor : tensors) names.push_back(tensor.name);
  std::ranges::sort(names);
  const auto twice = std::ranges::adjacent_find(names);
  if (twice != names.end()) fail(ErrorCode::kUsage, "{}: two tensors named '{}'", where, printable(*twice));
}

}  // namespace

std::size_t lay_out_gguf(std::vector<StoredTensor>& tensors, std::size_t alignment) {
  std::size_t end = 0;
  for (StoredTensor& tensor : tensors) {
    tensor.begin = end;
    end += tensor.bytes + padding_of(tensor.bytes, alignment);
  }
  return end;
}

std::string gguf_head(const std::vector<StoredTensor>& tensors, const GgufFields& fields,
                      const std::string& where) {
  check_names(tensors, where);
  std::string out(kGgufMagic);
  put(out, uint32_t{3});
  put(out, uint64_t{tensors.size()});
  put(out, uint64_t{fields.all().size()});
  for (const auto& [key, field] : fields.all()) put_field(out, key, field, where);
  for (const StoredTensor& tensor : tensors) put_tensor(out, tensor, where);
  out.resize(out.size() + padding_of(out.size(), gguf_alignment(fields, where)));
  return out;
}

void write_gguf(const std::filesystem::path& path, std::span<const NamedTensor> tensors,
                const GgufFields& fields, bool overwrite) {
  const std::string where = path.string();
  const std::size_t alignment = gguf_alignment(fields, where);
  std::vector<StoredTensor> stored;
  for (const NamedTensor& named : tensors) stored.push_back(stored_form(named, where));
  lay_out_gguf(stored, alignment);
  const std::string head = gguf_head(stored, fields, where);
  const std::vector<std::byte> zeros(alignment);
  std::vector<std::vector<std::byte>> copies(stored.size());
  std::vector<std::span<const std::byte>> pieces = {std::as_bytes(std::span(head))};
  for (std::size_t i = 0; i < stored.size(); ++i) {
    pieces.push_back(joined_rows(tensors[i].tensor, copies[i]));
    pieces.push_back(std::span(zeros).first(padding_of(stored[i].bytes, alignment)));
  }
  write_pieces_atomically(path, pieces, overwrite);
}

}  // namespace darkroom
