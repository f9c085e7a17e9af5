// Descriptions as JSON: what a path holds, what a plan says, what a prompt becomes.
#pragma once

#include <filesystem>
#include <nlohmann/json_fwd.hpp>
#include <string>

#include "pipeline/plan.h"

namespace darkroom {

// A model folder (or the tree of another program), a file of tensors, or a
// picture (PNG, JPEG, WebP). A recipe of another program that
// cannot be read is told under "problem". Errors: kModel when it is none of them or invalid; kFailure for an
// invalid picture, one of another kind, or a damaged recipe of darkroom's own.
nlohmann::json inspect(const std::filesystem::path& path);

nlohmann::json to_json(const Checkpoint& model, const Job& job, const Plan& plan);

// {"clip": [ids], "t5": [ids]}.
nlohmann::json to_json(const Tokens& tokens);

}  // namespace darkroom
