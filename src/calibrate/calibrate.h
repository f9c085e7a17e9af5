// Smoothing factors for 8-bit products: a model draws some pictures, and what its linear layers multiply on the
// way says which channels must be made smaller before they are quantised (weights/smoothing.h).
//
// The file is written after each picture, so that a calibration goes on where it was stopped. Called by the API.
#pragma once

#include <atomic>
#include <filesystem>
#include <functional>
#include <string>
#include <vector>

#include "calibrate/rules.h"
#include "pipeline/pipeline.h"

namespace darkroom {

struct CalibrateOptions {
  std::filesystem::path out;  // *.safetensors; one of the same calibration goes on
  SmoothMethod method = SmoothMethod::kRms;
  double alpha = 0.5;                     // 0 to 1: how much of the salience moves into the weights
  std::vector<std::string> prompts = {};  // one picture each; empty: some of darkroom's own
  Request request = {};  // all else that a picture is drawn with; the seed counts up from its own, or 0
};

struct CalibrateListeners {
  std::function<void(int picture, int pictures, const Progress&)> on_progress;
  std::function<void(const std::string&)> on_note;
};

// The prompts that count where none are given: the model's own, or general ones.
std::vector<std::string> calibration_prompts(const Checkpoint& model);

// The plan of a picture holds the salience, too: 4 bytes a channel and step. Errors: kUsage for options, among
// them a request that multiplies in 8 bits itself or starts from a picture, and for a model that has factors; kOutput for a file that is something
// else, or of another calibration; else those of decide() and generate().
void calibrate(const Checkpoint& model, Backend& backend, const CalibrateOptions& options,
               const CalibrateListeners& listeners, const std::atomic<bool>& cancel,
               const EmbedCacheOptions& embeddings = {});

}  // namespace darkroom
