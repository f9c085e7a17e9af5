#include "pipeline/decide.h"

namespace darkroom {

Decision decide(const Request& request, const Checkpoint& model, const Machine& machine) {
  Decision decision{decide_values(request, model), {}};
  require(!machine.device || !decision.job.int8_attention, ErrorCode::kUsage,
          "attention int8 is for the cpu; leave it out on a graphics card");
  // With int8 products the blocks' weights are what they must be.
  const bool chooses = request.weights == "auto" && !decision.job.int8;
  decision.plan = chooses ? plan_with_best_weights(model, machine, decision.job)
                          : make_plan(model, decision.job, machine);
  return decision;
}

}  // namespace darkroom
