// What a job would cost, from running the models on the dry-run backend. Loads nothing.
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <vector>

#include "backends/dry_run/dry_run.h"
#include "checkpoint/checkpoint.h"
#include "memory/placement.h"
#include "ops/context.h"
#include "pipeline/phase.h"
#include "pipeline/request.h"

namespace darkroom {

// What one phase asked for.
struct DryRun {
  std::size_t activation_bytes = 0;  // the arena's peak
  Work work;
};

// A phase without its result: phases.h, bound to its inputs.
using PhaseWork = std::function<void(const Context& ctx, WeightSource& weights)>;

// Runs `work` without data on weights that are stored as `stored`, with the LoRAs on that part; block_levels
// as in StorageChoice.
DryRun dry_run(DType stored, DType precision, const PhaseWork& work, Part part = Part::kTransformer,
               const LoraUses& loras = {}, int32_t block_levels = 0);

struct PlannedPhase {
  Phase phase = Phase::kEncodeClip;
  std::size_t weight_bytes = 0;    // as they come into memory, all that the phase uses
  std::size_t resident_bytes = 0;  // of weights that stay in memory during the phase
  std::size_t slot_bytes = 0;      // of the slots that the others pass through
  std::size_t streamed_bytes = 0;  // read through the slots in every pass: once, or in every step of denoise
  std::size_t staging_bytes = 0;   // where weights are requantised: of one as it lies in the file
  std::size_t kept_bytes = 0;      // of the streamed, where a device draws: those that the host keeps
  std::size_t activation_bytes = 0;  // peak
  std::size_t host_bytes = 0;        // beside them: embeddings, latents and pictures, scratch of convolutions
  double flops = 0;
  bool assumed = false;  // the part's config is missing: FLUX.1's own sizes were taken
  // Where tensors lie, and what the host holds beside them; one memory or two.
  std::size_t tensor_bytes() const { return resident_bytes + slot_bytes + activation_bytes; }
  std::size_t beside_bytes() const { return staging_bytes + kept_bytes + host_bytes; }
  // The process itself comes on top.
  std::size_t peak_bytes() const { return tensor_bytes() + beside_bytes(); }
};

// What the program holds before it has read anything: code, libraries, configs, stacks. Measured: 6 to 7 MiB.
inline constexpr std::size_t kProgramBytes = std::size_t{7} << 20;

// What the transformer needs for a job, in two: until the modulation vectors are there, and from then on.
struct TransformerPlan {
  PlannedPhase modulation, denoise;
  memory::Placement blocks;
  std::vector<std::size_t> block_bytes;  // of each
  std::size_t least_block_bytes = 0;     // of the blocks in memory, when every one passes through one slot
};
// `weights` describes them, `stored` is the dtype of most; `limit` is what denoise may hold, all together,
// and `process_bytes` what of it is not the phase's own. Where no placement fits, the result is the least.
TransformerPlan plan_transformer(const ModelConfig& config, WeightSource& weights, DType stored,
                                 const Job& job, std::optional<std::size_t> limit, std::size_t process_bytes);

// What a plan must know of the machine that will run it.
struct Machine {
  std::optional<Backend::DeviceMemory> device = {};  // of a backend with memory of its own
  Backend::Workspace workspace = {};                 // of the backend
  std::filesystem::path root = "/";  // where the system says what is free: memory::available_bytes()
  std::size_t held_bytes = 0;        // by whoever draws, all the time
  int threads = 1;                   // of the backend; as many change weights as they are read
};
Machine machine_of(const Backend& backend);

struct Plan {
  std::vector<PlannedPhase> phases;  // in the order of the run
  std::size_t process_bytes = 0;  // of the program itself, in every phase: code, tokenizers, scratch memory
  // On a device with memory of its own the budget is of that memory, and the other one of the host's.
  bool on_device = false;
  std::optional<std::size_t> budget_bytes;  // given, or what is free; nothing where the system does not tell
  bool automatic = false;                   // the budget was not given
  std::optional<std::size_t> ram_budget_bytes;  // on_device only; given, or what is free
  bool ram_automatic = false;
  memory::Placement blocks;              // of the transformer, for denoise
  std::size_t least_block_bytes = 0;     // of its blocks in memory, when every one passes through one slot
  vae::StripPlan strips, encode_strips;  // of the decoder, and of the encoder of a source picture
  std::size_t scratch_bytes = 0;       // of the file that their pictures between stages lie in; 0: in memory
  bool decode_beside_denoise = false;  // of several pictures: the transformer stays while one is decoded

  const PlannedPhase& phase(Phase which) const;
  // What a phase by itself needs of the memory that the budget is of.
  std::size_t own_bytes(const PlannedPhase& phase) const;
  // With all that is there meanwhile: the process, and the transformer that stays.
  std::size_t phase_bytes(const PlannedPhase& phase) const;
  // The same of the largest phase.
  std::size_t peak_bytes() const;
  // On a device: what the largest phase needs of the host's memory, and which that is.
  std::size_t ram_bytes(const PlannedPhase& phase) const { return phase.beside_bytes() + process_bytes; }
  const PlannedPhase& largest_beside() const;
};

// Decides what stays in memory and what is streamed. Errors: those of the models for impossible shapes;
// kOutOfMemory when the budget cannot work, with the phase, its bytes and the smallest budget that would.
Plan make_plan(const Checkpoint& model, const Job& job, const Machine& machine);

// The same with the weights that serve the budget best, which it puts into the job, and says so in the job's
// notes: int8 where the transformer then stays in memory and as stored it would not, or where only int8 fits
// at all, else as stored. Errors: as make_plan().
Plan plan_with_best_weights(const Checkpoint& model, const Machine& machine, Job& job);

int64_t part_parameters(const Checkpoint& model, Part part);

// Parameters of a part, and its bytes as stored.
struct PartSize {
  int64_t parameters = 0;
  std::size_t bytes = 0;
};
PartSize part_size(const Checkpoint& model, Part part);

}  // namespace darkroom
