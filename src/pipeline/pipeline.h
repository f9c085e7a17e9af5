// The story: a job goes in, pictures come out. Encode the text, let the encoders go; denoise, let the
// transformer go; decode. A run that starts from a picture encodes that first.
#pragma once

#include <atomic>
#include <cstdint>
#include <functional>
#include <span>
#include <string>
#include <vector>

#include "checkpoint/checkpoint.h"
#include "image/image.h"
#include "image/recipe.h"
#include "ops/backend.h"
#include "pipeline/decide.h"
#include "pipeline/embeddings.h"
#include "pipeline/phase.h"
#include "pipeline/preview.h"

namespace darkroom {

// Where a run is.
struct Progress {
  Phase phase = Phase::kEncodeClip;  // which stands for T5 too: both encoders are one phase here
  bool finished = false;             // the last event of a phase
  int picture = 0, pictures = 1;     // counted from 0
  int step = 0, steps = 0;           // passes of the transformer finished: one a step, with heun two
  int block = 0, blocks = 0;         // transformer blocks finished in this pass
  // Under all prompts, and those of them that a step cache forecast; known at a picture's end.
  int passes = 0, skipped_passes = 0;
  double phase_seconds = 0;
  // The largest resident set of this process during the run so far, and during the phase so far, both as
  // memory::PeakWatch sees them; on a device with memory of its own, what of that was held.
  std::size_t peak_bytes = 0, phase_peak_bytes = 0;
  std::size_t planned_bytes = 0;        // what the plan says of the phase
  uint64_t bytes_read = 0;              // of weights in this phase, known at its end
  double wait_seconds = 0;              // of which time was spent waiting for them
  int prompts = 0, cached_prompts = 0;  // texts of the job, and those whose embedding was in the cache
};

struct Picture {
  int index = 0;  // counted from 0
  Image image;
  Recipe recipe;
  std::vector<float> latents;  // final, packed: [tokens, channels]
  int64_t latent_tokens = 0, latent_channels = 0;
};

// What the caller wants to hear. Each may be empty; each is called on the thread that called generate().
struct Listeners {
  std::function<void(const Progress&)> on_progress;
  std::function<void(const Picture&)> on_picture;  // nothing is decoded without it
  std::function<void(const Picture&)> on_sheet;    // the job's sheet, after its last picture; without latents
  std::function<void(const std::string&)> on_note;
  // Called after every preview_every'th step and the last; a note says so where the model
  // has no map for them.
  std::function<void(const Preview&)> on_preview = {};
  int preview_every = 1;
  // flux::modulation_vectors() of the prompt, on the host. With it nothing is drawn.
  std::function<void(std::span<const float>)> on_modulation = {};
  // As DenoiseHooks has it.
  std::function<void(int step, const std::string& input, const Tensor& x)> on_input = {};
};

// Draws job.count pictures with seeds job.seed, job.seed + 1, …, within the plan; hands each over as soon as
// it is finished. The weights are read once for all of them, or once a pass for blocks that the budget does
// not let stay; where it does not let the transformer stay beside the VAE, all pictures are denoised before
// the first is decoded. Embeddings of prompts are taken from the cache that `embeddings` names, and stored
// there; the pictures are the same with it and without. Errors: kUsage for the pixels of a picture to start
// from and for given noise, before weights are read; kModel for weights, kOutput for the scratch file,
// kFailure when the arithmetic leaves the finite numbers, kCancelled once `cancel` is true; whatever a
// listener throws passes through.
void generate(const Checkpoint& model, Backend& backend, const Decision& decision, const Listeners& listeners,
              const std::atomic<bool>& cancel, const EmbedCacheOptions& embeddings = {});

}  // namespace darkroom
