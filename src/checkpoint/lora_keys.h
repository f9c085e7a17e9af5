// How the programs that train LoRAs name the modules of FLUX.1, and what they keep for each.
//
// Found forwards: for a parameter of a model this lists every name that its module may have, so no name has to
// be taken apart and underscores in place of dots are not ambiguous.
#pragma once

#include <cstdint>
#include <optional>
#include <string_view>
#include <vector>

#include "checkpoint/part.h"
#include "checkpoint/spellings.h"
#include "weights/spelling.h"

namespace darkroom {

// What a tensor of a module is.
enum class LoraPiece : uint8_t {
  kDown,      // [rank, in]
  kUp,        // [out, rank]
  kUpBias,    // [out], beside kUp
  kAlpha,     // a number; the difference is divided by the rank and multiplied by it
  kDiff,      // the difference of the weight itself
  kDiffBias,  // and of the bias
  kSet,       // what takes the weight's place
  kLokrW1,    // the difference is a Kronecker product w1 ⊗ w2, each whole or a product a·b
  kLokrW1A,
  kLokrW1B,
  kLokrW2,
  kLokrW2A,
  kLokrW2B,
  kLohaW1A,  // the difference is (w1a·w1b) ⊙ (w2a·w2b)
  kLohaW1B,
  kLohaW2A,
  kLohaW2B,
  kDora,    // magnitudes: not supported
  kTucker,  // a convolution's core: not supported
  kReshape  // other inputs than the model has: a control LoRA
};

// A tensor's name in two: "lora_unet_single_blocks_3_linear2" and kDown.
struct LoraKey {
  std::string_view module;
  LoraPiece piece;
};
// Nothing for a name that ends in no known way.
std::optional<LoraKey> split_lora_name(std::string_view name);

// The names that the parameter's module may have, and which rows of the module the parameter is.
std::vector<StoredPlace> lora_places(Part part, const Param& param, const SpellingSizes& sizes);

// Whose names these are, for people: "kohya", "diffusers", "ComfyUI", "XLabs", ...
std::string_view lora_style(std::string_view module);

// What a file is for whose modules belong to no FLUX.1: "Stable Diffusion XL"; empty where that is not known.
std::string_view other_lora_model(std::string_view module);

// Whether a module is one of the distilled guidance's, which schnell lacks.
bool is_guidance_module(std::string_view module);

}  // namespace darkroom
