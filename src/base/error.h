// The one error type of the library: what went wrong, where, both numbers, and what to do about it.
//
// Library code throws Error and never prints, aborts or exits. The C API (src/api) turns it
// into a status code.
#pragma once

#include <fmt/format.h>

#include <stdexcept>
#include <string>
#include <utility>

namespace darkroom {

// Values are the exit codes of the command line and the status codes of the C API.
enum class ErrorCode {
  kFailure = 1,      // anything that has no class of its own
  kUsage = 2,        // the request is wrong: a size, a name, an option
  kModel = 3,        // a model file is missing, truncated, inconsistent or of an unknown kind
  kOutOfMemory = 4,  // the work does not fit; the message says the smallest memory that would
  kOutput = 5,       // a result could not be written
  kDevice = 6,       // a graphics card failed
  kCancelled = 130,  // the caller asked to stop
};

class Error : public std::runtime_error {
 public:
  Error(ErrorCode code, const std::string& message) : std::runtime_error(message), code_(code) {}
  ErrorCode code() const { return code_; }

 private:
  ErrorCode code_;
};

// Throws Error(code) with a message in fmt syntax: fail(ErrorCode::kModel, "{}: {} bytes,
// expected {}", path, n, m).
template <typename... Args>
[[noreturn]] void fail(ErrorCode code, fmt::format_string<Args...> format, Args&&... args) {
  throw Error(code, fmt::format(format, std::forward<Args>(args)...));
}

// Throws like fail() unless `condition` holds. The text is made only then, but C++ evaluates arguments
// always: in code that runs often pass what fmt can format (a Shape, a Tensor), not a string made from it.
template <typename... Args>
void require(bool condition, ErrorCode code, fmt::format_string<Args...> format, Args&&... args) {
  if (!condition) [[unlikely]]
    fail(code, format, std::forward<Args>(args)...);
}

}  // namespace darkroom
