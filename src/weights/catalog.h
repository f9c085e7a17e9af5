// All tensors of one model part by name, whether they lie in one file or in several shards.
//
// Gives what is stored, as it is stored: no conversion, no checks against a model (weights/source.h). Opening
// reads headers only; read() brings data into memory of the caller's.
#pragma once

#include <cstddef>
#include <filesystem>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "weights/tensor_file.h"
#include "weights/weight_files.h"

namespace darkroom {

// Holds its files open; copies share them. Any number of threads may use the const functions at once.
class Catalog {
 public:
  // path: see find_weight_files(). Errors: kModel when there is nothing fit, a shard is missing (the first
  // one is named), a file is invalid, a shard lacks a tensor that the index puts there.
  explicit Catalog(const std::filesystem::path& path) : Catalog(find_weight_files(path)) {}
  explicit Catalog(const WeightFiles& files);
  // What `whole` has under names that begin with `prefix`, without the prefix.
  Catalog(const Catalog& whole, std::string_view prefix);

  // The file or the index, for messages.
  const std::string& where() const { return where_; }
  // Sorted. With an index exactly the names that it lists.
  std::vector<std::string_view> names() const;
  std::size_t size() const { return entries_.size(); }
  const std::vector<std::shared_ptr<const TensorFile>>& files() const { return files_; }

  // What the file says of a tensor; null when there is none of that name.
  const StoredTensor* stored(std::string_view name) const;
  // The file that holds it; `where()` when there is none of that name.
  const std::string& where(std::string_view name) const;
  // Nothing when there is none of that name: the whole tensor in memory of its own; see TensorFile::load().
  std::optional<OwnedTensor> load(std::string_view name) const;
  // Reads out.size() bytes of a tensor's data from byte `offset` on. Errors: kModel, also for a name that is
  // not there.
  void read(std::string_view name, std::size_t offset, std::span<std::byte> out) const;

  std::size_t total_bytes() const;
  // By the files' words for the types, "BF16".
  std::map<std::string, std::size_t> bytes_by_type() const;
  int64_t parameters() const;  // elements of all tensors

 private:
  struct Entry {
    const TensorFile* file;
    StoredTensor stored;  // under the catalog's name
  };
  const Entry* entry(std::string_view name) const;

  std::string where_;
  std::vector<std::shared_ptr<const TensorFile>> files_;
  std::map<std::string, Entry, std::less<>> entries_;
};

}  // namespace darkroom
