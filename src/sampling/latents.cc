#include "sampling/latents.h"

#include <cstddef>

#include "base/error.h"

namespace darkroom {
namespace {

void check_count(std::span<const float> values, const LatentSize& size) {
  const int64_t expected = latent_tokens(size) * 4 * size.channels;
  require(values.size() == static_cast<std::size_t>(expected), ErrorCode::kUsage,
          "latents of {} x {} x {}: {} values given, expected {}", size.channels, size.height, size.width,
          values.size(), expected);
}

// Where the value of one channel, row and column lies among the tokens.
std::size_t token_index(const LatentSize& size, int64_t channel, int64_t row, int64_t column) {
  const int64_t token = row / 2 * (size.width / 2) + column / 2;
  return static_cast<std::size_t>(token * 4 * size.channels + channel * 4 + row % 2 * 2 + column % 2);
}

// Calls move(token index, channel, row, column) for every value, in the order of planes.
template <typename Move>
void for_each_value(const LatentSize& size, const Move& move) {
  for (int64_t channel = 0; channel < size.channels; ++channel) {
    for (int64_t row = 0; row < size.height; ++row) {
      for (int64_t column = 0; column < size.width; ++column) {
        move(token_index(size, channel, row, column), channel, row, column);
      }
    }
  }
}

}  // namespace

int64_t latent_tokens(const LatentSize& size) {
  constexpr int64_t kMaxValues = int64_t{1} << 30;
  const auto in_range = [](int64_t n) { return n >= 1 && n <= kMaxValues; };
  require(
      in_range(size.channels) && in_range(size.height) && in_range(size.width) && size.height % 2 == 0 &&
          size.width % 2 == 0 && size.height <= kMaxValues / size.width &&
          size.channels <= kMaxValues / (size.height * size.width),
      ErrorCode::kUsage,
      "latents of {} x {} x {}: sizes must be at least 1, height and width even, and the product at most {}",
      size.channels, size.height, size.width, kMaxValues);
  return size.height / 2 * (size.width / 2);
}

std::vector<float> pack_latents(std::span<const float> planes, const LatentSize& size) {
  check_count(planes, size);
  std::vector<float> tokens(planes.size());
  std::size_t next = 0;
  for_each_value(size, [&](std::size_t token, int64_t, int64_t, int64_t) { tokens[token] = planes[next++]; });
  return tokens;
}

std::vector<float> unpack_latents(std::span<const float> tokens, const LatentSize& size) {
  check_count(tokens, size);
  std::vector<float> planes(tokens.size());
  std::size_t next = 0;
  for_each_value(size, [&](std::size_t token, int64_t, int64_t, int64_t) { planes[next++] = tokens[token]; });
  return planes;
}

std::vector<float> unpack_latents_to_pixels(std::span<const float> tokens, const LatentSize& size) {
  check_count(tokens, size);
  std::vector<float> pixels(tokens.size());
  for_each_value(size, [&](std::size_t token, int64_t channel, int64_t row, int64_t column) {
    pixels[static_cast<std::size_t>((row * size.width + column) * size.channels + channel)] = tokens[token];
  });
  return pixels;
}

std::vector<float> pack_latents_from_pixels(std::span<const float> pixels, const LatentSize& size) {
  check_count(pixels, size);
  std::vector<float> tokens(pixels.size());
  for_each_value(size, [&](std::size_t token, int64_t channel, int64_t row, int64_t column) {
    tokens[token] = pixels[static_cast<std::size_t>((row * size.width + column) * size.channels + channel)];
  });
  return tokens;
}

}  // namespace darkroom
