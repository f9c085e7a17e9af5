#include "grader/regions.h"

#include <gtest/gtest.h>

#include <string>

namespace darkroom::grader {
namespace {

// One text a row, '#' for pixels of the set, its rectangle at (left, top).
Region set_of(const std::vector<std::string>& rows, int left = 0, int top = 0) {
  Region set = Region::in(left, top, static_cast<int>(rows[0].size()), static_cast<int>(rows.size()));
  for (std::size_t y = 0; y < rows.size(); ++y) {
    for (std::size_t x = 0; x < rows[y].size(); ++x) {
      if (rows[y][x] == '#') set.add(left + static_cast<int>(x), top + static_cast<int>(y));
    }
  }
  return set;
}

TEST(GraderRegions, PiecesHangTogetherByCorners) {
  const Region set = set_of({"#....##",  //
                             ".#...#.",  //
                             "..#....",  //
                             "##...#."},
                            10, 20);
  const std::vector<Region> pieces = connected_pieces(set);
  ASSERT_EQ(pieces.size(), 3u);
  EXPECT_EQ(pieces[0].area, 5);
  EXPECT_EQ(pieces[0].left, 10);
  EXPECT_EQ(pieces[0].top, 20);
  EXPECT_EQ(pieces[0].width, 3);
  EXPECT_EQ(pieces[0].height, 4);
  EXPECT_TRUE(pieces[0].has(12, 22) && !pieces[0].has(15, 20));
  EXPECT_EQ(pieces[1].area, 3);
  EXPECT_EQ(pieces[2].area, 1);
}

TEST(GraderRegions, Depths) {
  const Region set = set_of({"#####.",  //
                             "#####.",  //
                             "#####.",  //
                             "#####.",  //
                             "#####.",  //
                             ".....#"});
  const std::vector<int> depth = depths(set);
  EXPECT_EQ(std::vector<int>(depth.begin(), depth.begin() + 18),
            std::vector<int>({1, 1, 1, 1, 1, 0, 1, 2, 2, 2, 1, 0, 1, 2, 3, 2, 1, 0}));
  EXPECT_EQ(depth[35], 1);
  EXPECT_EQ(deeper(set, 2).area, 9);
  EXPECT_EQ(deeper(set, 4).area, 0);
}

TEST(GraderRegions, EmptySets) {
  EXPECT_TRUE(connected_pieces(Region::in(0, 0, 3, 3)).empty());
  EXPECT_EQ(deeper(Region::in(5, 5, 2, 2), 1).area, 0);
}

}  // namespace
}  // namespace darkroom::grader
