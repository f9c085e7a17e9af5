#include <algorithm>
#include <bit>
#include <cmath>
#include <cstring>
#include <limits>
#include <vector>

#include "backends/reference/reference.h"
#include "base/half.h"
#include "tensor/buffer.h"
#include "vulkan_test_util.h"

namespace darkroom {
namespace {

constexpr float kInfinity = std::numeric_limits<float>::infinity();

class VulkanPointwise : public VulkanTest {
 protected:
  // A tensor of the stored bytes.
  static Tensor stored(Backend& backend, Arena& arena, DType dtype, std::span<const std::byte> bytes) {
    const Tensor t = arena.allocate(dtype, {static_cast<int64_t>(bytes.size() / dtype_bytes(dtype))});
    backend.fill(static_cast<std::byte*>(t.data), bytes.size(),
                 [&](std::span<std::byte> to) { std::ranges::copy(bytes, to.begin()); });
    return t;
  }
  static std::vector<float> values(Backend& backend, const Tensor& t) {
    std::vector<float> out(static_cast<std::size_t>(t.shape.numel()));
    backend.download(t, out);
    return out;
  }
};

void expect_same(float got, float want, std::size_t i) {
  if (std::isnan(want)) {
    EXPECT_TRUE(std::isnan(got)) << i;
  } else {
    EXPECT_EQ(std::bit_cast<uint32_t>(got), std::bit_cast<uint32_t>(want)) << i;
  }
}

// All that a small type can be.
template <typename T>
std::vector<T> all_of() {
  std::vector<T> all;
  for (uint32_t bits = 0; bits < 1u << (8 * sizeof(T)); ++bits)
    all.push_back({static_cast<decltype(T::bits)>(bits)});
  return all;
}

TEST_F(VulkanPointwise, ConvertsEveryValueOfSmallTypes) {
  DARKROOM_OPEN_VULKAN(core);
  const auto backend = vulkan::make_backend(core);
  const auto memory = backend->allocate(4 << 20);
  const auto check = [&]<typename T>(const std::vector<T>& all) {
    Arena arena(*memory);
    const Tensor x = stored(*backend, arena, kDTypeOf<T>, std::as_bytes(std::span(all)));
    const Tensor out = arena.allocate(DType::kF32, x.shape);
    backend->convert({x, out});
    const std::vector<float> got = values(*backend, out);
    for (std::size_t i = 0; i < all.size(); ++i) expect_same(got[i], to_float(all[i]), i);
  };
  check(all_of<BFloat16>());
  check(all_of<Float16>());
  check(all_of<Float8E4M3>());
  check(all_of<Float8E5M2>());
}

TEST_F(VulkanPointwise, RoundsToNearestEven) {
  DARKROOM_OPEN_VULKAN(core);
  const auto backend = vulkan::make_backend(core);
  const auto memory = backend->allocate(4 << 20);
  std::vector<float> x;  // before, at and after the middle between neighbours, for every upper half
  for (uint32_t upper = 0; upper < 65536; upper += 7) {
    for (const uint32_t lower : {0u, 1u, 0x7FFFu, 0x8000u, 0x8001u, 0xFFFFu})
      x.push_back(std::bit_cast<float>(upper << 16 | lower));
  }
  Arena arena(*memory);
  const Tensor in = stored(*backend, arena, DType::kF32, std::as_bytes(std::span(x)));
  const Tensor out = arena.allocate(DType::kBF16, in.shape);
  backend->convert({in, out});
  const std::vector<float> got = values(*backend, out);
  for (std::size_t i = 0; i < x.size(); ++i) expect_same(got[i], round_to_bfloat16(x[i]), i);
}

// Far out: no NaN where there was none, and none lost.
TEST_F(VulkanPointwise, ActivationsOfExtremes) {
  DARKROOM_OPEN_VULKAN(core);
  const auto backend = vulkan::make_backend(core);
  const auto reference = make_reference_backend();
  const auto memory = backend->allocate(1 << 16);
  std::vector<float> x = {0.0f, -0.0f, 1e-30f, -1e-30f, kInfinity, std::nanf("")};
  for (const float far : {5.0f, 9.0f, 40.0f, 87.0f, 89.0f, 104.0f, 1000.0f, 1e10f, 1e12f}) {
    x.push_back(far);
    x.push_back(-far);
  }
  for (const Activation activation : {Activation::kNone, Activation::kGeluTanh, Activation::kQuickGelu,
                                      Activation::kSilu, Activation::kRelu}) {
    Arena arena(*memory);
    const Tensor in = stored(*backend, arena, DType::kF32, std::as_bytes(std::span(x)));
    const Tensor out = arena.allocate(DType::kF32, in.shape);
    backend->activate({in, out, activation});
    const std::vector<float> got = values(*backend, out);
    std::vector<float> want(x.size());
    reference->activate(
        {Tensor(x.data(), DType::kF32, in.shape), Tensor(want.data(), DType::kF32, in.shape), activation});
    for (std::size_t i = 0; i < x.size(); ++i) {
      if (!std::isfinite(want[i])) {
        expect_same(got[i], want[i], i);
      } else {
        EXPECT_NEAR(got[i], want[i], 1e-6f * (1 + std::fabs(want[i])))
            << "of " << x[i] << ", activation " << static_cast<int>(activation);
      }
    }
  }
}

// Results end where they should: bytes before, between and after rows stay.
TEST_F(VulkanPointwise, WritesNothingButItsRows) {
  DARKROOM_OPEN_VULKAN(core);
  const auto backend = vulkan::make_backend(core);
  const auto memory = backend->allocate(1 << 17);
  for (const DType dtype : {DType::kF32, DType::kBF16}) {
    for (const int64_t cols : {1, 7, 255, 1024, 1025}) {
      const std::size_t element = dtype_bytes(dtype), size = 5 * 1100 * element;
      backend->fill(memory->data(), size,
                    [](std::span<std::byte> to) { std::memset(to.data(), 0x77, to.size()); });
      const Tensor wide(memory->data(), dtype, {5, 1100}, Device::kGpu);
      const Tensor out = wide.slice_rows(1, 3).slice_cols(13, cols);
      const std::vector<float> ones(static_cast<std::size_t>(3 * cols), 1.0f);
      backend->upload(ones, out);
      backend->add({.x = out, .y = out, .z = out, .out = out});
      backend->look_at(memory->data(), size, [&](std::span<const std::byte> bytes) {
        for (std::size_t i = 0; i < size; i += element) {
          const int64_t row = static_cast<int64_t>(i / element) / 1100,
                        col = static_cast<int64_t>(i / element) % 1100;
          const bool inside = row >= 1 && row < 4 && col >= 13 && col < 13 + cols;
          // 3 in either type ends in 0x40, what was there in 0x77.
          ASSERT_EQ(bytes[i + element - 1], inside ? std::byte{0x40} : std::byte{0x77}) << row << " " << col;
        }
      });
    }
  }
}

}  // namespace
}  // namespace darkroom
