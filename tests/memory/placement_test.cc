#include "memory/placement.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <numeric>

namespace darkroom::memory {
namespace {

// FLUX.1's blocks without modulation, in units of a single block: 19 double ones of twice the
// size, 38 single ones.
std::vector<std::size_t> flux_blocks(std::size_t unit) {
  std::vector<std::size_t> sizes(19, 2 * unit);
  sizes.insert(sizes.end(), 38, unit);
  return sizes;
}

TEST(Place, EverythingStaysWhenItFits) {
  const std::vector<std::size_t> sizes = {5, 7, 9};
  const Placement placement = place(sizes, 21).value();
  EXPECT_EQ(placement.resident_bytes, 21u);
  EXPECT_EQ(placement.slots, 0);
  EXPECT_EQ(placement.bytes(), 21u);
  EXPECT_NE(place(sizes, 20).value().slots, 0);
}

TEST(Place, ObeysEveryLimitAndReadsNoMoreThanItMust) {
  const std::vector<std::size_t> sizes = flux_blocks(100);
  const std::size_t all = std::accumulate(sizes.begin(), sizes.end(), std::size_t{0});
  std::size_t before = all + 1;
  for (std::size_t limit = 400; limit <= all; limit += 100) {
    const Placement placement = place(sizes, limit).value();
    EXPECT_LE(placement.bytes(), limit);
    EXPECT_LE(placement.streamed_bytes, before) << limit;  // more memory never means more reading
    before = placement.streamed_bytes;
    std::size_t streamed = 0;
    for (std::size_t i = 0; i < sizes.size(); ++i) streamed += placement.streamed[i] ? sizes[i] : 0;
    EXPECT_EQ(streamed, placement.streamed_bytes);
    EXPECT_EQ(streamed + placement.resident_bytes, all);
    // No placement can hold more than the limit; two slots and uneven sizes cost at most three blocks.
    EXPECT_LE(streamed + std::min(limit, all - 1), all + 4 * 200 + 200) << limit;
  }
  EXPECT_EQ(before, 0u);
}

TEST(Place, SpreadsWhatIsStreamed) {
  const Placement placement = place(std::vector<std::size_t>(12, 10), 100).value();  // 4 of 12, two slots
  EXPECT_EQ(placement.streamed, (std::vector<bool>{0, 1, 0, 0, 1, 0, 0, 1, 0, 0, 1, 0}));
}

TEST(Place, OneSlotWhenTwoDoNotFitAndNothingBelow) {
  const std::vector<std::size_t> sizes(4, 10);
  EXPECT_EQ(place(sizes, 20).value().slots, 2);
  EXPECT_EQ(place(sizes, 19).value().slots, 1);
  EXPECT_EQ(place(sizes, 10).value().bytes(), 10u);
  EXPECT_FALSE(place(sizes, 9));
  EXPECT_EQ(least(sizes).bytes(), 10u);
}

TEST(Place, PassingThroughTakesTwoSlotsOfTheLargest) {
  const Placement placement = all_streamed({3, 8, 5});
  EXPECT_EQ(placement.bytes(), 16u);
  EXPECT_EQ(placement.streamed_bytes, 16u);
  EXPECT_EQ(all_streamed({8}).bytes(), 8u);
}

}  // namespace
}  // namespace darkroom::memory
