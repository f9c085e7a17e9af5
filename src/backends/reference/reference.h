// The oracle: every op as the plainest loops in f32 that follow the formulas of ops/backend.h.
//
// Slow on purpose and single-threaded. Tests hold the other backends against it.
#pragma once

#include <memory>

#include "ops/backend.h"

namespace darkroom {

std::unique_ptr<Backend> make_reference_backend();

}  // namespace darkroom
