// How products are cut for the fragments that cards list, without one.
#include <gtest/gtest.h>

#include "backends/vulkan/matrix.h"

namespace darkroom::vulkan {
namespace {

using enum Component;

MatrixShape shape(uint32_t m, uint32_t n, uint32_t k, Component factor, Component sum) {
  return {m, n, k, factor, factor, sum, sum};
}

DeviceInfo device(uint32_t subgroup, std::vector<MatrixShape> shapes) {
  DeviceInfo info;
  info.min_subgroup = info.max_subgroup = info.subgroup = subgroup;
  info.matrix_shapes = std::move(shapes);
  info.limits.maxComputeWorkGroupInvocations = 1024;
  info.limits.maxComputeSharedMemorySize = 32 << 10;
  return info;
}

DeviceInfo geforce() {
  return device(32,
                {shape(16, 16, 16, kF16, kF16), shape(16, 8, 8, kF16, kF32), shape(16, 16, 16, kF16, kF32),
                 shape(16, 8, 16, kF16, kF32), shape(16, 16, 32, kS8, kS32), shape(16, 16, 32, kU8, kU32)});
}
DeviceInfo radeon(uint32_t subgroup) {
  return device(subgroup, {shape(16, 16, 16, kF16, kF32), shape(16, 16, 16, kS8, kS32)});
}
DeviceInfo arc() { return device(16, {shape(8, 16, 16, kF16, kF32), shape(8, 16, 32, kS8, kS32)}); }
DeviceInfo lavapipe() { return device(8, {shape(8, 8, 8, kF16, kF32), shape(8, 8, 8, kS8, kS32)}); }

// Whole fragments, subgroups that cover the tile once, and no more than the least that cards have.
TEST(VulkanPlans, FitEveryCard) {
  for (const DeviceInfo& info : {geforce(), radeon(32), radeon(64), arc(), lavapipe()}) {
    for (const LinearTile size : {LinearTile::kSmall, LinearTile::kMedium, LinearTile::kLarge}) {
      for (const Component factor : {kF16, kS8}) {
        const auto plan = plan_matrices(info, factor, size);
        ASSERT_TRUE(plan);
        const MatrixTile& t = plan->tile;
        EXPECT_EQ(t.rows * t.columns, t.subgroups() * t.subgroup_rows * t.subgroup_columns);
        EXPECT_EQ(
            t.subgroup_rows % plan->shape.m + t.subgroup_columns % plan->shape.n + t.depth % plan->shape.k,
            0u);
        EXPECT_LE(plan->threads(), 1024u);
        EXPECT_LE(plan->shared_bytes(), 32u << 10);
        EXPECT_EQ(plan->shape.a, factor);
      }
    }
  }
}

TEST(VulkanPlans, ACardsLargeTile) {
  const auto plan = plan_matrices(geforce(), kF16, LinearTile::kLarge);
  ASSERT_TRUE(plan);
  EXPECT_EQ(plan->constants(), (std::vector<uint32_t>{256, 128, 128, 32, 32, 64, 16, 16, 16}));
  EXPECT_EQ(plan->shared_bytes(), 20480u);
  const auto bytes = plan_matrices(geforce(), kS8, LinearTile::kLarge);
  ASSERT_TRUE(bytes);
  EXPECT_EQ(bytes->constants(), (std::vector<uint32_t>{256, 128, 128, 64, 32, 64, 16, 16, 32}));
  EXPECT_EQ(bytes->shared_bytes(), 20480u);
  EXPECT_EQ(plan_matrices(radeon(64), kF16, LinearTile::kLarge)->threads(), 256u);
}

TEST(VulkanPlans, NoneWithoutShapesOrRoom) {
  DeviceInfo info = geforce();
  EXPECT_FALSE(plan_matrices(info, kBF16, LinearTile::kLarge));
  info.limits.maxComputeSharedMemorySize = 16 << 10;
  EXPECT_FALSE(plan_matrices(info, kF16, LinearTile::kLarge));
  EXPECT_TRUE(plan_matrices(info, kF16, LinearTile::kMedium));
  // Sums of f16 are no sums of f32, and a fragment wider than a subgroup's part is none of its.
  EXPECT_FALSE(plan_matrices(device(32, {shape(16, 16, 16, kF16, kF16)}), kF16, LinearTile::kSmall));
  EXPECT_FALSE(plan_matrices(device(32, {shape(64, 64, 16, kF16, kF32)}), kF16, LinearTile::kLarge));
}

}  // namespace
}  // namespace darkroom::vulkan
