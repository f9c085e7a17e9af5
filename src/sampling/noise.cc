#include "sampling/noise.h"

#include <algorithm>
#include <array>
#include <bit>
#include <cmath>
#include <cstddef>
#include <memory>
#include <utility>

#include "base/error.h"

// This file is compiled with -ffp-contract=off: where torch's build fuses a product with a sum, it says
// std::fma, and everywhere else product and sum are rounded apart. Found by comparing bits; fuse or split any
// of them and some outputs change.

namespace darkroom {
namespace {

// Natural logarithm of a positive normal f32 after Cephes' logf (S. Moshier): the argument is 2^e · m with m
// in [sqrt(1/2), sqrt(2)), log(m) a polynomial in m - 1, and e · ln 2 is added in two parts.
float cephes_log(float value) {
  const uint32_t bits = std::bit_cast<uint32_t>(value);
  float exponent = static_cast<float>(static_cast<int32_t>(bits >> 23) - 126);
  float m = std::bit_cast<float>((bits & 0x007FFFFFu) | 0x3F000000u);  // in [0.5, 1)
  if (m < 0.707106781186547524f) {
    exponent -= 1.0f;
    m = (m - 1.0f) + m;
  } else {
    m -= 1.0f;
  }
  constexpr std::array<float, 9> kLog = {7.0376836292e-2f,  -1.1514610310e-1f, 1.1676998740e-1f,
                                         -1.2420140846e-1f, 1.4249322787e-1f,  -1.6668057665e-1f,
                                         2.0000714765e-1f,  -2.4999993993e-1f, 3.3333331174e-1f};
  const float square = m * m;
  float y = kLog[0];
  for (std::size_t i = 1; i < kLog.size(); ++i) y = std::fma(y, m, kLog[i]);
  y = std::fma(y * m, square, exponent * -2.12194440e-4f);
  y -= 0.5f * square;
  return std::fma(exponent, 0.693359375f, m + y);
}

struct SinCos {
  float sin;
  float cos;
};

// Sine and cosine of an angle in [0, 2^13) after Cephes' sinf and cosf: the angle less a multiple of pi/2 in
// extended precision (pi/4 in three parts), then one polynomial for each, swapped and signed by the octant.
SinCos cephes_sincos(float angle) {
  const int32_t octant = (static_cast<int32_t>(angle * 1.27323954473516f) + 1) & ~1;
  const float count = static_cast<float>(octant);
  float x = std::fma(count, -0.78515625f, angle);
  x = std::fma(count, -2.4187564849853515625e-4f, x);
  x = std::fma(count, -3.77489497744594108e-8f, x);
  const float z = x * x;
  float c = std::fma(2.443315711809948e-5f, z, -1.388731625493765e-3f);
  c = std::fma(c, z, 4.166664568298827e-2f);
  c = std::fma(c * z, z, -0.5f * z) + 1.0f;
  float s = std::fma(-1.9515295891e-4f, z, 8.3321608736e-3f);
  s = std::fma(s, z, -1.6666654611e-1f);
  s = std::fma(s * z, x, x);
  if (octant & 2) std::swap(s, c);
  return {octant & 4 ? -s : s, (octant + 2) & 4 ? -c : c};
}

// Box-Muller on one block of torch's CPU kernel: 8 + 8 uniforms in [0, 1) become 16 normals in place.
void box_muller_16(float* block) {
  constexpr float kTwoPi = 6.283185307179586f;
  for (int j = 0; j < 8; ++j) {
    const float radius = std::sqrt(-2.0f * cephes_log(1.0f - block[j]));
    const SinCos angle = cephes_sincos(kTwoPi * block[j + 8]);
    block[j] =
        radius * angle.cos + 0.0f;  // the sum turns -0 into 0, as torch's "times deviation plus mean" does
    block[j + 8] = radius * angle.sin + 0.0f;
  }
}

using PhiloxWords = std::array<uint32_t, 4>;

// Philox4x32-10 (Salmon et al. 2011): ten rounds of multiply and exchange of `counter` under `key`.
PhiloxWords philox(PhiloxWords counter, uint64_t key) {
  uint32_t key0 = static_cast<uint32_t>(key);
  uint32_t key1 = static_cast<uint32_t>(key >> 32);
  for (int round = 0; round < 10; ++round) {
    const uint64_t a = uint64_t{0xD2511F53u} * counter[0];
    const uint64_t b = uint64_t{0xCD9E8D57u} * counter[2];
    counter = {static_cast<uint32_t>(b >> 32) ^ counter[1] ^ key0, static_cast<uint32_t>(b),
               static_cast<uint32_t>(a >> 32) ^ counter[3] ^ key1, static_cast<uint32_t>(a)};
    key0 += 0x9E3779B9u;
    key1 += 0xBB67AE85u;
  }
  return counter;
}

// cuRAND's Box-Muller: two words become a sine and a cosine normal.
void cuda_box_muller(uint32_t word0, uint32_t word1, float* normals) {
  constexpr float kPerWord = 2.3283064365386963e-10f;                       // 2^-32
  constexpr float kAnglePerWord = 2.3283064365386963e-10f * 6.2831854820f;  // 2^-32 · 2 pi
  const float u = std::fma(static_cast<float>(word0), kPerWord, kPerWord / 2);
  const float angle = std::fma(static_cast<float>(word1), kAnglePerWord, kAnglePerWord / 2);
  const float radius = std::sqrt(std::max(0.0f, -2.0f * cephes_log(u)));  // u is 1 for the largest words
  const SinCos pair = cephes_sincos(angle);
  normals[0] = radius * pair.sin;
  normals[1] = radius * pair.cos;
}

}  // namespace

TorchCpuGenerator::TorchCpuGenerator(uint64_t seed) : engine_(static_cast<uint32_t>(seed)) {}

void TorchCpuGenerator::fill_uniform(std::span<float> out) {
  for (float& value : out)
    value = static_cast<float>(engine_() & 0xFFFFFFu) * 5.9604644775390625e-8f;  // 2^-24
}

double TorchCpuGenerator::next_double_normal() {
  if (kept_normal_) {
    const double value = *kept_normal_;
    kept_normal_.reset();
    return value;
  }
  const auto uniform = [this] {
    const uint64_t high = engine_();
    const uint64_t word = (high << 32) | engine_();
    return static_cast<double>(word & ((uint64_t{1} << 53) - 1)) * 0x1p-53;
  };
  const double u1 = uniform();
  const double u2 = uniform();
  const double radius = std::sqrt(-2.0 * std::log1p(-u2));
  const double angle = 2.0 * 3.14159265358979323846 * u1;
  kept_normal_ = radius * std::sin(angle);
  return radius * std::cos(angle);
}

void TorchCpuGenerator::randn(std::span<float> out) {
  if (out.size() < 16) {
    for (float& value : out) value = static_cast<float>(next_double_normal());
    return;
  }
  fill_uniform(out);
  for (std::size_t i = 0; i + 16 <= out.size(); i += 16) box_muller_16(&out[i]);
  if (out.size() % 16 != 0) {
    const std::span<float> last = out.last(16);
    fill_uniform(last);
    box_muller_16(last.data());
  }
}

TorchCudaGenerator::TorchCudaGenerator(uint64_t seed, CudaGeometry geometry)
    : seed_(seed), geometry_(geometry) {
  require(geometry.multiprocessors >= 0 && geometry.multiprocessors <= 65536 &&
              geometry.threads_per_multiprocessor >= 256 && geometry.threads_per_multiprocessor <= 65536,
          ErrorCode::kUsage,
          "CUDA noise: {} multiprocessors of {} threads; expected 0 (no limit) to 65536, and 256 to 65536",
          geometry.multiprocessors, geometry.threads_per_multiprocessor);
}

void TorchCudaGenerator::randn(std::span<float> out) {
  if (out.empty()) return;
  constexpr uint64_t kBlockThreads = 256;
  const uint64_t size = out.size();
  uint64_t blocks = (size + kBlockThreads - 1) / kBlockThreads;
  if (geometry_.multiprocessors > 0) {
    const uint64_t per_multiprocessor =
        static_cast<uint64_t>(geometry_.threads_per_multiprocessor) / kBlockThreads;
    blocks = std::min(blocks, static_cast<uint64_t>(geometry_.multiprocessors) * per_multiprocessor);
  }
  const uint64_t threads = blocks * kBlockThreads;
  const uint64_t rounds = (size - 1) / (threads * 4) + 1;  // draws of four normals by each thread
  for (uint64_t round = 0; round < rounds; ++round) {
    const uint64_t counter = call_offset_ + round;
    for (uint64_t thread = 0; thread < threads; ++thread) {
      const uint64_t first = thread + threads * 4 * round;
      if (first >= size) break;
      const PhiloxWords words = philox({static_cast<uint32_t>(counter), static_cast<uint32_t>(counter >> 32),
                                        static_cast<uint32_t>(thread), static_cast<uint32_t>(thread >> 32)},
                                       seed_);
      std::array<float, 4> normals{};
      cuda_box_muller(words[0], words[1], &normals[0]);
      if (first + 2 * threads < size) cuda_box_muller(words[2], words[3], &normals[2]);
      for (uint64_t i = 0; i < 4 && first + i * threads < size; ++i) out[first + i * threads] = normals[i];
    }
  }
  call_offset_ += rounds;
}

namespace {

template <typename Generator>
Randn shared_stream(Generator generator) {
  return [shared = std::make_shared<Generator>(std::move(generator))](std::span<float> out) {
    shared->randn(out);
  };
}

}  // namespace

Randn torch_randn(const NoiseSource& source, uint64_t seed) {
  if (source.kind == NoiseKind::kTorchCpu) return shared_stream(TorchCpuGenerator(seed));
  return shared_stream(TorchCudaGenerator(seed, source.cuda));
}

void mix_noise(std::span<const float> picture, std::span<const float> noise, float sigma,
               std::span<float> out) {
  const float share = 1.0f - sigma;
  for (std::size_t i = 0; i < out.size(); ++i) out[i] = sigma * noise[i] + share * picture[i];
}

}  // namespace darkroom
