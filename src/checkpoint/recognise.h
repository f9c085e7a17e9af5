// What a file of tensors is, by what it holds: its name says nothing.
#pragma once

#include <string>
#include <vector>

#include "checkpoint/part.h"
#include "checkpoint/spellings.h"
#include "weights/catalog.h"

namespace darkroom {

// A part of FLUX.1 that lies in a catalog.
struct FoundPart {
  Part part = Part::kTransformer;
  std::string prefix = {};  // before each of its names: "model.diffusion_model."
  Names names = Names::kDiffusers;
};

struct Contents {
  std::vector<FoundPart> parts;  // each at most once
  // What it is instead, and what to do: "a LoRA; give it with --lora". Empty when a part was found, or when
  // nothing is known.
  std::string other;
};

// By names and shapes only; no data is read.
Contents recognise(const Catalog& catalog);

// The part of that kind. Errors: kModel, naming the file and what it holds instead.
FoundPart require_part(const Catalog& catalog, Part part);

}  // namespace darkroom
