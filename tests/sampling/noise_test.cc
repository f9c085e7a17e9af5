#include "sampling/noise.h"

#include <gtest/gtest.h>

#include <cmath>

#include "base/error.h"
#include "fixture.h"
#include "sampling/latents.h"

namespace darkroom {
namespace {

TEST(TorchCpuNoise, EveryDrawHasTheBitsOfTorch) {
  int draws = 0;
  for (const auto& item : sampling_fixture("noise")) {
    TorchCpuGenerator generator(item.at("seed").get<uint64_t>());
    for (const auto& draw : item.at("draws")) {
      std::vector<float> values(draw.at("size").get<std::size_t>());
      generator.randn(values);
      const std::string first = draw.at("first");
      EXPECT_EQ(bits(values).substr(0, first.size()), first) << "seed " << item.at("seed");
      EXPECT_EQ(hash(values), draw.at("hash"))
          << "seed " << item.at("seed") << ", " << values.size() << " values";
      ++draws;
    }
  }
  EXPECT_GE(draws, 20);
}

TEST(TorchCpuNoise, OnlyTheLow32BitsOfTheSeedCount) {
  const auto drawn = [](NoiseKind kind, uint64_t seed) {
    std::vector<float> values(16 * 8 * 8);
    torch_randn({.kind = kind}, seed)(values);
    return values;
  };
  constexpr uint64_t kSeed = 17, kFar = kSeed + (uint64_t{1} << 32);
  EXPECT_EQ(drawn(NoiseKind::kTorchCpu, kSeed), drawn(NoiseKind::kTorchCpu, kFar));
  EXPECT_NE(drawn(NoiseKind::kTorchCuda, kSeed), drawn(NoiseKind::kTorchCuda, kFar))
      << "Philox takes all 64 bits";
}

// Published first values of torch.randn on a CUDA device after torch.manual_seed.
TEST(TorchCudaNoise, FirstValuesAreThoseOfCuda) {
  const std::vector<float> seed_0 = {-0.9247f, -0.4253f, -2.6438f, 0.1452f,  -0.1209f,
                                     -0.5797f, -0.6229f, -0.3284f, -1.0745f, -0.3631f};
  const std::vector<float> seed_42 = {0.1940f, 2.1614f,  -0.1721f, 0.8491f, -1.9244f,
                                      0.6530f, -0.6494f, -0.8175f, 0.5280f, -1.2753f};
  std::vector<float> values(1024);
  TorchCudaGenerator(0).randn(values);
  for (std::size_t i = 0; i < seed_0.size(); ++i) EXPECT_NEAR(values[i], seed_0[i], 6e-5) << i;
  TorchCudaGenerator(42).randn(values);
  for (std::size_t i = 0; i < seed_42.size(); ++i) EXPECT_NEAR(values[i], seed_42[i], 6e-5) << i;
}

// One multiprocessor of 256 threads: thread t writes elements t, t + 256, t + 512, t + 768 from one counter,
// then goes on with the next counter.
TEST(TorchCudaNoise, SmallDevicesWrapAround) {
  const CudaGeometry small{.multiprocessors = 1, .threads_per_multiprocessor = 256};
  std::vector<float> wide(256), wrapped(2048);
  TorchCudaGenerator(5).randn(wide);
  TorchCudaGenerator generator(5, small);
  generator.randn(wrapped);
  EXPECT_TRUE(std::equal(wide.begin(), wide.end(), wrapped.begin()));
  std::vector<float> second(256);
  TorchCudaGenerator large(5);
  large.randn(wide);
  large.randn(second);  // the second call uses the second counter
  EXPECT_TRUE(std::equal(second.begin(), second.end(), wrapped.begin() + 1024));
  EXPECT_FALSE(std::equal(second.begin(), second.end(), wrapped.begin() + 256))
      << "the cosine half, not a new counter";
  // Sine and cosine halves of the same pair share a radius, so r² = a² + b² follows
  // the exponential distribution.
  double sum = 0;
  for (std::size_t i = 0; i < 256; ++i) sum += wrapped[i] * wrapped[i] + wrapped[i + 256] * wrapped[i + 256];
  EXPECT_NEAR(sum / 256, 2.0, 0.6);
}

TEST(TorchCudaNoise, LargeDrawIsNormal) {
  std::vector<float> values(262144);
  TorchCudaGenerator(99).randn(values);
  double sum = 0, squares = 0;
  for (const float value : values) {
    ASSERT_TRUE(std::isfinite(value));
    sum += value;
    squares += static_cast<double>(value) * value;
  }
  EXPECT_NEAR(sum / 262144, 0.0, 0.01);
  EXPECT_NEAR(squares / 262144, 1.0, 0.01);
}

TEST(TorchRandn, GoesOnWhereTheLastCallEnded) {
  for (const NoiseKind kind : {NoiseKind::kTorchCpu, NoiseKind::kTorchCuda}) {
    std::vector<float> first(384), second(384), expected(384);
    const Randn randn = torch_randn({.kind = kind}, 12), copy = randn;
    randn(first);
    copy(second);
    const auto check = [&](auto generator) {
      generator.randn(expected);
      EXPECT_EQ(first, expected);
      generator.randn(expected);
      EXPECT_EQ(second, expected);
    };
    if (kind == NoiseKind::kTorchCpu) {
      check(TorchCpuGenerator(12));
    } else {
      check(TorchCudaGenerator(12));
    }
  }
}

TEST(MixNoise, LiesBetweenPictureAndNoise) {
  const std::vector<float> picture = {1, -2, 3}, noise = {5, 6, -7};
  std::vector<float> out(3);
  mix_noise(picture, noise, 1, out);
  EXPECT_EQ(out, noise);
  mix_noise(picture, noise, 0, out);
  EXPECT_EQ(out, picture);
  mix_noise(picture, noise, 0.25f, out);
  EXPECT_EQ(out, (std::vector<float>{2, 0, 0.5f}));
}

TEST(TorchCudaNoise, RefusesImpossibleDevices) {
  EXPECT_THROW(TorchCudaGenerator(0, {.multiprocessors = -1}), Error);
  EXPECT_THROW(TorchCudaGenerator(0, {.multiprocessors = 1, .threads_per_multiprocessor = 255}), Error);
}

TEST(Latents, PackAsDiffusers) {
  const auto fixture = sampling_fixture("packing");
  const LatentSize size{fixture.at("channels"), fixture.at("height"), fixture.at("width")};
  std::vector<float> planes(static_cast<std::size_t>(size.channels * size.height * size.width));
  for (std::size_t i = 0; i < planes.size(); ++i) planes[i] = static_cast<float>(i);
  const std::vector<float> tokens = pack_latents(planes, size);
  EXPECT_EQ(tokens, fixture.at("tokens").get<std::vector<float>>());
  EXPECT_EQ(latent_tokens(size), size.height * size.width / 4);
  EXPECT_EQ(unpack_latents(tokens, size), planes);
  const std::vector<float> pixels = unpack_latents_to_pixels(tokens, size);
  ASSERT_EQ(pixels.size(), planes.size());
  std::size_t next = 0;
  for (int64_t row = 0; row < size.height; ++row) {
    for (int64_t column = 0; column < size.width; ++column) {
      for (int64_t channel = 0; channel < size.channels; ++channel) {
        EXPECT_EQ(pixels[next++],
                  planes[static_cast<std::size_t>((channel * size.height + row) * size.width + column)]);
      }
    }
  }
}

TEST(Latents, RefuseOddAndWrongSizes) {
  const std::vector<float> values(16 * 4 * 4);
  EXPECT_THROW(pack_latents(values, {16, 4, 5}), Error);
  EXPECT_THROW(pack_latents(values, {16, 1, 16}), Error);
  EXPECT_THROW(pack_latents(values, {16, 4, 6}), Error);
  EXPECT_THROW(unpack_latents(values, {16, 8, 4}), Error);
  EXPECT_THROW(unpack_latents_to_pixels(values, {0, 4, 4}), Error);
  EXPECT_THROW(latent_tokens({16, int64_t{1} << 31, int64_t{1} << 31}), Error);
}

// Which thread draws which number depends on how many there are: this is the whole difference between cards.
TEST(NoiseSource, NamesCardsAndTheirSizes) {
  const auto cuda = [](int64_t processors, int64_t threads) {
    return NoiseSource{.kind = NoiseKind::kTorchCuda, .cuda = {processors, threads}};
  };
  EXPECT_EQ(parse_noise_source("torch-cpu"), NoiseSource{});
  EXPECT_EQ(parse_noise_source("torch-cuda"), cuda(0, 2048));
  EXPECT_EQ(parse_noise_source("torch-cuda:128x1536"), cuda(128, 1536));
  for (const char* name : {"rtx3060", "RTX 3060", "rtx-3060", "3060", "NVIDIA GeForce RTX 3060"}) {
    EXPECT_EQ(parse_noise_source(std::string("torch-cuda:") + name), cuda(28, 1536)) << name;
  }
  EXPECT_EQ(parse_noise_source("torch-cuda:t4"), cuda(40, 1024));
  for (const char* text : {"torch-cpu", "torch-cuda", "torch-cuda:nv", "torch-cuda:128x1536"}) {
    EXPECT_EQ(noise_source_text(parse_noise_source(text)), text);
  }
  EXPECT_EQ(noise_source_text(parse_noise_source("torch-cuda:a100")), "torch-cuda:108x2048");
  for (const char* text :
       {"", "numpy", "torch-cuda:", "torch-cuda:rtx9999", "torch-cuda:0x1536", "torch-cuda:28x255",
        "torch-cuda:28x", "torch-cuda:x", "torch-cudarubbish", "torch-cuda:28x1536x2", "torch-cpu:4"}) {
    EXPECT_THROW(parse_noise_source(text), Error) << text;
  }
}

TEST(NoiseSource, ACardsSizeDecidesTheNoise) {
  const auto drawn = [](const char* source, std::size_t count) {
    std::vector<float> values(count);
    torch_randn(parse_noise_source(source), 42)(values);
    return values;
  };
  const std::size_t small = 28 * 1536, large = 65536;  // as many as an RTX 3060 has threads; 512x512
  EXPECT_EQ(drawn("torch-cuda:rtx3060", small), drawn("torch-cuda", small));
  EXPECT_NE(drawn("torch-cuda:rtx3060", large), drawn("torch-cuda", large));
  EXPECT_NE(drawn("torch-cuda:rtx3060", large), drawn("torch-cuda:t4", large));
  EXPECT_EQ(drawn("torch-cuda:rtx4090", large), drawn("torch-cuda", large));
  EXPECT_EQ(drawn("torch-cuda:nv", large), drawn("torch-cuda", large));
  EXPECT_EQ(drawn("torch-cuda:168x256", large), drawn("torch-cuda:rtx3060", large)) << "blocks of 256";
}

}  // namespace
}  // namespace darkroom
