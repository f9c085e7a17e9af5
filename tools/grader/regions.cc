#include "grader/regions.h"

#include <algorithm>
#include <utility>

namespace darkroom::grader {
namespace {

using Point = std::pair<int, int>;

// The piece that `start` belongs to; its pixels are marked in `taken`.
Region piece_from(const Region& set, Point start, std::vector<uint8_t>& taken) {
  std::vector<Point> points = {start};
  taken[set.index(start.first, start.second)] = 1;
  int left = start.first, right = start.first, top = start.second, bottom = start.second;
  for (std::size_t next = 0; next < points.size(); ++next) {
    const auto [px, py] = points[next];
    left = std::min(left, px), right = std::max(right, px);
    top = std::min(top, py), bottom = std::max(bottom, py);
    for (int y = py - 1; y <= py + 1; ++y) {
      for (int x = px - 1; x <= px + 1; ++x) {
        if (!set.has(x, y) || taken[set.index(x, y)] != 0) continue;
        taken[set.index(x, y)] = 1;
        points.emplace_back(x, y);
      }
    }
  }
  Region piece = Region::in(left, top, right - left + 1, bottom - top + 1);
  for (const auto& [x, y] : points) piece.add(x, y);
  return piece;
}

}  // namespace

Region Region::in(int left, int top, int width, int height) {
  const std::size_t pixels = static_cast<std::size_t>(width) * static_cast<std::size_t>(height);
  return {left, top, width, height, 0, std::vector<uint8_t>(pixels)};
}

std::vector<Region> connected_pieces(const Region& set) {
  std::vector<Region> pieces;
  std::vector<uint8_t> taken(set.on.size());
  set.each([&](int x, int y) {
    if (taken[set.index(x, y)] == 0) pieces.push_back(piece_from(set, {x, y}, taken));
  });
  std::ranges::stable_sort(pieces, std::ranges::greater{}, &Region::area);
  return pieces;
}

std::vector<int> depths(const Region& set) {
  std::vector<int> depth(set.on.size());
  const int right = set.left + set.width - 1, bottom = set.top + set.height - 1;
  const auto at = [&](int x, int y) {
    return x < set.left || x > right || y < set.top || y > bottom ? 0 : depth[set.index(x, y)];
  };
  // The usual two passes: distances from above and the left, then from below and the right.
  set.each([&](int x, int y) {
    depth[set.index(x, y)] = 1 + std::min({at(x - 1, y), at(x - 1, y - 1), at(x, y - 1), at(x + 1, y - 1)});
  });
  for (int y = bottom; y >= set.top; --y) {
    for (int x = right; x >= set.left; --x) {
      int& here = depth[set.index(x, y)];
      here = std::min(here, 1 + std::min({at(x + 1, y), at(x + 1, y + 1), at(x, y + 1), at(x - 1, y + 1)}));
    }
  }
  return depth;
}

Region deeper(const Region& set, int depth) {
  Region out = Region::in(set.left, set.top, set.width, set.height);
  const std::vector<int> all = depths(set);
  set.each([&](int x, int y) {
    if (all[set.index(x, y)] >= depth) out.add(x, y);
  });
  return out;
}

}  // namespace darkroom::grader
