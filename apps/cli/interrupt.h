// Ctrl-C. SIGINT, SIGTERM and SIGHUP end the program with exit code 130: at once, whatever it waits for, or
// where that would leave half a file, through the engine. A second signal kills.
#pragma once

#include "darkroom/darkroom.h"

namespace cli {

// Call once, from main(). A signal that is ignored at the start (nohup, a script's background job) stays so.
void install_interrupt_handlers();

// While one lives, a signal cancels what the engine does instead of ending the program. One at a time.
class CancelOnInterrupt {
 public:
  explicit CancelOnInterrupt(darkroom_engine* engine);
  ~CancelOnInterrupt();
  CancelOnInterrupt(const CancelOnInterrupt&) = delete;
  CancelOnInterrupt& operator=(const CancelOnInterrupt&) = delete;
};

// While one lives, a signal waits. For a moment that must not be cut in two.
class InterruptWaits {
 public:
  InterruptWaits();
  ~InterruptWaits();
  InterruptWaits(const InterruptWaits&) = delete;
  InterruptWaits& operator=(const InterruptWaits&) = delete;
};

bool interrupted();
// Throws Failure (DARKROOM_CANCELLED) if a signal has come.
void stop_if_interrupted();

// The status of call(), a call of the engine that darkroom_cancel() stops.
template <typename Call>
darkroom_status cancellable(darkroom_engine* engine, Call call) {
  const CancelOnInterrupt cancel(engine);
  return call();
}

}  // namespace cli
