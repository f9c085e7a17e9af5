// Tensors that PyTorch made (tools/fixtures), and how far ours are from them.
#pragma once

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <filesystem>
#include <limits>
#include <span>
#include <string>
#include <vector>

#include "base/error.h"
#include "weights/tensor_file.h"

namespace darkroom {

inline std::filesystem::path fixture_path(const std::string& name) {
  return std::filesystem::path(DARKROOM_SOURCE_DIR) / "tests" / "fixtures" / name;
}

// The tensors of one expected.safetensors file.
class Expected {
 public:
  explicit Expected(const std::filesystem::path& path) : file_(path) {}

  OwnedTensor load(const std::string& name) const {
    const StoredTensor* stored = file_.find(name);
    require(stored != nullptr, ErrorCode::kFailure, "{}: no tensor {}", file_.where(), name);
    return file_.load(*stored);
  }
  template <typename T>
  std::vector<T> values(const std::string& name) const {
    const OwnedTensor owned = load(name);
    const T* first = static_cast<const T*>(owned.tensor.data);
    return {first, first + owned.tensor.shape.numel()};
  }
  std::vector<float> floats(const std::string& name) const { return values<float>(name); }
  std::vector<int32_t> ids(const std::string& name) const { return values<int32_t>(name); }
  std::vector<uint8_t> bytes(const std::string& name) const { return values<uint8_t>(name); }
  bool has(const std::string& name) const { return file_.find(name) != nullptr; }

 private:
  TensorFile file_;
};

// Cosine of the angle between two vectors; 1 for the same direction.
template <typename A, typename B>
double cosine(const A& a, const B& b) {
  double dot = 0, aa = 0, bb = 0;
  for (std::size_t i = 0; i < a.size(); ++i) {
    dot += static_cast<double>(a[i]) * b[i];
    aa += static_cast<double>(a[i]) * a[i];
    bb += static_cast<double>(b[i]) * b[i];
  }
  return dot / std::sqrt(aa * bb);
}

// Largest difference over the root mean square of `want`.
inline double relative_error(std::span<const float> got, std::span<const float> want) {
  if (got.size() != want.size()) return std::numeric_limits<double>::infinity();
  double squares = 0, worst = 0;
  for (std::size_t i = 0; i < want.size(); ++i) {
    squares += static_cast<double>(want[i]) * want[i];
    const double difference = std::fabs(static_cast<double>(got[i]) - want[i]);
    worst = std::isnan(difference) ? std::numeric_limits<double>::infinity() : std::max(worst, difference);
  }
  return worst / std::max(1e-30, std::sqrt(squares / static_cast<double>(want.size())));
}

// Peak signal-to-noise ratio of two 8-bit pictures in dB; infinite when equal.
inline double psnr(std::span<const uint8_t> a, std::span<const uint8_t> b) {
  if (a.size() != b.size()) return -std::numeric_limits<double>::infinity();
  double squares = 0;
  for (std::size_t i = 0; i < a.size(); ++i) squares += std::pow(static_cast<double>(a[i]) - b[i], 2);
  return squares == 0 ? std::numeric_limits<double>::infinity()
                      : 10 * std::log10(255.0 * 255.0 * static_cast<double>(a.size()) / squares);
}

}  // namespace darkroom
