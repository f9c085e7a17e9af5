// The files of one part: which tensor goes into which, what their headers say, and the writing of them.
#pragma once

#include <string>
#include <vector>

#include "base/new_folder.h"
#include "convert/requantize.h"

namespace darkroom {

struct Shard {
  std::string name;                // "diffusion_pytorch_model-00001-of-00003.safetensors"
  std::vector<Converted> tensors;  // in the order of their data
  std::string head;                // what the file begins with
  std::size_t data_bytes = 0;

  std::size_t bytes() const { return head.size() + data_bytes; }
};

// Known before any data is read.
struct PartPlan {
  Part part = Part::kClip;
  std::vector<SourceTensor> tensors;  // what the shards point to
  std::vector<Shard> shards;

  std::size_t data_bytes() const;
  std::size_t bytes() const;
};

// `form`: as plan_tensor(), but fp8 and int8 leave the transformer's embedders as they are stored. Fills one
// file after the other, in the order of names, with at most shard_bytes of tensors, or one tensor that is
// larger. A scale lies in the file of its matrix. Names are those that diffusers and transformers look for.
// Errors: as list_tensors() and plan_tensor(); kUsage when there would be more files than can be read.
PartPlan plan_part(Part part, std::vector<SourceTensor> tensors, WeightStorage form, std::size_t shard_bytes);

// Writes the files, and the index if there are several. Errors: as Requantizer::write().
void write_part(const PartPlan& plan, Requantizer& requantizer, NewFolder& folder);

}  // namespace darkroom
