// The bench: what this machine reaches at best, then how much of that darkroom's ops, blocks
// and decoder reach.
//
// It measures the cpu backend, or a graphics card, through ops/ops.h and models/, on random numbers in the shapes of FLUX.1. With
// a budget it also runs steps of the transformer as `generate` would within that much memory, weights that
// are read again in every step included. It checks no results (the tests do) and reads no files but those of
// a model that is to be run under a budget.
//
// Method. Processors shared with neighbours drift, so a rate means nothing beside an old ceiling:
//   - Before the first run of a row and after each of its runs, the ceilings that bound the row are probed,
//     for some tens of milliseconds; the best few of them count.
//   - A run's ideal time is its work at those ceilings: FLOPs at the rate of the arithmetic that the backend
//     uses for them, or bytes at the rate of reading, whichever takes longer. Of the two probes before a run
//     and the two after it the highest counts, since neighbours can only make a probe slower.
//   - A row reports its fastest run, and as `fraction` that run's ideal time over its time.
//   - A row has at least three runs, and more while they are short. Rows whose single run takes many seconds
//     stop earlier (plan.h, Pace). What does not fit the whole bench's time is left out with a note.
//   - Rows bound by memory go through several sets of operands in each run, more than caches hold.
// FLOPs are two per multiply-add of matmuls, attention and convolutions; nothing else is counted. Those of a
// convolution are a direct one's, so that they compare; a backend that does fewer may pass the ceiling. Bytes
// are each input and output once, except that group_norm reads its input twice.
#pragma once

#include <atomic>
#include <filesystem>
#include <functional>
#include <nlohmann/json_fwd.hpp>
#include <optional>
#include <string>

namespace darkroom {

class Checkpoint;

struct BenchOptions {
  bool quick = false;                       // a subset that ends within 40 s, else 10 minutes
  int threads = 0;                          // 0: one per available processor
  std::string device = "cpu";               // or what VulkanOptions::device takes
  std::filesystem::path shader_cache = {};  // as VulkanOptions::cache_folder
  std::string isa = "auto";                 // "auto" (or "") or a name of supported_isa_names()
  std::optional<std::string> budget = {};   // steps run within it, too: "auto" or bytes, as a request's
  const Checkpoint* model =
      nullptr;  // whose steps those are; absent: full-width blocks of a formula's weights
  // A name of dtype_name() for what a matrix may be stored as: only linear layers, with such weights beside
  // bf16.
  std::optional<std::string> weights = {};
  const std::atomic<bool>* cancel = nullptr;   // set from any thread to stop
  std::function<void(std::string)> note = {};  // if set, called with one line per finished or left-out row
};

// Runs the bench. The result:
//   {"cpu": {"name", "isa", "threads"},
//    "ceiling": {"f32_gflops", "bf16_gflops", "int8_gops", "int7_gops", "read_gbps"},
//    "rows": [{"name", "dtype", "weights", "shape", "seconds", "gflops", "gbps", "fraction", "runs"}]}
// of a graphics card {"device": {"name", "driver", "kind", "class", "memory_bytes"}, ..} instead, with "upload_gbps"
// and "download_gbps" among the ceilings, and "dispatches", "barriers" (between dispatches of one submit) and
// "submits" in the rows of blocks and steps,
// and with a budget
//    "budget": {"bytes", "model", "rows": [{"dtype", "shape", "planned_bytes", "kept_blocks",
//      "streamed_blocks", "slots", "seconds", "gflops", "bytes_read", "read_seconds", "compute_seconds",
//      "wait_seconds", "ratio"}]}
// of a step in the middle of a run: bytes read and how long the reading thread took for them; wait_seconds
// that the work stood still for them, compute_seconds the rest of the step; ratio is the step's time over
// the longer of computing and reading, so 1 means that one hides the other.
// The ceiling is the one measured first; null stands for what the machine lacks or what is not measured: of a card
// that has matrix units their rate, and then the fraction of the rows that run there. read_gbps of a card is that of
// a copy, reads and writes together; its bf16 products are f32's without matrix units.
// dtype is that of the activations; weights are bf16, with `weights` of that type in every second row. Rows in
// i8 are bf16 activations quantised row by row, which their time includes, and i8 weights; there are such for
// matmul, attention, blocks and steps. So are rows in i7, of 7 bits each, which are there where the processor multiplies
// them faster.
// seconds: the fastest run, of `runs`. gflops is null for rows without counted FLOPs, gbps for rows that no
// memory ceiling is applied to. Rows:
//   matmul MxKxN; modulation MxKxN (few rows, so bound by reading weights); attention LxHEADSxDIM;
//   conv2d IN->OUT KxK [up2] @HxW (input pixels); norm_modulate, qk_norm_rope LxD; group_norm HxWxC (with
//   SiLU); double_block, single_block, step (all of a step's blocks) by tokens; vae_decode by pixels.
// Errors: those of make_vulkan_backend(); kUsage for an unknown instruction set, one that this processor lacks, or a thread count out of
// range, what is no type for weights, or what is no budget; kOutOfMemory for a budget that is too small;
// kCancelled between runs or blocks; kOutOfMemory.
nlohmann::json run_bench(const BenchOptions& options);

}  // namespace darkroom
