// The tensors of the output: what each is called, what it is made of and how its numbers are stored.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "convert/part_source.h"
#include "weights/storage.h"

namespace darkroom {

// Rows of a parameter, which follow each other in a target.
struct Piece {
  const SourceTensor* source = nullptr;
  RowRange rows;  // of the parameter
};

struct Target {
  Part part = Part::kClip;
  StoredTensor weight;
  std::optional<StoredTensor> scale = {};  // f32, [] or [rows]
  bool converts = false;                   // otherwise its bytes are those of the pieces
  std::vector<Piece> pieces = {};
  const ExtraTensor* extra = nullptr;  // it is a copy of this; without it and without pieces, bytes are 0

  // "FILE: tensor 'NAME'" of the first thing that it is made of.
  std::string place() const;
  std::size_t bytes() const { return weight.bytes + (scale ? scale->bytes : 0); }
};

// How a part is written.
struct TargetStyle {
  Names names = Names::kDiffusers;
  bool own_names = false;  // instead, as the files spell them, with what darkroom does not use
  std::string prefix = {};
  bool gguf = false;
  bool comfy = false;  // scales of fp8 as ComfyUI has them: X.scale_weight, and a marker
  WeightStorage form = WeightStorage::kAsStored;  // of matrices
  // Whether kAsStored was asked for: what cannot be kept is refused. Otherwise it becomes bf16.
  bool strict = false;
};

// Sorted by name; they point into `source`. Matrices become what the style says, except sensitive ones (for
// bf16 and f16 these, too), for block types of GGUF also those of the final layer, and those whose rows are no
// whole blocks. What LoRAs are merged into keeps the type of its file as kAsStored. In a GGUF file all with one extent become f32. All else stays as it is stored; pieces of one
// tensor that differ in type become f32. Errors: kUsage, with the reason, for what the style cannot hold.
std::vector<Target> plan_targets(const PartSource& source, Part part, const TargetStyle& style,
                                 const SpellingSizes& sizes);

}  // namespace darkroom
