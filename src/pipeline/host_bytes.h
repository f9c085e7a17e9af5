// What a run keeps on the host beside weights and activations: the one place that adds it up.
#pragma once

#include <cstddef>

#include "ops/backend.h"
#include "pipeline/phase.h"
#include "pipeline/request.h"

namespace darkroom {

// Bytes in `phase`: embeddings, latents, pictures, and scratch memory of convolutions. See Run in pipeline.cc
// and the functions in phases.h for who holds them.
std::size_t host_bytes(Phase phase, const ModelConfig& config, const Job& job,
                       const Backend::Workspace& workspace);

}  // namespace darkroom
