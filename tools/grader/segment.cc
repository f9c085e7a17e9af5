#include "grader/segment.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <utility>

namespace darkroom::grader {
namespace {

// Distances of colours, as in world.h, whose palette is at least 90 apart.
constexpr double kOffBackground = 36.0;  // further than noise and ringing, nearer than half way to any colour
constexpr double kLeastContrast = 60.0;  // of a shape, with the background: two thirds of the palette's least
constexpr double kSameColour = 45.0;     // half way between the palette's closest two
// How far a pixel may be from the straight line between background and shape and still be their soft edge.
constexpr double kOffEdge = 40.0;

struct Picture {
  const Image& image;
  int side;   // the shorter one
  int speck;  // areas below are noise
  int thin;  // what has no pixel deeper than this is an edge or a line: 1 at 128 pixels, where a soft edge of
             // two pixels stays below it and the thinnest part of a shape (a small ring's, 7 pixels) is well
             // above

  explicit Picture(const Image& of)
      : image(of),
        side(std::min(of.width, of.height)),
        speck(std::max(4, static_cast<int>(std::ceil(kLeastBlob * side * side)))),
        thin(std::max(1, side / 100)) {}

  Rgb at(int x, int y) const {
    const std::size_t i = 3 * (static_cast<std::size_t>(y) * static_cast<std::size_t>(image.width) +
                               static_cast<std::size_t>(x));
    return {image.rgb[i], image.rgb[i + 1], image.rgb[i + 2]};
  }
};

uint8_t median(std::vector<uint8_t>& values) {
  const auto middle = values.begin() + static_cast<std::ptrdiff_t>(values.size() / 2);
  std::nth_element(values.begin(), middle, values.end());
  return *middle;
}

// The commonest palette colour decides which pixels count, and their median is the colour: exact where the
// palette is hit, and no mixture where two colours are there. `colours` is not empty.
Rgb typical_colour(const std::vector<Rgb>& colours) {
  std::array<std::size_t, kColours> votes = {};
  std::vector<Colour> nearest;
  for (const Rgb c : colours) {
    nearest.push_back(nearest_colour(c));
    ++votes[static_cast<std::size_t>(nearest.back())];
  }
  const Colour winner = static_cast<Colour>(std::ranges::max_element(votes) - votes.begin());
  std::vector<uint8_t> r, g, b;
  for (std::size_t i = 0; i < colours.size(); ++i) {
    if (nearest[i] != winner) continue;
    r.push_back(colours[i].r), g.push_back(colours[i].g), b.push_back(colours[i].b);
  }
  return {median(r), median(g), median(b)};
}

// Of the frame along the border, where shapes hardly ever are.
Rgb background_of(const Picture& picture) {
  const int frame = std::max(2, picture.side / 24), width = picture.image.width,
            height = picture.image.height;
  std::vector<Rgb> colours;
  for (int y = 0; y < height; ++y) {
    const bool inner_row = y >= frame && y < height - frame;
    for (int x = 0; x < width; ++x) {
      if (inner_row && x == frame) x = width - frame;
      colours.push_back(picture.at(x, y));
    }
  }
  return typical_colour(colours);
}

// The colour deep inside `set`, where no edge has mixed it.
Rgb inner_colour(const Picture& picture, const Region& set) {
  const std::vector<int> depth = depths(set);
  const int deep = (std::ranges::max(depth) + 1) / 2;
  std::vector<Rgb> colours;
  set.each([&](int x, int y) {
    if (depth[set.index(x, y)] >= deep) colours.push_back(picture.at(x, y));
  });
  return typical_colour(colours);
}

// Where a pixel lies between two colours: `share` 0 at the first, 1 at the second, and how far beside the
// line.
struct Mixture {
  double share = 0.0;
  double beside = 0.0;
};

Mixture mixture_of(Rgb pixel, Rgb from, Rgb to) {
  const std::array<double, 3> line = {double(to.r) - from.r, double(to.g) - from.g, double(to.b) - from.b};
  const std::array<double, 3> off = {double(pixel.r) - from.r, double(pixel.g) - from.g,
                                     double(pixel.b) - from.b};
  double along = 0.0, length = 0.0;
  for (int i = 0; i < 3; ++i) along += line[i] * off[i], length += line[i] * line[i];
  const double share = length > 0.0 ? std::clamp(along / length, 0.0, 1.0) : 0.0;
  double beside = 0.0;
  for (int i = 0; i < 3; ++i) beside += (off[i] - share * line[i]) * (off[i] - share * line[i]);
  return {share, std::sqrt(beside)};
}

// What of `set` is neither `colour` nor a soft edge of it: pixels beside the line of mixtures, and mixtures
// that cover more than an edge would (a grey shape beside a black one, on white).
Region unexplained(const Picture& picture, const Region& set, Rgb background, Rgb colour) {
  Region rest = Region::in(set.left, set.top, set.width, set.height), mixed = rest;
  set.each([&](int x, int y) {
    const Mixture mixture = mixture_of(picture.at(x, y), background, colour);
    if (mixture.beside > kOffEdge) {
      rest.add(x, y);
    } else if (mixture.share > 0.2 && mixture.share < 0.8) {
      mixed.add(x, y);
    }
  });
  deeper(mixed, picture.thin + 2).each([&](int x, int y) { rest.add(x, y); });
  return rest;
}

bool is_solid(const Picture& picture, const Region& piece) {
  return piece.area >= picture.speck && deeper(piece, picture.thin + 1).area >= picture.speck / 4;
}

// The colours that `set`, a patch that is not background, is painted with: one where a shape stands alone.
std::vector<Rgb> colours_of(const Picture& picture, const Region& set, Rgb background) {
  constexpr std::size_t kMostColours = 4;
  std::vector<Rgb> colours;
  Region rest = set;
  while (colours.size() < kMostColours) {
    const std::vector<Region> pieces = connected_pieces(rest);
    if (pieces.empty() || (!colours.empty() && !is_solid(picture, pieces.front()))) break;
    const Rgb colour = inner_colour(picture, pieces.front());
    // More of a colour that was there before: uneven paint, not another shape.
    if (std::ranges::any_of(colours, [&](Rgb c) { return distance(c, colour) < kSameColour; })) break;
    colours.push_back(colour);
    rest = unexplained(picture, rest, background, colour);
  }
  return colours;
}

// The pixels of `set` that are nearer to `colour` than to the background and the other colours. Half way
// between shape and background is where a soft edge has the true outline.
Region painted(const Picture& picture, const Region& set, Rgb background, const std::vector<Rgb>& colours,
               std::size_t which) {
  Region out = Region::in(set.left, set.top, set.width, set.height);
  set.each([&](int x, int y) {
    const Rgb pixel = picture.at(x, y);
    const double here = distance(pixel, colours[which]);
    if (distance(pixel, background) <= here) return;
    for (std::size_t i = 0; i < colours.size(); ++i) {
      const double there = distance(pixel, colours[i]);
      if (there < here || (there == here && i < which)) return;
    }
    out.add(x, y);
  });
  return out;
}

// Whether `blob` is ringing or a shadow that a decoder left beside the shape `main` of the same patch: small
// and faint beside it. Two shapes that touch differ less: their areas at most by a factor of 3.1.
bool is_halo(const Blob& blob, const Blob& main, Rgb background) {
  constexpr double kMostArea = 0.25, kMostContrast = 0.6;
  return blob.region.area < kMostArea * main.region.area &&
         distance(blob.colour, background) < kMostContrast * distance(main.colour, background);
}

// Adds the blobs of one patch to `found`, and what is none to its noise.
void add_blobs(const Picture& picture, const Region& patch, Segmentation& found) {
  const auto add_noise = [&](const Region& piece) { ++found.noise_pieces, found.noise_area += piece.area; };
  const std::vector<Rgb> colours = colours_of(picture, patch, found.background);
  std::vector<Blob> blobs;
  for (std::size_t i = 0; i < colours.size(); ++i) {
    for (Region& piece : connected_pieces(painted(picture, patch, found.background, colours, i))) {
      const bool solid = is_solid(picture, piece);
      const Rgb colour = solid ? inner_colour(picture, piece) : Rgb{};
      if (solid && distance(colour, found.background) >= kLeastContrast) {
        blobs.push_back({std::move(piece), colour});
      } else {
        add_noise(piece);
      }
    }
  }
  if (blobs.empty()) return;
  const Blob main = *std::ranges::max_element(blobs, {}, [](const Blob& b) { return b.region.area; });
  for (Blob& blob : blobs) {
    if (is_halo(blob, main, found.background)) {
      add_noise(blob.region);
    } else {
      found.blobs.push_back(std::move(blob));
    }
  }
}

}  // namespace

Segmentation segment(const Image& image) {
  const Picture picture(image);
  Segmentation found;
  found.background = background_of(picture);
  Region other = Region::in(0, 0, image.width, image.height);
  for (int y = 0; y < image.height; ++y) {
    for (int x = 0; x < image.width; ++x) {
      if (distance(picture.at(x, y), found.background) > kOffBackground) other.add(x, y);
    }
  }
  for (const Region& patch : connected_pieces(other)) {
    if (patch.area >= picture.speck && found.blobs.size() < kMostBlobs) {
      add_blobs(picture, patch, found);
    } else {
      ++found.noise_pieces;
      found.noise_area += patch.area;
    }
  }
  std::ranges::stable_sort(found.blobs, std::ranges::greater{}, [](const Blob& b) { return b.region.area; });
  if (found.blobs.size() > kMostBlobs) found.blobs.resize(kMostBlobs);
  return found;
}

}  // namespace darkroom::grader
