// Products on cooperative matrices, against the reference backend: what the op table does not ask of them.
#include <cmath>
#include <optional>
#include <vector>

#include "backends/reference/reference.h"
#include "backends/vulkan/kernels.h"
#include "backends/vulkan/matrix.h"
#include "selftest/op_cases.h"
#include "vulkan_test_util.h"

namespace darkroom {
namespace {

using vulkan::LinearChoice;
using vulkan::LinearTile;

class VulkanMatrix : public VulkanTest {
 protected:
  // This leg is for a device with matrices: without one it fails, it is not skipped.
  void prepare() {
    vulkan::CoreOptions wanted = options();
    wanted.highest_class = vulkan::class_of("");
    const auto core = open(wanted);
    ASSERT_TRUE(core) << skipped_;
    ASSERT_GE(core->device.info().device_class, vulkan::DeviceClass::kMatrix) << core->device.info().reason;
    device_ = vulkan::make_backend(core);
    memory_ = device_->allocate(32 << 20);
    arena_.emplace(*memory_);
  }
  std::vector<float> device_values(const Tensor& t) { return values(*device_, t); }
  static std::vector<float> values(Backend& backend, const Tensor& t) {
    std::vector<float> out(static_cast<std::size_t>(t.shape.numel()));
    backend.download(t, out);
    return out;
  }

  // Of a row, by its number.
  static float magnitude(int64_t row, int sign) {
    return std::ldexp(1.0f, sign * static_cast<int>(row * 37 % 121 - 60));
  }
  static std::vector<float> spread(std::vector<float> numbers, int64_t cols, int sign) {
    for (std::size_t i = 0; i < numbers.size(); ++i)
      numbers[i] *= magnitude(static_cast<int64_t>(i) / cols, sign);
    return numbers;
  }

  std::unique_ptr<Backend> reference_ = make_reference_backend(), device_;
  std::unique_ptr<Memory> memory_;
  std::optional<Arena> arena_;
  Buffer host_{32 << 20};
};

TEST_F(VulkanMatrix, DeviceHasThem) {
  prepare();
  ASSERT_FALSE(HasFatalFailure());
  const vulkan::DeviceInfo& info = core_->device.info();
  for (const vulkan::Component factor : {vulkan::Component::kF16, vulkan::Component::kS8})
    for (const LinearTile size : {LinearTile::kSmall, LinearTile::kMedium, LinearTile::kLarge})
      EXPECT_TRUE(vulkan::plan_matrices(info, factor, size)) << info.name;
}

struct Size {
  int64_t m, k, n;
};

// The bytes of the reference: sums are exact.
TEST_F(VulkanMatrix, ProductsOf8BitsHaveTheSameBits) {
  prepare();
  ASSERT_FALSE(HasFatalFailure());
  for (const LinearTile tile : {LinearTile::kSmall, LinearTile::kMedium}) {
    for (const Size size :
         {Size{19, 96, 37}, Size{67, 77, 65}, Size{1, 8, 1}, Size{150, 24, 40}, Size{16, 256, 16}}) {
      for (const int64_t group : {size.k, int64_t{24}, int64_t{7}}) {
        if (group > size.k || (tile == LinearTile::kMedium && group == 7)) continue;
        SCOPED_TRACE(::testing::Message() << size.m << "x" << size.k << "x" << size.n << " by " << group);
        const auto run = [&](Backend& backend, Arena& arena, bool on_device) {
          Operands in(DType::kBF16, DType::kF32, Operands::Scales::kNone, false, &backend);
          const Context ctx{backend, arena, DType::kBF16};
          const Linear w = in.int8_linear(size.k, size.n);
          Tensor x = arena.allocate(DType::kI8, {size.m, size.k});
          x.levels = kInt8Levels;
          const Tensor scales = arena.allocate(DType::kF32, {size.m, (size.k + group - 1) / group});
          backend.quantize_rows({.x = in.activation({size.m, size.k}),
                                 .smooth = {},
                                 .group = group,
                                 .out = x,
                                 .scales = scales});
          Tensor scaled = x;
          scaled.scales = static_cast<const float*>(scales.data);
          scaled.scale_cols = group;
          scaled.scale_count = scales.shape.numel();
          const LinearArgs args{.x = scaled,
                                .weight = w.weight,
                                .bias = w.bias,
                                .gate = in.f32({size.n}),
                                .residual = in.activation({size.m, size.n}),
                                .out = ctx.allocate({size.m, size.n})};
          if (on_device)
            vulkan::linear(core_->recorder, args, {.tile = tile});
          else
            backend.linear(args);
          return values(backend, args.out);
        };
        Arena host(host_);
        const Arena::Scope scope(*arena_);
        const std::vector<float> want = run(*reference_, host, false), got = run(*device_, *arena_, true);
        for (std::size_t i = 0; i < want.size(); ++i) ASSERT_EQ(want[i], got[i]) << i;
      }
    }
  }
}

// As the op table has it, with tiles of more than one fragment a subgroup, and rows from 2^-60 to 2^60 of x and weights,
// which leave f16 without scales.
TEST_F(VulkanMatrix, RowsOfAnyMagnitude) {
  prepare();
  ASSERT_FALSE(HasFatalFailure());
  for (const LinearTile tile : {LinearTile::kSmall, LinearTile::kMedium}) {
    for (const Size size : {Size{67, 77, 65}, Size{20, 64, 24}, Size{150, 24, 40}}) {
      SCOPED_TRACE(::testing::Message() << size.m << "x" << size.k << "x" << size.n);
      const auto run = [&](Backend& backend, Arena& arena, bool on_device) {
        Operands in(DType::kBF16, DType::kBF16, Operands::Scales::kNone, false, &backend);
        const Tensor x = arena.allocate(DType::kBF16, {size.m, size.k});
        const Tensor weight = arena.allocate(DType::kBF16, {size.n, size.k});
        const Tensor out = arena.allocate(DType::kF32, {size.m, size.n});
        backend.upload(spread(in.numbers(size.m * size.k), size.k, 1), x);
        backend.upload(spread(in.numbers(size.n * size.k), size.k, -1), weight);
        const LinearArgs args{.x = x, .weight = weight, .bias = {}, .gate = {}, .residual = {}, .out = out};
        if (on_device) {
          vulkan::linear(core_->recorder, args, {.tile = tile});
        } else {
          backend.linear(args);
        }
        return values(backend, out);
      };
      Arena host(host_);
      const Arena::Scope scope(*arena_);
      const std::vector<float> want = run(*reference_, host, false), got = run(*device_, *arena_, true);
      for (std::size_t i = 0; i < want.size(); ++i) {
        const int64_t m = static_cast<int64_t>(i) / size.n, n = static_cast<int64_t>(i) % size.n;
        const float unit = magnitude(m, 1) * magnitude(n, -1) * std::sqrt(static_cast<float>(size.k));
        ASSERT_NEAR(want[i], got[i], 2e-6f * unit) << i;
      }
    }
  }
}

struct Heads {
  int64_t queries, keys, heads, dim;
};

// q, k and v are columns of wider tensors, as in a model; none of them fits f16 as it is.
TEST_F(VulkanMatrix, Attention) {
  prepare();
  ASSERT_FALSE(HasFatalFailure());
  for (const Heads h :
       {Heads{37, 53, 2, 64}, Heads{32, 16, 1, 64}, Heads{5, 1, 3, 64}, Heads{70, 130, 2, 128}}) {
    SCOPED_TRACE(::testing::Message() << h.queries << "x" << h.keys << " heads " << h.heads << "x" << h.dim);
    const auto run = [&](Backend& backend, Arena& arena, bool on_device) {
      Operands in(DType::kBF16, DType::kF32, Operands::Scales::kNone, false, &backend);
      const int64_t cols = h.heads * h.dim;
      const Tensor q = in.strided({h.queries, cols}, 4e6f), k = in.strided({h.keys, cols}, 1e-7f),
                   v = in.strided({h.keys, cols}, 3e6f);
      const AttentionArgs args{.q = q,
                               .k = k,
                               .v = v,
                               .out = arena.allocate(DType::kBF16, {h.queries, cols}),
                               .heads = h.heads,
                               .scale = 0.3f,
                               .relative_bias = {},
                               .state = {}};
      if (on_device) {
        EXPECT_TRUE(vulkan::attention_with_matrices(core_->recorder, args));
      } else {
        backend.attention(args);
      }
      return values(backend, args.out);
    };
    Arena host(host_);
    const Arena::Scope scope(*arena_);
    const std::vector<float> want = run(*reference_, host, false), got = run(*device_, *arena_, true);
    // Weights have 11 bits, results 8.
    for (std::size_t i = 0; i < want.size(); ++i)
      ASSERT_NEAR(want[i], got[i], 3e6f * 0x1p-12f + std::fabs(want[i]) / 128) << i;
  }
}

// What is not for matrices goes without them.
TEST_F(VulkanMatrix, AskedForNone) {
  vulkan::CoreOptions wanted = options();
  wanted.highest_class = vulkan::class_of("S");
  const auto core = open(wanted);
  ASSERT_TRUE(core) << skipped_;
  EXPECT_EQ(vulkan::class_name(core->device.info().device_class), "S");
  EXPECT_FALSE(core->device.info().fast_dot_product);
  EXPECT_THROW(vulkan::class_of("X"), Error);
}

}  // namespace
}  // namespace darkroom
