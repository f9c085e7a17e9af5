// What to say when a part's result is not finite: which weight is to blame, or that it is none.
#pragma once

#include <atomic>
#include <string>

#include "checkpoint/checkpoint.h"

namespace darkroom {

// Reads all weights of the part (of the VAE those of the decoder, or of the encoder with `vae_encoder`); the
// numbers of LoRAs are checked when they are read. `what` is not finite: "the output of T5". Errors: kModel with
// the file and the tensor of the first weight that is not; kCancelled.
void check_weights(const Checkpoint& model, Part part, const std::string& what,
                   const std::atomic<bool>& cancel, bool vae_encoder = false);

}  // namespace darkroom
