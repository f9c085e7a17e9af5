// The version of the library, as metadata and --version say it. CMakeLists.txt holds the number.
#pragma once

namespace darkroom {

inline constexpr const char* kVersion = DARKROOM_VERSION;

}  // namespace darkroom
