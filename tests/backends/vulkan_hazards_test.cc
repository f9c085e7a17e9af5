#include <gtest/gtest.h>

#include "backends/vulkan/hazards.h"

namespace darkroom::vulkan {
namespace {

using enum Access;

Binding range(uintptr_t begin, std::size_t bytes, Access access) {
  return {reinterpret_cast<const void*>(begin), bytes, access};
}

// Whether the second access needs a barrier after the first.
bool between(const Binding& first, const Binding& second) {
  Hazards hazards;
  EXPECT_FALSE(hazards.add({&first, 1}));
  return hazards.add({&second, 1});
}

TEST(VulkanHazards, EveryPairOfAccesses) {
  for (const Access first : {kRead, kWrite, kReadWrite}) {
    for (const Access second : {kRead, kWrite, kReadWrite}) {
      const bool both_read = first == kRead && second == kRead;
      EXPECT_EQ(between(range(100, 50, first), range(100, 50, second)), !both_read);
      EXPECT_EQ(between(range(100, 50, first), range(149, 50, second)), !both_read);
      EXPECT_EQ(between(range(100, 50, first), range(51, 50, second)), !both_read);
      EXPECT_EQ(between(range(100, 50, first), range(110, 1, second)), !both_read);
      EXPECT_EQ(between(range(100, 50, first), range(1, 500, second)), !both_read);
      EXPECT_FALSE(between(range(100, 50, first), range(150, 50, second)));
      EXPECT_FALSE(between(range(100, 50, first), range(50, 50, second)));
    }
  }
}

TEST(VulkanHazards, ABarrierForgetsWhatWasBefore) {
  Hazards hazards;
  const Binding writes_a = range(100, 10, kWrite), reads_a = range(100, 10, kRead),
                writes_b = range(200, 10, kWrite), reads_b = range(200, 10, kRead);
  EXPECT_FALSE(hazards.add({&writes_a, 1}));
  EXPECT_FALSE(hazards.add({&writes_b, 1}));
  EXPECT_TRUE(hazards.add({&reads_a, 1}));
  EXPECT_FALSE(hazards.add({&reads_b, 1}));  // that barrier was for all
  EXPECT_TRUE(hazards.add({&writes_b, 1}));
  hazards.clear();
  EXPECT_FALSE(hazards.add({&reads_b, 1}));
}

// What one dispatch reads and writes is its own affair, and remains for the next.
TEST(VulkanHazards, InPlaceIsNoHazardOfItsOwn) {
  Hazards hazards;
  const Binding in_place[] = {range(100, 10, kRead), range(100, 10, kWrite), range(300, 10, kRead)};
  EXPECT_FALSE(hazards.add(in_place));
  EXPECT_TRUE(hazards.add(in_place));
  const Binding other = range(300, 10, kRead);
  EXPECT_FALSE(hazards.add({&other, 1}));
  const Binding chain = range(100, 10, kReadWrite);
  EXPECT_TRUE(hazards.add({&chain, 1}));
  EXPECT_TRUE(hazards.add({&chain, 1}));
}

TEST(VulkanHazards, AbsentAndEmptyRangesDoNotCount) {
  const Binding absent = {nullptr, 10, kWrite}, empty = range(100, 0, kWrite);
  EXPECT_FALSE(between(absent, absent));
  EXPECT_FALSE(between(range(90, 20, kWrite), empty));
  EXPECT_FALSE(between(empty, range(90, 20, kWrite)));
}

}  // namespace
}  // namespace darkroom::vulkan
