// Ctrl-C. The first SIGINT or SIGTERM asks the engine to stop; the second of its kind kills the process.
#pragma once

#include "darkroom/darkroom.h"

namespace cli {

// Call once, from main().
void install_interrupt_handlers();

// The engine that a signal cancels; nullptr for none.
void interrupt_cancels(darkroom_engine* engine);

// Throws Failure (DARKROOM_CANCELLED) if a signal has come. For between two calls of the engine, where
// darkroom_cancel() does nothing.
void stop_if_interrupted();
bool interrupted();

}  // namespace cli
