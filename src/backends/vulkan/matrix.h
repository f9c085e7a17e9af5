// Class M: how products are cut for cooperative matrices (VK_KHR_cooperative_matrix), whose shapes are the device's.
#pragma once

#include <cstdint>
#include <optional>
#include <vector>

#include "backends/vulkan/device.h"
#include "backends/vulkan/kernels.h"

namespace darkroom::vulkan {

// The result of a workgroup, that of each of its subgroups, and the columns of k in shared memory.
struct MatrixTile {
  uint32_t rows = 0, columns = 0, depth = 0;
  uint32_t subgroup_rows = 0, subgroup_columns = 0;
  uint32_t subgroups() const { return rows / subgroup_rows * (columns / subgroup_columns); }
};

// A tile in fragments.
struct MatrixPlan {
  MatrixShape shape;
  MatrixTile tile;
  uint32_t subgroup = 0;  // the size to demand
  // Specialization constants 0 to 8 of shaders/matrix/tile.glsl.
  std::vector<uint32_t> constants() const;
  uint32_t threads() const { return subgroup * tile.subgroups(); }
  uint32_t shared_bytes() const;  // as tile.glsl declares it
};

// The size that pipelines with matrices demand: 32, or what is nearest to it.
uint32_t matrix_subgroup(const DeviceInfo& info);
// The device's shape of these types with the most products a fragment, of those that divide m × n × k.
std::optional<MatrixShape> best_shape(const DeviceInfo& info, Component factor, Component sum, uint32_t m,
                                      uint32_t n, uint32_t k);
// None where the device has no shape that fits, or not the room for it. Sums of f32, of kS8 in i32.
std::optional<MatrixPlan> plan_matrices(const DeviceInfo& info, Component factor, LinearTile size);

// To `out`, f32 of the device: for each of `count` rows of `t`, which are bound as `rows`, the power of two that takes its
// largest magnitude to [2^14, 2^15), so that values of 8 significant bits are exact in f16.
void find_row_scales(Recorder& recorder, const Tensor& t, const Binding& rows, int64_t count,
                     const float* out);

}  // namespace darkroom::vulkan
