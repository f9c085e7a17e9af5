// All tensors of one model part by name, whether they lie in one file or in several shards.
//
// Gives what is stored, as it is stored: no conversion, no checks against a model (weights/source.h). Opening
// reads headers only; read() brings data into memory of the caller's.
#pragma once

#include <cstddef>
#include <filesystem>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "weights/safetensors.h"
#include "weights/weight_files.h"

namespace darkroom {

// Owns the mappings; tensors are views that live as long as the catalog. Movable. Any
// number of threads may use the const functions at once.
class Catalog {
 public:
  // path: see find_weight_files(). Errors: kModel when there is nothing fit, a shard is missing (the first
  // one is named), a file is invalid, a shard lacks a tensor that the index puts there.
  explicit Catalog(const std::filesystem::path& path) : Catalog(find_weight_files(path)) {}
  explicit Catalog(const WeightFiles& files);

  // The file or the index, for messages.
  const std::string& where() const { return where_; }
  // Sorted. With an index exactly the names that it lists.
  std::vector<std::string_view> names() const;
  std::size_t size() const { return entries_.size(); }
  const std::vector<SafetensorsFile>& files() const { return files_; }

  // What the file says of a tensor; null when there is none of that name.
  const StoredTensor* stored(std::string_view name) const;
  // The file that holds it; `where()` when there is none of that name.
  const std::string& where(std::string_view name) const;
  // The view; see SafetensorsFile::view() for copies of misaligned tensors. Errors: kModel for a type or rank
  // that Tensor does not have.
  std::optional<Tensor> find(std::string_view name) const;

  // Reads a tensor's bytes, as they are stored, into `out`; see SafetensorsFile::read(). Errors: kModel, also
  // for a name that is not there.
  void read(std::string_view name, std::span<std::byte> out) const;

  std::size_t total_bytes() const;
  // By the files' words for the types, "BF16".
  std::map<std::string, std::size_t> bytes_by_type() const;
  int64_t parameters() const;  // elements of all tensors

 private:
  struct Entry {
    std::size_t file;  // index into files_
    std::size_t tensor;
  };
  const Entry* entry(std::string_view name) const;

  std::string where_;
  std::vector<SafetensorsFile> files_;
  std::map<std::string, Entry, std::less<>> entries_;
};

}  // namespace darkroom
