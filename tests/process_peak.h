// The kernel's mark of the process's largest resident set. A test program owns its process, so it may set the
// mark back; the library may not.
#pragma once

#include <fstream>

#include "memory/peak.h"

namespace darkroom {

inline void reset_peak() { std::ofstream("/proc/self/clear_refs") << "5"; }
inline std::size_t peak_bytes() { return memory::resident().mark; }

}  // namespace darkroom
