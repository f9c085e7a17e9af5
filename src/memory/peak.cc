#include "memory/peak.h"

#include <sys/resource.h>

#include <algorithm>
#include <fstream>
#include <limits>
#include <string>

namespace darkroom::memory {

Resident resident() {
  Resident out;
  std::ifstream status("/proc/self/status");
  for (std::string key; (out.now == 0 || out.mark == 0) && status >> key;) {
    if (key == "VmHWM:") status >> out.mark;
    if (key == "VmRSS:") status >> out.now;
    status.ignore(std::numeric_limits<std::streamsize>::max(), '\n');
  }
  out.now *= 1024;
  out.mark *= 1024;
  struct rusage usage {};
  if (out.mark == 0 && ::getrusage(RUSAGE_SELF, &usage) == 0) {
    out.mark = static_cast<std::size_t>(usage.ru_maxrss) * 1024;
  }
  return out;
}

void PeakWatch::begin(Resident seen) {
  mark_ = seen.mark;
  peak_ = seen.now;
}

void PeakWatch::look(Resident seen) {
  peak_ = std::max(peak_, seen.now);
  if (seen.mark == mark_) return;
  peak_ = std::max(peak_, seen.mark);
  mark_ = 0;  // from now on the mark is of this stretch
}

}  // namespace darkroom::memory
