// Which files hold the weights of one model part: a single .safetensors file, or an index and its shards.
//
// Looks at names and at the index only, never at tensors, so that `info` and `plan` work on a folder whose
// large files were not downloaded. Called by Catalog and by those two.
#pragma once

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace darkroom {

// The content of NAME.safetensors.index.json.
struct WeightIndex {
  std::map<std::string, std::string> shard_of;  // tensor name -> file name
  std::vector<std::string> shards;              // each once, sorted
  std::optional<int64_t> total_size;            // bytes of all tensors, as the index states it
};

inline constexpr std::size_t kMaxShards = 1000;

// Errors: kModel, beginning with `where`: not such an index, more than 100,000 names or kMaxShards, or a
// shard name that is not a plain name ending in .safetensors (a path could leave the folder).
WeightIndex parse_weight_index(std::string_view text, const std::string& where);

struct WeightFiles {
  std::filesystem::path index_path;  // empty for a single file
  WeightIndex index;                 // empty for a single file
  std::vector<std::filesystem::path> present;
  std::vector<std::filesystem::path> missing;  // shards that the index names and the folder lacks
  std::string note;                            // which file of several is used; empty without a choice
};

// `path` is a weight file, an index file, or a folder. In a folder the first of the order in
// weights/weight_names.h is taken of which all files are there, and a single .safetensors file whatever its
// name; an index without all its shards only when there is nothing else. Errors: kModel when there is
// nothing, only shards without their index, or several files of which none has a usual name; missing shards
// are not an error here.
WeightFiles find_weight_files(const std::filesystem::path& path);

// "transformer/x.safetensors: this file is missing (1 of the 3 ..)", of files.missing, which must not be
// empty.
std::string missing_message(const WeightFiles& files);

// Whether the folder holds any file that looks like weights, good or not: safetensors, an index, a PyTorch
// pickle. Errors: kModel when it cannot be listed.
bool holds_weights(const std::filesystem::path& folder);

}  // namespace darkroom
