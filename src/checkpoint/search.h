// Where a part lies that nobody named: beside the transformer, in the tree of the program that its folder
// belongs to, in the cache of huggingface_hub.
#pragma once

#include <filesystem>
#include <functional>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "checkpoint/part_files.h"

namespace darkroom {

// Files in `folder` that are weights by their ending (.safetensors, .sft, .gguf), sorted; of shards none. At
// most kMaxFilesInFolder. Empty when it cannot be listed.
inline constexpr std::size_t kMaxFilesInFolder = 1000;
std::vector<std::filesystem::path> weight_files_in(const std::filesystem::path& folder);

// The folders below the root of a ComfyUI, Forge or A1111 tree that may hold a part, in the order in which
// they are looked at.
std::vector<std::string_view> tree_folders(Part part);

struct FoundFiles {
  PartFiles files;
  std::string place;  // "beside the transformer", "in /models/clip", "in the cache of huggingface_hub"
  std::vector<std::filesystem::path> others;  // which would have done, too
};

struct SearchResult {
  std::optional<FoundFiles> found;
  std::vector<std::string> looked_in;  // folders, in their order
  std::vector<std::string> rejected;   // "FILE: why", at most a few
};

// The first place that has the part wins; of several files there the largest. `fits` says why a candidate
// does not fit the transformer; empty: it does. `transformer` is its file or folder.
// `hub_cache`: the cache of huggingface_hub; empty: it is not looked at.
SearchResult search_part(Part part, const std::filesystem::path& transformer,
                         const std::filesystem::path& hub_cache,
                         const std::function<std::string(const PartFiles&)>& fits);

// Every .safetensors, .sft and .gguf file of `folder` (a tree's folders for transformers, too) that is a
// transformer.
std::vector<std::filesystem::path> transformers_in(const std::filesystem::path& folder,
                                                   std::vector<std::string>& rejected);

}  // namespace darkroom
