#include "backends/vulkan/matrix.h"

#include <algorithm>

#include "backends/vulkan/tensors.h"

namespace darkroom::vulkan {
namespace {

uint64_t products(const MatrixShape& s) { return uint64_t{s.m} * s.n * s.k; }

// 256 threads; the parts of subgroups as square as can be, as each reads its rows and columns from shared memory.
MatrixTile large_tile(uint32_t subgroup, uint32_t depth) {
  if (subgroup >= 64) return {128, 128, depth, 64, 64};
  if (subgroup >= 32) return {128, 128, depth, 32, 64};
  if (subgroup >= 16) return {128, 128, depth, 32, 32};
  return {128, 128, depth, 16, 32};
}

// 128 threads.
MatrixTile medium_tile(uint32_t subgroup, uint32_t depth) {
  if (subgroup >= 64) return {64, 64, depth, 32, 64};
  if (subgroup >= 32) return {64, 64, depth, 32, 32};
  if (subgroup >= 16) return {64, 64, depth, 16, 32};
  return {64, 64, depth, 16, 16};
}

// Four subgroups of a fragment each.
MatrixTile small_tile(const MatrixShape& s) { return {2 * s.m, 2 * s.n, 2 * s.k, s.m, s.n}; }

MatrixTile tile_of(LinearTile size, uint32_t subgroup, uint32_t depth) {
  return size == LinearTile::kLarge ? large_tile(subgroup, depth) : medium_tile(subgroup, depth);
}

// Arguments of shaders/row_scales.comp.
struct RowScalesPush {
  uint32_t rows = 0, columns = 0;
  uint32_t at = 0, stride = 0;
  uint32_t out_at = 0;
};

}  // namespace

std::vector<uint32_t> MatrixPlan::constants() const {
  return {threads(), tile.rows, tile.columns, tile.depth, tile.subgroup_rows, tile.subgroup_columns,
          shape.m,   shape.n,   shape.k};
}

uint32_t MatrixPlan::shared_bytes() const {
  const uint32_t factor = shape.a == Component::kS8 ? 1 : 2;
  const uint32_t rows = (tile.rows + tile.columns) * (tile.depth * factor + 16);
  return std::max(rows, tile.subgroups() * shape.m * shape.n * 4);
}

uint32_t matrix_subgroup(const DeviceInfo& info) {
  return std::clamp(32u, info.min_subgroup, info.max_subgroup);
}

std::optional<MatrixShape> best_shape(const DeviceInfo& info, Component factor, Component sum, uint32_t m,
                                      uint32_t n, uint32_t k) {
  std::optional<MatrixShape> best;
  for (const MatrixShape& s : info.matrix_shapes) {
    if (s.a != factor || s.b != factor || s.c != sum || s.result != sum) continue;
    // Rows of a fragment in shared memory are whole vectors of 8 factors or 4 sums, subgroups whole rows of them.
    if (m % s.m != 0 || n % s.n != 0 || k % s.k != 0) continue;
    if (s.k % 8 != 0 || s.n % 4 != 0 || matrix_subgroup(info) % s.n != 0) continue;
    if (!best || products(s) > products(*best)) best = s;
  }
  return best;
}

std::optional<MatrixPlan> plan_matrices(const DeviceInfo& info, Component factor, LinearTile size) {
  const Component sum = factor == Component::kS8 ? Component::kS32 : Component::kF32;
  const uint32_t depth = factor == Component::kS8 ? 64 : 32, subgroup = matrix_subgroup(info);
  const bool small = size == LinearTile::kSmall;
  const MatrixTile tile = small ? MatrixTile{} : tile_of(size, subgroup, depth);
  const auto shape = small ? best_shape(info, factor, sum, 16, 16, depth / 2)
                           : best_shape(info, factor, sum, tile.subgroup_rows, tile.subgroup_columns, depth);
  if (!shape) return {};
  const MatrixPlan plan{*shape, small ? small_tile(*shape) : tile, subgroup};
  const VkPhysicalDeviceLimits& limits = info.limits;
  const bool has_room = plan.threads() <= limits.maxComputeWorkGroupInvocations &&
                        plan.shared_bytes() <= limits.maxComputeSharedMemorySize;
  return has_room ? std::optional(plan) : std::nullopt;
}

void find_row_scales(Recorder& recorder, const Tensor& t, const Binding& rows, int64_t count,
                     const float* out) {
  constexpr uint32_t kThreads = 64;
  const Binding scales{out, static_cast<std::size_t>(count) * sizeof(float), Access::kWrite};
  const std::size_t stride =
      is_block(t.dtype) ? row_bytes(t.dtype, t.row_stride) : static_cast<std::size_t>(t.row_stride);
  const RowScalesPush push{.rows = static_cast<uint32_t>(count),
                           .columns = static_cast<uint32_t>(t.cols()),
                           .at = elements_before(recorder, rows, t.dtype),
                           .stride = static_cast<uint32_t>(stride),
                           .out_at = elements_before(recorder, scales, DType::kF32)};
  recorder.dispatch({.shader = Shader::kRowScales,
                     .constants = {kThreads, type_of(t.dtype), has_wide_rows(t)},
                     .bindings = {rows, scales},
                     .push = push_of(push),
                     .groups = grid_of(count),
                     .work = static_cast<double>(count * t.cols())});
}

}  // namespace darkroom::vulkan
