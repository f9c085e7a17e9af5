#include "pipeline/decide.h"

namespace darkroom {

Decision decide(const Request& request, const Checkpoint& model, const Machine& machine) {
  Decision decision{decide_values(request, model), {}};
  // With int8 products the blocks' weights are what they must be.
  const bool chooses = request.weights == "auto" && !decision.job.int8_group;
  decision.plan = chooses ? plan_with_best_weights(model, machine, decision.job)
                          : make_plan(model, decision.job, machine);
  return decision;
}

}  // namespace darkroom
