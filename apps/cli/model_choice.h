// Which model: --model, --dummy, or the one that comes with the program.
#pragma once

#include <filesystem>
#include <optional>
#include <string>

#include "engine.h"

namespace cli {

struct ModelOptions {
  std::optional<std::string> model = {};  // --model: a path, or the name of one that is installed or cached
  std::optional<std::string> dummy = {};  // --dummy
  std::optional<std::string> clip = {}, t5 = {}, vae = {};  // parts from elsewhere
};

// `otherwise`: what the command uses without these flags.
void add_model_flags(Arguments& arguments, ModelOptions& options, const std::string& otherwise = "pinhole");

// The cache of huggingface_hub: $HF_HUB_CACHE, $HF_HOME/hub, or huggingface/hub in the user's cache folder.
std::string hub_cache();
// The repository in it that `name`, ORG/NAME, means; `name` itself when there is none.
std::string in_hub_cache(const std::string& name);

// Opens it. Throws Failure; DARKROOM_MODEL, with the places that were searched, when none is found.
ModelHandle open_model(const Engine& engine, const ModelOptions& options);

}  // namespace cli
