// The configs and tokenizers of a dummy model, which has none of its own, so that what is converted from it
// is a folder like any other.
#pragma once

#include <map>
#include <string>

#include "checkpoint/checkpoint.h"

namespace darkroom {

// The content of each file by its place in the folder, "vae/config.json". Checkpoint::open() reads the
// configs back as `config`. The tokenizers know printable ASCII, each character a token.
std::map<std::string, std::string> dummy_files(const ModelConfig& config);

}  // namespace darkroom
