// What a job would cost, from running the models on the dry-run backend. Loads nothing.
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <string>
#include <vector>

#include "backends/dry_run/dry_run.h"
#include "ops/context.h"
#include "pipeline/model.h"
#include "pipeline/request.h"

namespace darkroom {

// What one phase asked for.
struct DryRun {
  std::size_t activation_bytes = 0;  // the arena's peak
  Work work;
};

// A phase without its result: phases.h, bound to its inputs.
using PhaseWork = std::function<void(const Context& ctx, WeightSource& weights)>;

// Runs `work` without data on weights of the part's stored dtype.
DryRun dry_run(const Model& model, Part part, DType precision, const PhaseWork& work);

struct PlannedPhase {
  std::string name;                  // "clip", "t5", "modulation", "denoise", "vae"
  std::size_t weight_bytes = 0;      // as stored in the files, all that the phase reads
  std::size_t activation_bytes = 0;  // peak
  double flops = 0;
  bool assumed = false;  // the part's config is missing: FLUX.1's own sizes were taken
  std::size_t peak_bytes() const { return weight_bytes + activation_bytes; }
};

struct Plan {
  std::vector<PlannedPhase> phases;
  std::size_t peak_bytes() const;
};

// Errors: those of the models for impossible shapes.
Plan make_plan(const Model& model, const Job& job);

// Parameters of a part, and its bytes as stored.
struct PartSize {
  int64_t parameters = 0;
  std::size_t bytes = 0;
};
PartSize part_size(const Model& model, Part part);

}  // namespace darkroom
