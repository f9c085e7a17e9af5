// What decide_values() says of a request that it refuses.
#pragma once

#include <gtest/gtest.h>

#include <string>

#include "pipeline/request.h"

namespace darkroom {

inline std::string refusal(const Request& request, const Checkpoint& model) {
  try {
    decide_values(request, model);
    return "accepted";
  } catch (const Error& e) {
    EXPECT_EQ(e.code(), ErrorCode::kUsage);
    return e.what();
  }
}

}  // namespace darkroom
