// A few cases of each family of kernels, within a second or two on a card: whether a driver computes what it should at
// all. Drivers have miscompiled kernels, and what is drawn then is garbage.
#pragma once

#include <string>

#include "ops/backend.h"

namespace darkroom {

struct KernelVerdict {
  std::string wrong;    // the first case that went wrong and how; empty if none did
  bool lasting = true;  // it would come out the same again; not of a device that was lost
};

// Compares with the reference, in the class of kernels that the backend has. Errors: kOutOfMemory.
KernelVerdict check_kernels(Backend& backend);

}  // namespace darkroom
