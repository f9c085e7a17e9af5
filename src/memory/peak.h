// The largest resident set of this process over a stretch of its life, found by looking only.
//
// The kernel's own mark (VmHWM) counts from the start of the process, and setting it back is the business of
// whoever owns the process, since every measurement in it would begin again. So a watch takes the mark where
// it has moved since begin(): up, the process holds more than ever before; down, its owner has set it back.
// Otherwise it takes the largest resident set that it saw when it looked.
#pragma once

#include <cstddef>

namespace darkroom::memory {

// What the process holds, now and at most, in bytes; 0 where the system does not say.
struct Resident {
  std::size_t now = 0, mark = 0;
};

Resident resident();

class PeakWatch {
 public:
  // Forgets what was seen, and looks.
  void begin() { begin(resident()); }
  void look() { look(resident()); }
  std::size_t bytes() const { return peak_; }

  // The same, with what was seen.
  void begin(Resident seen);
  void look(Resident seen);

 private:
  std::size_t mark_ = 0, peak_ = 0;
};

}  // namespace darkroom::memory
