// From a request to all that a run needs: the job and its plan, with nothing left to settle.
#pragma once

#include "pipeline/plan.h"
#include "pipeline/request.h"

namespace darkroom {

struct Decision {
  Job job;
  Plan plan;
};

// Decides every value and what of the model stays in memory. Of a picture to start from only the header is
// read. Errors: those of decide_values() and make_plan().
Decision decide(const Request& request, const Checkpoint& model, const Machine& machine);

}  // namespace darkroom
