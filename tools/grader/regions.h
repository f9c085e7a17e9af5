// Sets of pixels: connected pieces of them, and how deep each pixel lies inside. Nothing here knows colours
// or shapes.
//
// Called by segment.cc and fit.cc.
#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

namespace darkroom::grader {

// Pixels inside a rectangle of a picture. Coordinates are the picture's, also where they are asked for.
struct Region {
  int left = 0, top = 0, width = 0, height = 0;  // the rectangle
  int area = 0;                                  // pixels that belong to it
  std::vector<uint8_t> on = {};                  // height · width of 0 and 1, rows from the top

  // An empty set in a rectangle.
  static Region in(int left, int top, int width, int height);
  std::size_t index(int x, int y) const {
    return static_cast<std::size_t>(y - top) * static_cast<std::size_t>(width) +
           static_cast<std::size_t>(x - left);
  }
  bool has(int x, int y) const {
    return x >= left && x < left + width && y >= top && y < top + height && on[index(x, y)] != 0;
  }
  void add(int x, int y) {
    area += on[index(x, y)] == 0;
    on[index(x, y)] = 1;
  }
  // Calls work(x, y) for each pixel, in rows from the top.
  template <typename Work>
  void each(const Work& work) const {
    for (int y = top; y < top + height; ++y) {
      for (int x = left; x < left + width; ++x) {
        if (on[index(x, y)] != 0) work(x, y);
      }
    }
  }
};

// The pieces that hang together, corners included, each in the smallest rectangle; the largest first, of
// equal ones the one that begins higher.
std::vector<Region> connected_pieces(const Region& set);

// For each pixel of the rectangle, in the layout of Region::on, the steps (king's moves) to the nearest pixel
// outside the set: 0 outside, 1 on its rim. What is beyond the rectangle is outside.
std::vector<int> depths(const Region& set);

// The pixels that are at least `depth` deep.
Region deeper(const Region& set, int depth);

}  // namespace darkroom::grader
