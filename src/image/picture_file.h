// Reading a picture file whole, and giving what goes wrong with a picture its class of error.
//
// src/base reports bad files as kModel, which for a picture would be the wrong exit code. Used
// inside this room only.
#pragma once

#include <filesystem>
#include <string>

#include "base/error.h"

namespace darkroom {

// The bytes of a picture file, at most 256 MiB. Errors: kFailure.
std::string read_picture_file(const std::filesystem::path& path);

// Runs `work` and returns its result; an Error of any code becomes kFailure with the same message.
template <typename Work>
auto with_picture_errors(const Work& work) {
  try {
    return work();
  } catch (const Error& error) {
    throw Error(ErrorCode::kFailure, error.what());
  }
}

}  // namespace darkroom
