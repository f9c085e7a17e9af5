// The backends that pictures can be drawn on, by name. The C API and the tests get theirs here; the bench
// measures the cpu backend itself, and plans run on backends/dry_run.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "ops/backend.h"

namespace darkroom {

struct BackendOptions {
  std::string name = "cpu";  // "cpu" or "reference"
  std::string isa = "auto";  // cpu only: "auto" or a name of supported_isa_names()
  int threads = 0;           // 0: one per available processor
};

// Errors: kUsage for an unknown name or an instruction set that this processor lacks.
std::unique_ptr<Backend> make_backend(const BackendOptions& options);

// Instruction sets of the cpu backend that this processor can run, slowest first.
std::vector<std::string> supported_isa_names();

// What the processor calls itself.
std::string processor_name();

}  // namespace darkroom
