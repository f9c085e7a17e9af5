#include "weights/catalog.h"

#include <algorithm>

#include "base/error.h"
#include "base/printable.h"

namespace darkroom {

Catalog::Catalog(const WeightFiles& files) {
  if (!files.missing.empty()) fail(ErrorCode::kModel, "{}", missing_message(files));
  std::map<std::string, const TensorFile*> shards;
  for (const std::filesystem::path& path : files.present) {
    files_.push_back(std::make_shared<const TensorFile>(path));
    shards[path.filename().string()] = files_.back().get();
  }
  if (files.index_path.empty()) {
    const TensorFile* file = files_.at(0).get();
    where_ = file->where();
    for (const StoredTensor& stored : file->tensors()) entries_[stored.name] = {file, stored};
    return;
  }
  where_ = files.index_path.string();
  for (const auto& [name, shard] : files.index.shard_of) {
    const TensorFile* file = shards.at(shard);
    const StoredTensor* stored = file->find(name);
    if (!stored) {
      fail(ErrorCode::kModel,
           "{}: tensor '{}' is not in this file, where {} puts it; the files do not belong together",
           file->where(), printable(name), where_);
    }
    entries_[name] = {file, *stored};
  }
}

Catalog::Catalog(const Catalog& whole, std::string_view prefix) : where_(whole.where_), files_(whole.files_) {
  for (auto it = whole.entries_.lower_bound(prefix); it != whole.entries_.end(); ++it) {
    const auto& [name, found] = *it;
    if (!name.starts_with(prefix)) break;
    Entry& own = entries_[name.substr(prefix.size())] = found;
    own.stored.name = name.substr(prefix.size());
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
  return found ? &found->stored : nullptr;
}

const std::string& Catalog::where(std::string_view name) const {
  const Entry* found = entry(name);
  return found ? found->file->where() : where_;
}

std::optional<OwnedTensor> Catalog::load(std::string_view name) const {
  const Entry* found = entry(name);
  if (!found) return std::nullopt;
  return found->file->load(found->stored);
}

void Catalog::read(std::string_view name, std::size_t offset, std::span<std::byte> out) const {
  const Entry* found = entry(name);
  require(found, ErrorCode::kModel, "{}: there is no tensor '{}'", where_, printable(std::string(name)));
  found->file->read(found->stored, offset, out);
}

std::size_t Catalog::total_bytes() const {
  std::size_t total = 0;
  for (const auto& [name, found] : entries_) total += found.stored.bytes;
  return total;
}

std::map<std::string, std::size_t> Catalog::bytes_by_type() const {
  std::map<std::string, std::size_t> out;
  for (const auto& [name, found] : entries_) out[std::string(found.stored.type)] += found.stored.bytes;
  return out;
}

int64_t Catalog::parameters() const {
  int64_t total = 0;
  for (const auto& [name, found] : entries_) total += found.stored.elements;
  return total;
}

}  // namespace darkroom
