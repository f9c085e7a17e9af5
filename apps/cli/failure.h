// How a sub-command gives up: an exit code and one line. Thrown anywhere in the program, printed by main().
#pragma once

#include <fmt/format.h>

#include <exception>
#include <stdexcept>
#include <string>
#include <utility>

#include "darkroom/darkroom.h"

namespace cli {

class Failure : public std::runtime_error {
 public:
  Failure(darkroom_status status, const std::string& message)
      : std::runtime_error(message), status_(status) {}
  darkroom_status status() const { return status_; }

 private:
  darkroom_status status_;
};

// Throws Failure with a message in fmt syntax.
template <typename... Args>
[[noreturn]] void fail(darkroom_status status, fmt::format_string<Args...> format, Args&&... args) {
  throw Failure(status, fmt::format(format, std::forward<Args>(args)...));
}

// What callbacks of the C API throw, which must not pass through it.
class CallbackProblem {
 public:
  // Runs work() and returns what it does; 1, which stops the engine's call, when it throws or has thrown.
  template <typename Work>
  int guard(Work work) noexcept {
    try {
      if (!thrown_) return work();
    } catch (...) {
      thrown_ = std::current_exception();
    }
    return 1;
  }
  // After the call.
  void rethrow() const {
    if (thrown_) std::rethrow_exception(thrown_);
  }

 private:
  std::exception_ptr thrown_;
};

// What the library calls back for a Screen, which has `progress` and `problem`: its user pointer.
template <typename Event, typename Screen, void (*show)(Screen& screen, const Event& event)>
int show_event(const Event* event, void* user) {
  Screen& screen = *static_cast<Screen*>(user);
  return screen.problem.guard([&] {
    show(screen, *event);
    return 0;
  });
}
template <typename Screen>
void show_note(const char* text, void* user) {
  Screen& screen = *static_cast<Screen*>(user);
  screen.problem.guard([&] { return screen.progress.note(text), 0; });
}

}  // namespace cli
