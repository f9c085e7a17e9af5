// Descriptions as JSON: what a path holds, what a plan says, what a prompt becomes.
#pragma once

#include <filesystem>
#include <nlohmann/json_fwd.hpp>
#include <string>

#include "pipeline/plan.h"

namespace darkroom {

// A model folder, a .safetensors file, or a PNG. Errors: kModel when it is none of them or invalid; kFailure
// for an invalid PNG.
nlohmann::json inspect(const std::filesystem::path& path);

nlohmann::json to_json(const Model& model, const Job& job, const Plan& plan);

// {"clip": [ids], "t5": [ids]}.
nlohmann::json to_json(const Tokens& tokens);

}  // namespace darkroom
