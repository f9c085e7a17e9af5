// The names that other programs give to the tensors of each part.
#pragma once

#include <cstdint>
#include <string_view>

#include "checkpoint/part.h"
#include "weights/spelling.h"

namespace darkroom {

enum class Names : uint8_t {
  kDiffusers,  // as diffusers and transformers spell them: the models' own
  kBfl,        // Black Forest Labs' own files, also ComfyUI's and city96's: transformer and VAE
  kLlama,      // llama.cpp's: T5
  kDistill,    // DistillT5's, an encoder inside a model
};

// "diffusers", "Black Forest Labs", "llama.cpp", "DistillT5".
std::string_view names_title(Names names);

// What a spelling must know of a model beside a parameter.
struct SpellingSizes {
  int64_t inner_dim = 0;   // of the transformer, whose q, k and v lie in one tensor
  int64_t vae_levels = 0;  // of the decoder, whose levels count the other way round
};

// How files with these names spell the parameters of a part.
Spelling spelling_of(Part part, Names names, const SpellingSizes& sizes);

}  // namespace darkroom
