#include "pipeline/finite.h"

#include "base/error.h"
#include "weights/check_finite.h"

namespace darkroom {

void check_weights(const Checkpoint& model, Part part, const std::string& what,
                   const std::atomic<bool>& cancel, bool vae_encoder) {
  const std::unique_ptr<WeightSource> source = model.open_weights(part);
  const VisitFn check = [&](const Param& param, Tensor&) {
    if (cancel.load(std::memory_order_relaxed)) fail(ErrorCode::kCancelled, "stopped on request");
    try {
      check_finite(*source, param);
    } catch (const Error& e) {
      fail(e.code(), "{}: {}; {} is not finite, either: the file is damaged, get it again",
           model.place_of(part, param), e.what(), what);
    }
  };
  if (vae_encoder) return model.visit_encoder(check);
  model.visit(part, check);
}

}  // namespace darkroom
