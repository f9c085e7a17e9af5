// The configs of a model that has none, and the tokenizers of a dummy, so that what is converted from them is a
// folder like any other.
#pragma once

#include <map>
#include <nlohmann/json_fwd.hpp>
#include <string>

#include "checkpoint/checkpoint.h"

namespace darkroom {

// What a part's config.json says, and scheduler_config.json. Checkpoint::open() reads them back as `config`.
nlohmann::json part_config(const ModelConfig& config, Part part);
nlohmann::json scheduler_settings(const ModelConfig& config);

// The content of each config by its place in the folder, "vae/config.json".
std::map<std::string, std::string> config_files(const ModelConfig& config);

// A tokenizer that knows printable ASCII, each character a token, as files of its folder.
std::map<std::string, std::string> dummy_tokenizer_texts(const ModelConfig& config, Part part);

}  // namespace darkroom
