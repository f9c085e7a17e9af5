#include "weights/catalog.h"

#include <algorithm>

#include "base/error.h"
#include "base/printable.h"

namespace darkroom {

Catalog::Catalog(const WeightFiles& files) {
  if (!files.missing.empty()) fail(ErrorCode::kModel, "{}", missing_message(files));
  std::map<std::string, std::size_t> file_numbers;
  for (const std::filesystem::path& path : files.present) {
    file_numbers[path.filename().string()] = files_.size();
    files_.emplace_back(path);
  }
  const auto number_of = [&](const StoredTensor* stored, std::size_t file) {
    return static_cast<std::size_t>(stored - files_[file].tensors().data());
  };
  if (files.index_path.empty()) {
    where_ = files_.at(0).where();
    for (const StoredTensor& stored : files_[0].tensors()) entries_[stored.name] = {0, number_of(&stored, 0)};
    return;
  }
  where_ = files.index_path.string();
  for (const auto& [name, shard] : files.index.shard_of) {
    const std::size_t file = file_numbers.at(shard);
    const StoredTensor* stored = files_[file].find(name);
    if (!stored) {
      fail(ErrorCode::kModel,
           "{}: tensor '{}' is not in this file, where {} puts it; the files do not belong together",
           files_[file].where(), printable(name), where_);
    }
    entries_[name] = {file, number_of(stored, file)};
  }
}

std::vector<std::string_view> Catalog::names() const {
  std::vector<std::string_view> out;
  for (const auto& [name, unused] : entries_) out.push_back(name);
  return out;
}

const Catalog::Entry* Catalog::entry(std::string_view name) const {
  const auto it = entries_.find(name);
  return it == entries_.end() ? nullptr : &it->second;
}

const StoredTensor* Catalog::stored(std::string_view name) const {
  const Entry* found = entry(name);
  return found ? &files_[found->file].tensors()[found->tensor] : nullptr;
}

const std::string& Catalog::where(std::string_view name) const {
  const Entry* found = entry(name);
  return found ? files_[found->file].where() : where_;
}

std::optional<Tensor> Catalog::find(std::string_view name) const {
  const Entry* found = entry(name);
  if (!found) return std::nullopt;
  const SafetensorsFile& file = files_[found->file];
  return file.view(file.tensors()[found->tensor]);
}

void Catalog::read(std::string_view name, std::span<std::byte> out) const {
  const Entry* found = entry(name);
  require(found, ErrorCode::kModel, "{}: there is no tensor '{}'", where_, printable(std::string(name)));
  const SafetensorsFile& file = files_[found->file];
  file.read(file.tensors()[found->tensor], out);
}

std::size_t Catalog::total_bytes() const {
  std::size_t total = 0;
  for (const auto& [name, found] : entries_) total += files_[found.file].tensors()[found.tensor].bytes;
  return total;
}

std::map<std::string, std::size_t> Catalog::bytes_by_type() const {
  std::map<std::string, std::size_t> out;
  for (const auto& [name, found] : entries_) {
    const StoredTensor& tensor = files_[found.file].tensors()[found.tensor];
    out[std::string(tensor.type)] += tensor.bytes;
  }
  return out;
}

int64_t Catalog::parameters() const {
  int64_t total = 0;
  for (const auto& [name, found] : entries_) total += files_[found.file].tensors()[found.tensor].elements;
  return total;
}

}  // namespace darkroom
