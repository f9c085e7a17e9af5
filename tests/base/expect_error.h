// Checks for the one error type: its code, what its message says, and that the message is one printable line.
#pragma once

#include <gtest/gtest.h>

#include <algorithm>
#include <functional>
#include <string>

#include "base/error.h"

namespace darkroom {

// Runs `work`, which must throw Error with this code and this text somewhere in the message.
inline void expect_error(ErrorCode code, const std::string& fragment, const std::function<void()>& work) {
  try {
    work();
    ADD_FAILURE() << "no error, expected one with: " << fragment;
  } catch (const Error& e) {
    const std::string message = e.what();
    EXPECT_EQ(static_cast<int>(e.code()), static_cast<int>(code)) << message;
    EXPECT_NE(message.find(fragment), std::string::npos)
        << "message: " << message << "\nexpected in it: " << fragment;
    EXPECT_TRUE(std::ranges::all_of(message, [](unsigned char c) { return c >= ' ' && c != 0x7F; }))
        << message;
    EXPECT_LT(message.size(), 2000u);
  }
}

}  // namespace darkroom
