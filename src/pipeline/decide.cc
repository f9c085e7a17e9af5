#include "pipeline/decide.h"

namespace darkroom {

Decision decide(const Request& request, const Checkpoint& model, const Machine& machine) {
  Decision decision{decide_values(request, model), {}};
  decision.plan = request.weights == "auto" ? plan_with_best_weights(model, machine, decision.job)
                                            : make_plan(model, decision.job, machine);
  return decision;
}

}  // namespace darkroom
