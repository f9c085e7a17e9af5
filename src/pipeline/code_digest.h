// Which code this library was built from: what it computed may be kept for as long as this is the same.
#pragma once

namespace darkroom {

// SHA-256 over all sources of the library and the compiler's name and flags, 64 digits; made by
// cmake/code_digest.cmake when anything under src/ changes.
extern const char* const kCodeDigest;

}  // namespace darkroom
