// One file of tensors, opened by its content: safetensors or GGUF.
//
// Not a model: which tensors a model needs, and under which names, is weights/source.h. Model files are
// untrusted input: every rule of the format is checked before a tensor is listed. Opening reads the header
// only; read() brings numbers into memory of the caller's.
#pragma once

#include <cstddef>
#include <filesystem>
#include <map>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "base/file_map.h"
#include "tensor/buffer.h"
#include "weights/gguf_fields.h"
#include "weights/stored_tensor.h"

namespace darkroom {

// What the header of a file says.
struct TensorFileHeader {
  std::vector<StoredTensor> tensors;            // in the order of their data
  std::map<std::string, std::string> metadata;  // free texts
  std::size_t data_begin = 0;                   // bytes of the file before the data
};

// A tensor and the memory that it lies in.
struct OwnedTensor {
  Buffer memory;
  Tensor tensor;
};

// Holds the file open. Movable. Any number of threads may use the const functions at once.
class TensorFile {
 public:
  // Errors: kModel, beginning with the path: unreadable, no file of tensors (and what it is instead, where
  // that shows), cut short, or against a rule of its format.
  explicit TensorFile(const std::filesystem::path& path);
  // The same over memory that must outlive this object; `where` stands in messages for the path.
  TensorFile(std::span<const std::byte> bytes, std::string where);

  const std::string& where() const { return where_; }
  // In the order of their data.
  const std::vector<StoredTensor>& tensors() const { return header_.tensors; }
  const std::map<std::string, std::string>& metadata() const { return header_.metadata; }
  bool is_gguf() const { return fields_.has_value(); }
  // The key-values of a GGUF; null for safetensors.
  const GgufFields* fields() const { return fields_ ? &*fields_ : nullptr; }
  // Null when there is no tensor of that name.
  const StoredTensor* find(std::string_view name) const;

  // Reads out.size() bytes of a tensor's data from byte `offset` on; `stored` must come from this object.
  // Errors: kModel when the file is shorter than it was, or was written to; kFailure beyond the tensor.
  void read(const StoredTensor& stored, std::size_t offset, std::span<std::byte> out) const;
  void read(const StoredTensor& stored, std::span<std::byte> out) const { read(stored, 0, out); }
  // The whole tensor; [] becomes [1]. Errors: kModel for a type or a shape (more than four extents) that
  // Tensor does not have; as read().
  OwnedTensor load(const StoredTensor& stored) const;

 private:
  void read_header();

  std::string where_;
  std::optional<FileMap> file_;       // absent over memory
  std::span<const std::byte> bytes_;  // the whole file
  TensorFileHeader header_;
  std::optional<GgufFields> fields_;  // of a GGUF
  std::vector<std::size_t> by_name_;  // indices into header_.tensors
};

}  // namespace darkroom
