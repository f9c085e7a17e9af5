// All of FLUX.1 dev under a budget: every phase's real peak beside the planned one. Minutes, so
// outside of `make test`.
#include <gtest/gtest.h>

#include <atomic>
#include <map>

#include "backends/registry.h"
#include "pipeline/pipeline.h"
#include "pipeline/plan.h"
#include "process_peak.h"

namespace darkroom {
namespace {

TEST(PlanIsRealityAtFullSize, EveryPhaseOfDevWithinTwoGibibytes) {
  const Checkpoint model = Checkpoint::dummy("dev");
  const auto backend = make_backend({.name = "cpu", .isa = "auto", .threads = 2});
  Request request;
  request.prompt = "anything";
  request.width = request.height = 64;
  request.steps = 1;
  request.max_text_tokens = 8;
  request.seed = 1;
  request.budget = "2GiB";
  const std::atomic<bool> cancel{false};
  std::map<Phase, std::pair<double, double>> peaks;  // real, planned
  Listeners listeners;
  listeners.on_progress = [&](const Progress& p) {
    if (p.step == 0 && p.block == 0 && !p.finished) reset_peak();  // the first event of a phase
    if (!p.finished) return;
    peaks[p.phase] = {static_cast<double>(p.phase_peak_bytes), static_cast<double>(p.planned_bytes)};
  };
  listeners.on_picture = [](const Picture&) {};  // so that one is decoded
  generate(model, *backend, decide(request, model, machine_of(*backend)), listeners, cancel);
  ASSERT_EQ(peaks.size(), 4u);
  for (const auto& [phase, bytes] : peaks) {
    const auto [real, planned] = bytes;
    EXPECT_LE(real, 0x1p31);
    EXPECT_NEAR(real / planned, 1, 0.05) << static_cast<int>(phase) << ": " << real << " of " << planned;
  }
  EXPECT_GE(peaks[Phase::kDenoise].first, 1.5 * 0x1p30);
}

}  // namespace
}  // namespace darkroom
