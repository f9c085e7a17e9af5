// Checks build their text only when they fail: while all is well an op takes no memory but its arena's.
#include <gtest/gtest.h>

#include <cstdlib>
#include <new>

#include "backends/dry_run/dry_run.h"
#include "ops/ops.h"

namespace {
int allocations = 0;
}  // namespace

// Not inlined, or GCC takes malloc and free for mismatched.
[[gnu::noinline]] void* operator new(std::size_t bytes) {
  ++allocations;
  if (void* memory = std::malloc(bytes ? bytes : 1)) return memory;
  throw std::bad_alloc();
}
[[gnu::noinline]] void operator delete(void* memory) noexcept { std::free(memory); }
[[gnu::noinline]] void operator delete(void* memory, std::size_t) noexcept { std::free(memory); }

namespace darkroom {
namespace {

struct CountsFormatting {
  int* times;
};

}  // namespace
}  // namespace darkroom

template <>
struct fmt::formatter<darkroom::CountsFormatting> : formatter<std::string_view> {
  template <typename Context>
  auto format(const darkroom::CountsFormatting& value, Context& context) const {
    ++*value.times;
    return formatter<std::string_view>::format("counted", context);
  }
};

namespace darkroom {
namespace {

Tensor weight(const Shape& shape) { return Tensor(nullptr, DType::kBF16, shape, Device::kNone); }

TEST(Require, FormatsOnlyWhenItFails) {
  int times = 0;
  require(true, ErrorCode::kFailure, "{}", CountsFormatting{&times});
  EXPECT_EQ(times, 0);
  EXPECT_THROW(require(false, ErrorCode::kFailure, "{}", CountsFormatting{&times}), Error);
  EXPECT_EQ(times, 1);
}

TEST(Require, SaysShapesAndTensors) {
  try {
    require(false, ErrorCode::kFailure, "{} of {:>10}", weight({4, 8}), Shape{2, 3});
    FAIL();
  } catch (const Error& e) {
    EXPECT_STREQ(e.what(), "bf16 [4, 8] of     [2, 3]");
  }
}

TEST(Ops, TakeNoMemoryForTexts) {
  DryRunBackend backend;
  Arena arena = Arena::counting();
  const Context ctx{backend, arena, DType::kBF16};
  const Linear layer{weight({96, 64}), weight({96})};
  const Conv2d conv{weight({16, 32, 3, 3}), weight({16})};
  const Tensor x = ctx.allocate({24, 64}), picture = ctx.allocate({8, 8, 32});
  const Tensor row = arena.allocate(DType::kF32, {64}), half = arena.allocate(DType::kF32, {24, 8});
  const int before = allocations;
  ops::linear(ctx, x, layer, Activation::kSilu);
  ops::layer_norm(ctx, x, weight({64}), weight({64}), 1e-6f);
  ops::norm_modulate(ctx, x, row, row, 1e-6f);
  ops::rms_norm(ctx, x, weight({64}), 1e-6f);
  ops::qk_norm_rope(ctx, x, weight({16}), 1e-6f, half, half);
  ops::attention(ctx, x, x, x, {.heads = 4});
  ops::gated_gelu(ctx, x, x);
  ops::add_into(ctx, x, x, x);
  ops::silu(ctx, x);
  ops::group_norm(ctx, picture, weight({32}), weight({32}), {.groups = 8});
  ops::conv2d(ctx, picture, conv, {.upsample = 2});
  ops::convert(ctx, x, DType::kF32);
  ops::download(ctx, ops::upload(ctx, {}, DType::kF32, {24, 64}).slice_rows(2, 4).slice_cols(8, 8), {});
  x.reshape({64, 24});
  EXPECT_EQ(allocations, before);
}

}  // namespace
}  // namespace darkroom
