// Every op case on a user's own device, against the reference backend.
#pragma once

#include <atomic>
#include <cstddef>
#include <functional>
#include <nlohmann/json_fwd.hpp>
#include <string>

#include "ops/backend.h"

namespace darkroom {

struct SelfTestOptions {
  bool quick = false;                         // of most storages of weights only one case in four
  const std::atomic<bool>* cancel = nullptr;  // set from any thread to stop
  // If set, called before each case: the op, how many cases are behind, and how many there are. What it throws ends
  // the test.
  std::function<void(const std::string& op, std::size_t finished, std::size_t cases)> on_case = {};
};

// The result:
//   {"device", "driver", "class", "backend": what Backend::identity() and name() say,
//    "cases", "failed", "left_out": numbers, "seconds", "stopped": why the rest was not tried, or "",
//    "ops": [{"op", "cases", "worst", "seconds", "failed": [{"case", "error"}],
//             "left_out": [{"reason", "cases"}]}]}
// worst is the largest error of an op's cases as a fraction of the tolerance, above 1 for a wrong result, 1e30 for one
// that is no number; seconds are the device's, compilation of kernels included. Cases left out are not among `cases`.
// Errors: kCancelled between cases; kOutOfMemory where the device has no room for a test.
nlohmann::json run_self_test(Backend& backend, const SelfTestOptions& options = {});

}  // namespace darkroom
