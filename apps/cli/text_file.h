// Small files that hold text: prompts, schedules.
#pragma once

#include <cstddef>
#include <string>

namespace cli {

// The whole file, or standard input for "-", without a byte order mark at its start and a line end at its
// end. Throws Failure (DARKROOM_USAGE), `flag` and path in front, when it cannot be read, is UTF-16 or
// UTF-32, or is longer than max_bytes.
std::string read_text_file(const std::string& flag, const std::string& path, std::size_t max_bytes);

}  // namespace cli
