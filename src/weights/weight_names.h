// What the name of a weight file says, in the spellings of diffusers and transformers: which kind of file it
// is, of which variant, and in which order the files of a folder are looked at.
#pragma once

#include <compare>
#include <filesystem>
#include <optional>
#include <string>
#include <string_view>

namespace darkroom {

struct WeightName {
  std::string name;           // of the file
  std::string base;           // "diffusion_pytorch_model"
  std::string variant;        // "fp16"; empty for none
  bool index = false;         // NAME.safetensors.index.json
  int shard = 0, shards = 0;  // 2 and 3 for NAME-00002-of-00003.safetensors; 0 for a whole file

  bool is_shard() const { return shards > 1; }
  // The name of another file of the same base and variant.
  std::string shard_name(int number) const;
  std::string index_name() const;
};

// Nothing for a name that is neither NAME.safetensors nor NAME.safetensors.index.json, in which a variant may
// stand at any place ("model.fp16.safetensors", "model.safetensors.index.fp16.json"), or that is hidden.
std::optional<WeightName> parse_weight_name(std::string_view name);

// Whoever reads a folder looks for these first. A text encoder's belongs to transformers: model.safetensors,
// then its index. Every other one belongs to diffusers: the index of diffusion_pytorch_model, then the file.
// After the plain files come variants, fp16 before bf16; in the end names of other programs.
struct WeightRank {
  bool unusual =
      false;  // another name, or a variant that is not known: two of them are a choice that nobody can make
  int variant = 0;
  int base = 0;
  bool second_form = false;  // the file where the index comes first, or the index where the file does
  auto operator<=>(const WeightRank&) const = default;
};
WeightRank rank_of(const WeightName& name, const std::filesystem::path& folder);

}  // namespace darkroom
