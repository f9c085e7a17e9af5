// A part's sizes from the shapes of its tensors, for files that have no config.
#pragma once

#include "checkpoint/recognise.h"
#include "models/clip/clip.h"
#include "models/flux/flux.h"
#include "models/t5/t5.h"
#include "models/vae/vae.h"

namespace darkroom {

// `catalog` holds the part's names without their prefix. What shapes do not say is FLUX.1's own: rotary axes
// in its proportions, CLIP-L's heads of 64, T5's distances, the VAE's scale and up to 32 norm groups. Errors:
// kModel, naming the file: a tensor is missing or has another rank, or the sizes are not those of a FLUX.1
// text-to-image model, which are named (Fill, Depth, a VAE of four channels).
clip::Config derive_clip(const Catalog& catalog, Names names);
t5::Config derive_t5(const Catalog& catalog, Names names);
flux::Config derive_transformer(const Catalog& catalog, Names names);
vae::Config derive_vae(const Catalog& catalog, Names names);

}  // namespace darkroom
