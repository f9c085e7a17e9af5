// The backends that pictures can be drawn on, by name. The C API and the tests get theirs here; the bench
// opens devices itself, and plans run on backends/dry_run.
#pragma once

#include <filesystem>
#include <memory>
#include <string>
#include <vector>

#include "ops/backend.h"

namespace darkroom {

struct BackendOptions {
  // "cpu", "reference", or what VulkanOptions::device takes: "gpu", "gpu:N" or part of a device's name.
  std::string name = "cpu";
  std::string isa = "auto";                 // cpu only: "auto" or a name of supported_isa_names()
  int threads = 0;                          // cpu only; 0: one per available processor
  std::filesystem::path shader_cache = {};  // a folder for what drivers compile; empty: none
  // A card's kernels are compared with the reference first (checked.h), once where there is a folder for it.
  bool check_kernels = true;
};

// Errors: kUsage for an unknown name or an instruction set that this processor lacks; those of
// make_vulkan_backend() and make_checked_backend().
std::unique_ptr<Backend> make_backend(const BackendOptions& options);

// What "auto" comes to: "gpu" where there is a graphics card with memory of its own, else "cpu".
std::string automatic_backend();

// Instruction sets of the cpu backend that this processor can run, slowest first.
std::vector<std::string> supported_isa_names();

// What the processor calls itself.
std::string processor_name();

}  // namespace darkroom
