// What denoising holds on the heap beside what is planned, under each sampler and way of guidance.
#include "pipeline/host_bytes.h"

#include <gtest/gtest.h>
#include <malloc.h>

#include <atomic>
#include <cstdlib>
#include <new>

#include "backends/registry.h"
#include "pipeline/phases.h"
#include "pipeline/plan.h"

namespace {

// The bytes of this whole program.
std::atomic<std::size_t> held{0}, most{0};

}  // namespace

// Not inlined, or GCC takes malloc and free for mismatched.
[[gnu::noinline]] void* operator new(std::size_t bytes) {
  void* memory = std::malloc(bytes ? bytes : 1);
  if (!memory) throw std::bad_alloc();
  const std::size_t now = held += malloc_usable_size(memory);
  if (now > most) most = now;
  return memory;
}
[[gnu::noinline]] void operator delete(void* memory) noexcept {
  held -= memory ? malloc_usable_size(memory) : 0;
  std::free(memory);
}
[[gnu::noinline]] void operator delete(void* memory, std::size_t) noexcept { operator delete(memory); }

namespace darkroom {
namespace {

struct Way {
  const char *sampler, *cfg_method = nullptr, *threshold = "off";
};

TEST(HostBytes, OfDenoisingAreThoseOfTheRun) {
  const Checkpoint model = Checkpoint::dummy("tiny");
  const auto backend = make_backend({.name = "cpu", .isa = "auto", .threads = 1});
  for (const Way& way :
       {Way{"euler"}, Way{"heun"}, Way{"dpm++2m"}, Way{"ipndm"}, Way{"euler-a"}, Way{"euler", "plain"},
        Way{"heun", "plain"}, Way{"ipndm", "plain"}, Way{"euler", "rescale"}, Way{"euler", "zero-star"},
        Way{"euler", "apg:0,-0.5"}, Way{"heun", "plain", "99"}}) {
    SCOPED_TRACE(fmt::format("{} {} {}", way.sampler, way.cfg_method ? way.cfg_method : "-", way.threshold));
    Request request;
    request.width = request.height = 512;
    request.steps = 4;
    request.sampler = way.sampler;
    request.threshold = way.threshold;
    if (way.cfg_method) {
      request.cfg = 4;
      request.negative = "";
      request.cfg_method = way.cfg_method;
    }
    const Job job = decide_values(request, model);
    const Plan plan = make_plan(model, job, machine_of(*backend));
    const flux::Config& config = model.config().transformer;
    const Conditioning prompt{
        std::vector<float>(static_cast<std::size_t>(config.pooled_projection_dim), 0.5f),
        std::vector<float>(static_cast<std::size_t>(job.max_text_tokens * config.joint_attention_dim), 0.5f)};
    const std::vector<Conditioning> prompts(job.true_cfg ? 2 : 1, prompt);
    const Buffer memory(plan.phase(Phase::kDenoise).activation_bytes);
    Arena arena(memory);
    const Context ctx{*backend, arena, job.precision};
    const auto weights = model.open_weights(Part::kTransformer);
    DenoisePhase denoiser(ctx, model.config(), *weights, job, prompts, &plan.blocks);
    const std::size_t before = held;
    most = before;
    denoiser.run(std::vector<float>(static_cast<std::size_t>(job.image_tokens() * config.in_channels), 0.5f),
                 {}, {.randn = torch_randn(job.noise, 1)});
    const double real = static_cast<double>(most - before),
                 planned = static_cast<double>(host_bytes(Phase::kDenoise, model.config(), job, {}));
    EXPECT_LE(real, 1.05 * planned);
    EXPECT_GE(real, 0.6 * planned) << "at least what is held all the time";
  }
}

}  // namespace
}  // namespace darkroom
