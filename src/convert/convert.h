// A model written again in another layout, with its matrices in other numbers, in memory that does not grow with
// the model. docs/CLI.md says which tensors are converted and how they are named; how numbers are rounded is
// weights/quantize.h.
//
// Called by the API.
#pragma once

#include <atomic>
#include <cstddef>
#include <filesystem>
#include <functional>
#include <string>
#include <vector>

#include "checkpoint/checkpoint.h"
#include "options/request.h"

namespace darkroom {

struct ConvertOptions {
  std::filesystem::path out;      // must not exist
  std::string weights;            // a name of weights/storage.h: matrices of the transformer
  std::string text_weights = {};  // and of the text encoders; empty: bf16, or as-stored if `weights` is that
  std::string layout = "diffusers";  // or "single", "gguf"
  std::string parts = {};            // of "transformer,clip,t5,vae"; empty: all that the model has
  std::size_t shard_bytes =
      5'000'000'000;                   // of tensors in a file, unless a single one has more; diffusers only
  std::vector<LoraChoice> loras = {};  // merged into the weights; found as those of a request are
  std::filesystem::path smooth =
      {};           // a file of smoothing factors, for int8 in diffusers layout; empty: none
  int threads = 0;  // see ThreadPool; changes no byte
};

// Where a conversion is: after every block, and with `finished` after the last of each part.
struct ConvertProgress {
  Part part = Part::kClip;
  bool finished = false;
  std::size_t files = 0;                         // with tensors of this part
  std::size_t part_bytes = 0;                    // of this part in the end
  std::size_t bytes_written = 0, bytes_all = 0;  // of all parts
};

struct ConvertListeners {
  std::function<void(const ConvertProgress&)> on_progress;  // may be empty; may throw to stop
  std::function<void(const std::string&)> on_note;          // may be empty
};

// Everything is checked that can be known before data is read: names, shapes, types, room on the disk, and
// every other file that is copied (convert/small_files.h). `out` appears in the end, whole; what stops the
// conversion leaves nothing, or what abandoned_folders() finds if the process is killed. Errors: kUsage for
// options, and for tensors that the layout cannot hold as they are stored; kModel for what is read, with the file
// and the tensor; kOutput for what is written; kCancelled once `cancel` is true, within one block.
void convert(const Checkpoint& model, const ConvertOptions& options, const ConvertListeners& listeners,
             const std::atomic<bool>& cancel);

}  // namespace darkroom
