// Reading and writing safetensors files. A file is mapped, checked whole once, and its tensors are views into
// it.
//
// Not a model: which tensors a model needs, and under which names, is weights/source.h. Model files are
// untrusted input: every rule of the reference crate (github.com/huggingface/safetensors) is checked before a
// view is given. Called by Catalog, by the fuzz target, and for single tensors such as latents and noise by
// the program.
#pragma once

#include <cstddef>
#include <filesystem>
#include <map>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "base/file_map.h"
#include "tensor/tensor.h"
#include "weights/safetensors_header.h"

namespace darkroom {

// Owns the mapping of one file; views are valid while it lives. Movable. Any number of threads may use the
// const functions at once.
class SafetensorsFile {
 public:
  // Errors: kModel, beginning with the path: unreadable, not a safetensors file (and what it is instead,
  // where that shows), cut short, or against a rule; see parse_safetensors_header().
  explicit SafetensorsFile(const std::filesystem::path& path);
  // The same over memory that must outlive this object; `where` stands in messages for the path.
  SafetensorsFile(std::span<const std::byte> bytes, std::string where);
  ~SafetensorsFile();
  SafetensorsFile(SafetensorsFile&& other) noexcept;
  SafetensorsFile& operator=(SafetensorsFile&& other) noexcept;

  const std::string& where() const { return where_; }
  // In the order of their data.
  const std::vector<StoredTensor>& tensors() const { return header_.tensors; }
  const std::map<std::string, std::string>& metadata() const { return header_.metadata; }
  // Null when there is no tensor of that name.
  const StoredTensor* find(std::string_view name) const;

  // The numbers as they lie in the file: dense, dtype and shape as stored ([] becomes [1]), never to be
  // written to. `stored` must come from this object. A tensor that the file's writer did not align to its
  // element size is copied on first use, into memory that lives as long as this object. Errors: kModel for a
  // type or a shape (more than four extents) that Tensor does not have.
  Tensor view(const StoredTensor& stored) const;
  // The same numbers read from the file into `out`, which is stored.bytes long; see FileMap::read(). Needs no
  // copy of a misaligned tensor. Errors: kModel.
  void read(const StoredTensor& stored, std::span<std::byte> out) const;
  // Bytes of tensors that view() copies or would copy; 0 for files of every common writer.
  std::size_t misaligned_bytes() const;

  // Whether data points into this file (not into a copy).
  bool contains(const void* data) const;

 private:
  struct Copies;
  void read_header();
  bool aligned(const StoredTensor& stored) const;

  std::string where_;
  std::optional<FileMap> file_;       // absent over memory
  std::span<const std::byte> bytes_;  // the whole file
  std::span<const std::byte> data_;   // what follows the header
  SafetensorsHeader header_;
  std::vector<std::size_t> by_name_;  // indices into header_.tensors
  std::unique_ptr<Copies> copies_;
};

struct NamedTensor {
  std::string name;
  Tensor tensor;  // with data on the host; rows may be strided
};

struct WriteOptions {
  std::map<std::string, std::string> metadata = {};
  bool overwrite = false;  // without it an existing file is an error
};

// Writes a file that appears whole or not at all, laid out as the reference crate does: wide types first,
// then by name, the header padded to 8 bytes. Errors: kUsage for a repeated or reserved name, or one that is
// not UTF-8; kFailure for a tensor without data; kOutput.
void write_safetensors(const std::filesystem::path& path, std::span<const NamedTensor> tensors,
                       const WriteOptions& options = {});

}  // namespace darkroom
