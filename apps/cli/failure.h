// How a sub-command gives up: an exit code and one line. Thrown anywhere in the program, printed by main().
#pragma once

#include <fmt/format.h>

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

}  // namespace cli
