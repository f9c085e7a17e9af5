// Which files a model becomes in each layout, and where in them everything lies. Known before data is read.
#pragma once

#include <map>
#include <nlohmann/json_fwd.hpp>
#include <string>
#include <vector>

#include "checkpoint/tokenizers.h"
#include "convert/target.h"

namespace darkroom {

enum class Layout : uint8_t {
  kDiffusers,  // a folder of folders with configs
  kSingle,     // one safetensors file, as ComfyUI reads it
  kGguf,       // GGUF files of the transformer and T5, safetensors of the others
};

struct LayoutOptions {
  Layout layout = Layout::kDiffusers;
  std::vector<Part> parts;  // those that are written, in the order of kParts
  WeightStorage weights = WeightStorage::kAsStored, text_weights = WeightStorage::kAsStored;
  bool strict_weights = false, strict_text_weights = false;  // see TargetStyle::strict
  std::size_t shard_bytes = 0;                               // diffusers only

  // Whether the output is one file.
  bool one_file() const {
    return layout == Layout::kSingle || (layout == Layout::kGguf && parts.size() == 1);
  }
};

// Errors: kUsage for kinds of weights that the layout's files do not have, and for GGUF of CLIP or VAE alone.
void check_layout(const LayoutOptions& options);

// How a part is written.
TargetStyle style_of(const Checkpoint& model, const LayoutOptions& options, Part part);

struct PlannedFile {
  std::string name;             // "transformer/diffusion_pytorch_model-00001-of-00003.safetensors"
  std::vector<Target> targets;  // parts in their order, each in the order of its data
  std::string head = {};        // what the file begins with
  std::size_t data_bytes = 0;   // of tensors
  std::size_t bytes = 0;        // of the file
};

// The files of these targets, for all parts that are written. What shapes do not tell goes into the metadata of
// files of other layouts than diffusers', under kConfigKey: `about` has the fields of each part. GGUF files of T5 get its tokenizer as fields. Errors: kUsage
// when there would be more files than can be read, or a format cannot hold a tensor.
std::vector<PlannedFile> plan_files(const Checkpoint& model, const LayoutOptions& options,
                                    std::map<Part, std::vector<Target>> targets,
                                    const std::map<Part, nlohmann::json>& about,
                                    const TokenizerTexts& t5_tokenizer);

// NAME.safetensors.index.json of the parts that lie in several files, by its place in the folder.
std::map<std::string, std::string> index_files(const std::vector<PlannedFile>& files);

}  // namespace darkroom
