// The files of each part of a model: which they are, what they hold, and where a part lies that was not
// named.
#pragma once

#include <filesystem>
#include <memory>
#include <optional>
#include <string>
#include <variant>
#include <vector>

#include "checkpoint/derive.h"
#include "checkpoint/part.h"

namespace darkroom {

// The largest config.json that is read.
inline constexpr std::size_t kMaxConfigBytes = 1 << 20;

// A part's files, opened by their headers.
struct PartFiles {
  std::filesystem::path where;   // the folder in diffusers layout, or the file
  std::filesystem::path config;  // its config.json; empty: sizes come from the tensors' shapes
  Names names = Names::kDiffusers;
  std::string prefix;                      // of its names in the files
  std::shared_ptr<const Catalog> catalog;  // without the prefix; null when there are no weights, or not all
  std::string problem;                     // why there are none
  std::optional<int64_t> total_size;       // bytes of the missing weights, as their index states them
  std::string note;                        // which of several files was taken; may be empty
  std::vector<std::filesystem::path> files() const;
};

// The folder of a part in diffusers layout: config.json, and weights that may be missing. Nothing when the
// folder has no config. Errors: kModel for a folder or link that leads nowhere, and for weights of another part.
std::optional<PartFiles> open_part_folder(const std::filesystem::path& folder, Part part);

// A part in a file, or in the files of an index, whatever else they hold. Errors: kModel, saying what the
// file is instead.
PartFiles open_part_file(const std::filesystem::path& path, Part part);
// The same of an open catalog of whole names.
PartFiles part_of_catalog(const std::shared_ptr<const Catalog>& whole, const FoundPart& found,
                          const std::filesystem::path& path);

// What `--clip`, `--t5` or `--vae` names: a file; the part's folder; a model in diffusers layout that has the
// part; a folder in which one file is the part. Errors: kModel.
PartFiles open_named_part(const std::filesystem::path& path, Part part);

// The transformer at `path`, a file, a part's folder, or a folder (or tree of another program) in which one
// file is a transformer; not a model in diffusers layout. Errors: kModel, listing the files when there are
// several, and saying what was found when there is none.
PartFiles open_transformer(const std::filesystem::path& path);

// Sizes of a part, from its config, from what darkroom wrote into the file (checkpoint/own_config.h), or from its
// shapes. Errors: kModel.
clip::Config clip_config(const PartFiles& files);
t5::Config t5_config(const PartFiles& files);
flux::Config transformer_config(const PartFiles& files);
vae::Config vae_config(const PartFiles& files);

}  // namespace darkroom
