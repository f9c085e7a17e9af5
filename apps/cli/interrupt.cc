#include "interrupt.h"

#include <signal.h>
#include <time.h>
#include <unistd.h>

#include <atomic>
#include <cerrno>
#include <cstdint>

#include "failure.h"
#include "streams.h"

namespace cli {
namespace {

// A signal handler reaches nothing but globals.
std::atomic<darkroom_engine*> g_engine{nullptr};
std::atomic<int64_t> g_first_ms{0};  // when the first signal came; 0: none has
std::atomic<bool> g_waits{false};

static_assert(std::atomic<darkroom_engine*>::is_always_lock_free && std::atomic<bool>::is_always_lock_free &&
                  std::atomic<int64_t>::is_always_lock_free,
              "the handler must be async-signal-safe");

constexpr int kSignals[] = {SIGINT, SIGTERM, SIGHUP};
// timeout(1) sends its signal twice, to the process and to its group: that is one request.
constexpr int64_t kSameRequestMs = 100;

int64_t now_ms() {
  timespec now{};
  clock_gettime(CLOCK_MONOTONIC, &now);
  return int64_t{now.tv_sec} * 1000 + now.tv_nsec / 1'000'000 + 1;  // never 0
}

// Not exit(): other threads may hold any lock.
[[noreturn]] void leave() {
  streams::write_error_from_handler("darkroom: stopped on request\n");
  _exit(DARKROOM_CANCELLED);
}

void on_signal(int number) {
  const int error = errno;
  int64_t first = 0;
  if (g_first_ms.compare_exchange_strong(first, now_ms())) {
    if (darkroom_engine* engine = g_engine.load()) {
      darkroom_cancel(engine);
    } else if (!g_waits) {
      leave();
    }
  } else if (now_ms() - first > kSameRequestMs) {
    signal(number, SIG_DFL);
    raise(number);  // comes when the handler returns
  }
  errno = error;
}

}  // namespace

void install_interrupt_handlers() {
  struct sigaction action {};
  action.sa_handler = on_signal;
  action.sa_flags = SA_RESTART;
  sigemptyset(&action.sa_mask);
  for (const int number : kSignals) sigaddset(&action.sa_mask, number);
  for (const int number : kSignals) {
    struct sigaction old {};
    if (sigaction(number, nullptr, &old) == 0 && old.sa_handler == SIG_IGN) continue;
    sigaction(number, &action, nullptr);
  }
}

CancelOnInterrupt::CancelOnInterrupt(darkroom_engine* engine) { g_engine = engine; }

CancelOnInterrupt::~CancelOnInterrupt() { g_engine = nullptr; }

InterruptWaits::InterruptWaits() { g_waits = true; }

InterruptWaits::~InterruptWaits() {
  g_waits = false;
  if (interrupted()) leave();
}

bool interrupted() { return g_first_ms != 0; }

void stop_if_interrupted() {
  if (interrupted()) throw Failure(DARKROOM_CANCELLED, "stopped on request");
}

}  // namespace cli
