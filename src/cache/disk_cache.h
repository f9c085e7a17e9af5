// A folder of results that can be computed again: byte strings by key, bounded, and safe to
// delete at any time.
//
// An entry is one file, written under another name, synced and renamed, with a checksum over all of it: a
// reader finds it whole or not at all, whatever killed its writer, and any number of processes may share
// the folder. Nothing here ever fails: what cannot be read is a miss, what cannot be written is left out,
// and a note says why.
#pragma once

#include <cstddef>
#include <filesystem>
#include <functional>
#include <optional>
#include <span>
#include <string>

#include "base/sha256.h"

namespace darkroom::cache {

class DiskCache {
 public:
  // `folder` is made when something is first stored, for its owner alone. `limit_bytes` bounds the files in
  // it together. `on_note` gets one line for each thing that went wrong; may be empty.
  DiskCache(std::filesystem::path folder, std::size_t limit_bytes,
            std::function<void(const std::string&)> on_note);

  // The `bytes` bytes that were stored under the key; nothing when they are not there. What is there but
  // damaged is deleted. A hit makes the entry the most recently used one.
  std::optional<std::string> find(const Digest& key, std::size_t bytes) const;

  // Stores and deletes the entries that were used the longest ago until the limit is kept. What is larger
  // than the limit is not stored.
  void store(const Digest& key, std::span<const std::byte> payload) const;

 private:
  std::filesystem::path path_of(const Digest& key) const;
  void note(const std::string& text) const;
  void make_folder() const;
  void trim() const;

  std::filesystem::path folder_;
  std::size_t limit_bytes_;
  std::function<void(const std::string&)> on_note_;
};

}  // namespace darkroom::cache
