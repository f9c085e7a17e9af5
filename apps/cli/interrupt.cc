#include "interrupt.h"

#include <signal.h>

#include <atomic>

#include "failure.h"

namespace cli {
namespace {

// A signal handler reaches nothing but globals.
std::atomic<darkroom_engine*> g_engine{nullptr};
std::atomic<bool> g_interrupted{false};

static_assert(std::atomic<darkroom_engine*>::is_always_lock_free && std::atomic<bool>::is_always_lock_free,
              "the handler must be async-signal-safe");

void on_signal(int) {
  g_interrupted = true;
  if (darkroom_engine* engine = g_engine.load()) darkroom_cancel(engine);
}

}  // namespace

void install_interrupt_handlers() {
  struct sigaction action {};
  action.sa_handler = on_signal;
  action.sa_flags = static_cast<int>(SA_RESETHAND | SA_RESTART);
  sigemptyset(&action.sa_mask);
  for (const int number : {SIGINT, SIGTERM}) {
    struct sigaction old {};
    // A process started with the signal ignored (nohup, a background job of a script) keeps ignoring it.
    if (sigaction(number, nullptr, &old) == 0 && old.sa_handler == SIG_IGN) continue;
    sigaction(number, &action, nullptr);
  }
}

void interrupt_cancels(darkroom_engine* engine) { g_engine = engine; }

bool interrupted() { return g_interrupted; }

void stop_if_interrupted() {
  if (interrupted()) throw Failure(DARKROOM_CANCELLED, "stopped on request");
}

}  // namespace cli
