#include "backends/vulkan/probe.h"

#include <algorithm>
#include <chrono>
#include <cstring>

#include "backends/vulkan/backend.h"
#include "backends/vulkan/tensors.h"

namespace darkroom {
namespace vulkan {
namespace {

constexpr uint32_t kThreads = 256, kChains = 16, kStepsInRound = 8;  // of shaders/chains.glsl
constexpr uint32_t kGroups = 4096;                                   // several times what any card holds
constexpr uint32_t kVectorsOfThread = 4;                             // of shaders/copy.comp, of 16 bytes
constexpr std::size_t kMostCopied = std::size_t{256} << 20;          // larger than caches
constexpr std::size_t kMostTransferred = std::size_t{64} << 20;

double now() {
  return std::chrono::duration<double>(std::chrono::steady_clock::now().time_since_epoch()).count();
}

// How many units of work take long enough that a submit's own microseconds do not count, kept between calls.
struct Amount {
  uint32_t units = 1;
};

// The best rate of run(units), each unit as much as `work`.
template <typename Run>
double best_rate(double seconds, Amount& amount, double work, Run run) {
  constexpr uint32_t kMost = 1u << 16;
  const double end = now() + seconds;
  double best = 0;
  do {
    const double start = now();
    run(amount.units);
    const double took = std::max(now() - start, 1e-9);
    best = std::max(best, work * amount.units / took);
    if (took < seconds / 8 && amount.units < kMost) amount.units *= 2;
    if (took > seconds && amount.units > 1) amount.units /= 2;
  } while (now() < end);
  return 1e-9 * best;
}

}  // namespace
}  // namespace vulkan

using namespace vulkan;  // of this file: what the state is made of

struct VulkanProbe::State {
  explicit State(const VulkanOptions& options) : core(open_core(options)), backend(make_backend(core)) {}

  void finish() { core->recorder.wait(core->recorder.mark()); }
  double chains(Shader shader, double operations, Amount& amount, double seconds);
  void copy(std::size_t bytes);
  std::size_t copied_bytes() const;

  std::shared_ptr<Core> core;
  std::unique_ptr<Backend> backend;
  std::unique_ptr<Memory> results, from, to, moved;
  Amount fma, dot, copies, uploads, downloads;
};

double VulkanProbe::State::chains(Shader shader, double operations, Amount& amount, double seconds) {
  if (!results) results = backend->allocate(kGroups * kThreads * sizeof(float));
  const double round = operations * kGroups * kThreads * kChains * kStepsInRound;
  return best_rate(seconds, amount, round, [&](uint32_t rounds) {
    core->recorder.dispatch({.shader = shader,
                             .bindings = {{results->data(), results->size(), Access::kWrite}},
                             .push = push_of(rounds),
                             .groups = {kGroups, 1, 1},
                             .work = round * rounds});
    finish();
  });
}

std::size_t VulkanProbe::State::copied_bytes() const {
  const std::size_t unit = kThreads * kVectorsOfThread * 16,
                    most = core->device.info().is_cpu() ? 32 << 20 : kMostCopied;
  return std::min(most, core->recorder.max_binding()) / unit * unit;
}

void VulkanProbe::State::copy(std::size_t bytes) {
  const uint32_t vectors = static_cast<uint32_t>(bytes / 16);
  core->recorder.dispatch(
      {.shader = Shader::kCopy,
       .bindings = {{from->data(), bytes, Access::kRead}, {to->data(), bytes, Access::kWrite}},
       .push = push_of(vectors),
       .groups = grid_of(vectors / (kThreads * kVectorsOfThread)),
       .work = static_cast<double>(vectors)});
}

VulkanProbe::VulkanProbe(const VulkanOptions& options) : state_(std::make_unique<State>(options)) {}
VulkanProbe::~VulkanProbe() = default;

Backend& VulkanProbe::backend() const { return *state_->backend; }

VulkanDevice VulkanProbe::device() const {
  return describe(state_->core->instance, state_->core->device.info());
}

VulkanCounts VulkanProbe::counts() const {
  const RecorderCounts counts = state_->core->recorder.counts();
  return {counts.dispatches, counts.barriers, counts.submits};
}

double VulkanProbe::f32_gflops(double seconds) {
  return state_->chains(Shader::kChainsFma, 2, state_->fma, seconds);
}

std::optional<double> VulkanProbe::dot_gops(double seconds) {
  if (!state_->core->device.info().fast_dot_product) return std::nullopt;
  return state_->chains(Shader::kChainsDot, 8, state_->dot, seconds);
}

double VulkanProbe::copy_gbps(double seconds) {
  const std::size_t bytes = state_->copied_bytes();
  if (!state_->from) {
    state_->from = state_->backend->allocate(bytes);
    state_->to = state_->backend->allocate(bytes);
  }
  return best_rate(seconds, state_->copies, 2 * static_cast<double>(bytes), [&](uint32_t times) {
    for (uint32_t i = 0; i < times; ++i) state_->copy(bytes);
    state_->finish();
  });
}

double VulkanProbe::upload_gbps(double seconds) {
  const std::vector<std::byte> host(kMostTransferred, std::byte{1});
  if (!state_->moved) state_->moved = state_->backend->allocate(host.size());
  return best_rate(seconds, state_->uploads, static_cast<double>(host.size()), [&](uint32_t times) {
    for (uint32_t i = 0; i < times; ++i) {
      state_->backend->fill(state_->moved->data(), host.size(), [&](std::span<std::byte> place) {
        std::memcpy(place.data(), host.data(), place.size());
      });
    }
  });
}

double VulkanProbe::download_gbps(double seconds) {
  std::vector<std::byte> host(kMostTransferred);
  if (!state_->moved) state_->moved = state_->backend->allocate(host.size());
  return best_rate(seconds, state_->downloads, static_cast<double>(host.size()), [&](uint32_t times) {
    for (uint32_t i = 0; i < times; ++i) {
      state_->backend->look_at(state_->moved->data(), host.size(), [&](std::span<const std::byte> bytes) {
        std::memcpy(host.data(), bytes.data(), bytes.size());
      });
    }
  });
}

void VulkanProbe::release_memory() {
  state_->from.reset();
  state_->to.reset();
  state_->moved.reset();
}

}  // namespace darkroom
