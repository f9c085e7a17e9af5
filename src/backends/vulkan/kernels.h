// The ops on a device, one function each: they record dispatches. Arguments are as ops/backend.h says, their
// data addresses of device memory.
#pragma once

#include <optional>

#include "backends/vulkan/recorder.h"
#include "ops/backend.h"

namespace darkroom::vulkan {

// pointwise.cc
void add(Recorder& recorder, const AddArgs& args);
void activate(Recorder& recorder, const ActivateArgs& args);
void gated_gelu(Recorder& recorder, const GatedGeluArgs& args);
void convert(Recorder& recorder, const ConvertArgs& args);

// rows.cc
void layer_norm(Recorder& recorder, const LayerNormArgs& args);
void norm_modulate(Recorder& recorder, const NormModulateArgs& args);
void rms_norm(Recorder& recorder, const RmsNormArgs& args);
void qk_norm_rope(Recorder& recorder, const QkNormRopeArgs& args);
void row_distances(Recorder& recorder, const RowDistancesArgs& args);
void row_moments(Recorder& recorder, const RowMomentsArgs& args);
// In two f32 a number where f64 is asked for, as a device may have none; shaders/group_statistics.comp has the
// error.
void group_statistics(Recorder& recorder, const GroupStatisticsArgs& args);
void group_norm(Recorder& recorder, const GroupNormArgs& args);

// attention.cc. Errors: kFailure for int8_memory, and for keys or values that a shader cannot see all at once.
void attention(Recorder& recorder, const AttentionArgs& args);

// conv.cc
void conv2d(Recorder& recorder, const Conv2dArgs& args);

// embed.cc
void embed(Recorder& recorder, const EmbedArgs& args);

// linear.cc
enum class LinearTile : uint8_t { kSmall, kMedium, kLarge };
// What is chosen by shape and device where nothing is said; tests and benches may say it. Bits do not depend on tiles
// and parts, those of bf16 activations only on whether there are matrices.
struct LinearChoice {
  std::optional<LinearTile> tile = {};
  std::optional<bool> compiles_slowly = {};  // less code, made in less time: where the device is a CPU
  std::optional<bool> dot_product = {};      // of 8-bit numbers: by the device's instruction
  bool matrices = true;                      // cooperative matrices, where the device has them
  int64_t most_rows = 0, most_columns = 0;   // of a dispatch, at most; 0: as many as can be bound
};
void linear(Recorder& recorder, const LinearArgs& args, const LinearChoice& choice = {});

// attention_matrix.cc: false, and nothing done, where the device or the arguments are not for matrices.
bool attention_with_matrices(Recorder& recorder, const AttentionArgs& args);

// quantize.cc
void quantize_rows(Recorder& recorder, const QuantizeRowsArgs& args);
void column_magnitudes(Recorder& recorder, const ColumnMagnitudesArgs& args);

}  // namespace darkroom::vulkan
