// What darkroom writes into the metadata of the files that it converts to: all that a folder in diffusers layout
// says beside weights, so that such a file draws the same picture.
//
// One JSON object by the names of folders: "transformer", "vae", "text_encoder", "text_encoder_2" hold what their
// config.json would, "scheduler" what scheduler_config.json would, "tokenizer" and "tokenizer_2" their files as
// texts by name (only vocabularies other than FLUX.1's own), and "darkroom" what darkroom.json would. Each file has
// what concerns the parts in it; the last and the scheduler belong to the transformer.
#pragma once

#include <map>
#include <nlohmann/json_fwd.hpp>
#include <string>
#include <string_view>

#include "checkpoint/part_files.h"

namespace darkroom {

// In safetensors' __metadata__ a text, in GGUF a field.
inline constexpr std::string_view kConfigKey = "darkroom.config";

// An entry of that object; null when there is none. Errors: kModel when the text is no JSON object.
nlohmann::json own_config(const PartFiles& files, std::string_view entry);
// The same for messages: "FILE: darkroom.config, transformer".
std::string own_config_place(const PartFiles& files, std::string_view entry);

// The texts of a tokenizer's files by their names. Errors: kModel for what is no text.
std::map<std::string, std::string> own_tokenizer(const PartFiles& files, std::string_view entry);

}  // namespace darkroom
