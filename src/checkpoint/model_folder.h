// The folder that a model lies in: found in a cache of huggingface_hub, and what the model is called after
// it.
#pragma once

#include <filesystem>
#include <optional>
#include <string>
#include <vector>

namespace darkroom {

// A snapshot in a cache of huggingface_hub: models--ORG--NAME/snapshots/COMMIT, whose files are links into
// models--ORG--NAME/blobs.
struct HubSnapshot {
  std::filesystem::path repository;  // .../models--ORG--NAME
  std::string name;                  // NAME
};
// `folder` or a folder above it, links resolved; nothing when none of them is a snapshot.
std::optional<HubSnapshot> hub_snapshot(const std::filesystem::path& folder);

// `path`, or where it is a repository of such a cache the snapshot that its refs/main names, or its only one.
// Errors: kModel when there is no such snapshot, or no telling which.
std::filesystem::path find_model_folder(const std::filesystem::path& path);

// Whether `name` is one of huggingface_hub: ORG/NAME, plain words.
bool is_hub_name(const std::string& name);
// The repository of that name in `cache`, a folder of models--ORG--NAME. Nothing when it is not there.
std::optional<std::filesystem::path> find_hub_repository(const std::filesystem::path& cache,
                                                         const std::string& name);
// Repositories in it whose names have to do with FLUX.1 or its text encoders, sorted. None of an empty path.
std::vector<std::filesystem::path> hub_repositories(const std::filesystem::path& cache);

// The folder's last name, also for "models/dev/"; a snapshot's is the NAME of its repository. A model inside
// another's folder shares its parts and is a variant of it: both names then, as "dev" alone says nothing.
std::string model_name(const std::filesystem::path& folder);
// The folder of that other model; `folder` itself when it is no variant. Links are resolved.
std::filesystem::path shared_folder(const std::filesystem::path& folder);

}  // namespace darkroom
