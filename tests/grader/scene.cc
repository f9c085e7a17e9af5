#include "grader/scene.h"

#include <algorithm>
#include <cmath>
#include <nlohmann/json.hpp>
#include <random>
#include <vector>

#include "base/json.h"

namespace darkroom::grader {
namespace {

uint8_t to_byte(double x) { return static_cast<uint8_t>(std::lround(std::clamp(x, 0.0, 255.0))); }

std::size_t index_of(const Image& image, int x, int y) {
  return 3 *
         (static_cast<std::size_t>(y) * static_cast<std::size_t>(image.width) + static_cast<std::size_t>(x));
}

// One direction of a blur: dx, dy is (1, 0) or (0, 1). Beyond the border lies the border's own colour.
std::vector<double> blurred(const Image& image, const std::vector<double>& values, double sigma, int dx,
                            int dy) {
  const int reach = static_cast<int>(std::ceil(3.0 * sigma));
  std::vector<double> out(values.size());
  for (int y = 0; y < image.height; ++y) {
    for (int x = 0; x < image.width; ++x) {
      double total = 0.0;
      for (int i = -reach; i <= reach; ++i) {
        const double weight = std::exp(-i * i / (2.0 * sigma * sigma));
        const std::size_t from = index_of(image, std::clamp(x + i * dx, 0, image.width - 1),
                                          std::clamp(y + i * dy, 0, image.height - 1));
        for (std::size_t c = 0; c < 3; ++c) out[index_of(image, x, y) + c] += weight * values[from + c];
        total += weight;
      }
      for (std::size_t c = 0; c < 3; ++c) out[index_of(image, x, y) + c] /= total;
    }
  }
  return out;
}

}  // namespace

std::map<std::string, std::string> fixture_captions() {
  return read_json_file(kFixtures + "captions.json", 1 << 20).get<std::map<std::string, std::string>>();
}

Image blank(int width, int height, Rgb colour) {
  Image image = {width, height, std::vector<uint8_t>(3 * static_cast<std::size_t>(width * height))};
  fill_box(image, 0, 0, width, height, colour);
  return image;
}

void fill_box(Image& image, int left, int top, int width, int height, Rgb colour) {
  for (int y = top; y < top + height; ++y) {
    for (int x = left; x < left + width; ++x) {
      const std::size_t i = index_of(image, x, y);
      image.rgb[i] = colour.r, image.rgb[i + 1] = colour.g, image.rgb[i + 2] = colour.b;
    }
  }
}

void paint(Image& image, const Painted& shape) {
  constexpr int kSamples = 4;  // a side
  const double radius = shape.radius * std::min(image.width, image.height);
  const uint8_t colour[3] = {shape.colour.r, shape.colour.g, shape.colour.b};
  for (int y = 0; y < image.height; ++y) {
    for (int x = 0; x < image.width; ++x) {
      int hits = 0;
      for (int i = 0; i < kSamples * kSamples; ++i) {
        const double u = x + (i % kSamples + 0.5) / kSamples - shape.x * image.width;
        const double v = y + (i / kSamples + 0.5) / kSamples - shape.y * image.height;
        hits += inside(shape.kind, u / radius, v / radius);
      }
      const double cover = static_cast<double>(hits) / (kSamples * kSamples);
      for (std::size_t c = 0; c < 3; ++c) {
        uint8_t& value = image.rgb[index_of(image, x, y) + c];
        value = to_byte(value + cover * (colour[c] - value));
      }
    }
  }
}

Image spoiled(const Image& image, const Spoiling& how) {
  std::vector<double> values(image.rgb.begin(), image.rgb.end());
  if (how.blur > 0.0) {
    values = blurred(image, values, how.blur, 1, 0);
    values = blurred(image, values, how.blur, 0, 1);
  }
  std::mt19937 random(how.seed);
  // Sums of uniform numbers, not std::normal_distribution: the same on every standard library.
  const auto noise = [&] {
    double sum = 0.0;
    for (int i = 0; i < 12; ++i) sum += random() / 4294967296.0 - 0.5;
    return sum * how.noise;
  };
  const uint8_t add[3] = {how.add.r, how.add.g, how.add.b};
  Image out = image;
  for (std::size_t i = 0; i < values.size(); ++i) out.rgb[i] = to_byte(values[i] + add[i % 3] + noise());
  return out;
}

}  // namespace darkroom::grader
