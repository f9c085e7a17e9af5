// Which LoRA files a request means, opened on the model.
#pragma once

#include <filesystem>
#include <string>
#include <vector>

#include "checkpoint/checkpoint.h"
#include "options/request.h"

namespace darkroom {

struct JobLora {
  std::filesystem::path path;
  LoraUse use;
};

// The request's LoRAs and, where it has a lora_dir, those that the prompt names as <lora:NAME:STRENGTH>, which
// are taken out of it. A path that is no file is looked for by its name: in lora_dir and the folders in it, and
// in the folders `loras` beside the model and up to three levels above. What a recipe's digest belongs to is
// looked for there first, and checked. Those of strength 0 are left out. Errors: kUsage for a name that is not
// found (with those that are there), a tag that is none; kModel for the file, or another than the recipe's.
std::vector<JobLora> decide_loras(const Request& request, const Checkpoint& model, std::string& prompt,
                                  std::vector<std::string>& notes);

LoraUses uses_of(const std::vector<JobLora>& loras);

}  // namespace darkroom
