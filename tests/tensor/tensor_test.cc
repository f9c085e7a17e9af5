#include "tensor/tensor.h"

#include <gtest/gtest.h>

#include <array>
#include <cstring>
#include <numeric>
#include <vector>

#include "base/expect_error.h"
#include "tensor/buffer.h"

namespace darkroom {
namespace {

TEST(Shape, CountsAndPrints) {
  const Shape shape = {2, 3, 4};
  EXPECT_EQ(shape.rank(), 3);
  EXPECT_EQ(shape.numel(), 24);
  EXPECT_EQ(shape.rows(), 6);
  EXPECT_EQ(shape.cols(), 4);
  EXPECT_EQ(shape.str(), "[2, 3, 4]");
  EXPECT_EQ(Shape({5}).rows(), 1);
  EXPECT_EQ(Shape().numel(), 0);
  EXPECT_EQ(Shape().str(), "[]");
  EXPECT_EQ(Shape({0, 7}).numel(), 0);
  EXPECT_NE(Shape({2, 3}), Shape({3, 2}));
  EXPECT_NE(Shape({2}), Shape({2, 1}));
  const std::vector<int64_t> extents = {2, 3, 4};
  EXPECT_EQ(Shape(extents), shape);
}

TEST(Shape, RefusesWhatWouldOverflow) {
  expect_error(ErrorCode::kFailure, "a shape of 5 extents, at most 4", [] { Shape({1, 1, 1, 1, 1}); });
  expect_error(ErrorCode::kFailure, "the extent -1", [] { Shape({3, -1}); });
  const int64_t large = int64_t{1} << 30;
  EXPECT_EQ(Shape({large, int64_t{1} << 25}).numel(), int64_t{1} << 55);
  expect_error(ErrorCode::kFailure, "more than 2^55 elements", [=] { Shape({large, large}); });
  expect_error(ErrorCode::kFailure, "more than 2^55 elements", [] {
    Shape({INT64_MAX, INT64_MAX, INT64_MAX});
  });
  expect_error(ErrorCode::kFailure, "more than 2^55 elements", [] { Shape({INT64_MAX, 2, 0}); });
}

TEST(DType, SizesAndNames) {
  EXPECT_EQ(dtype_bytes(DType::kF32), 4u);
  EXPECT_EQ(dtype_bytes(DType::kBF16), 2u);
  EXPECT_EQ(dtype_bytes(DType::kF8E4M3), 1u);
  EXPECT_EQ(dtype_bytes(DType::kI64), 8u);
  EXPECT_EQ(dtype_name(DType::kF8E5M2), "f8_e5m2");
  EXPECT_TRUE(is_float(DType::kF8E4M3));
  EXPECT_FALSE(is_float(DType::kI32));
  EXPECT_EQ(dispatch_float(DType::kBF16, []<typename T>() { return kDTypeOf<T>; }), DType::kBF16);
  EXPECT_EQ(dispatch_float(DType::kF32, []<typename T>() { return sizeof(T); }), 4u);
  expect_error(ErrorCode::kFailure, "expected a floating-point tensor, found i32",
               [] { dispatch_float(DType::kI32, []<typename T>() {}); });
}

// 6 rows of 8, counted from 0: value = 8·row + column.
struct Grid {
  std::array<float, 48> values{};
  Tensor tensor{values.data(), DType::kF32, {6, 8}};
  Grid() { std::iota(values.begin(), values.end(), 0.0f); }
};

TEST(Tensor, SlicesRowsAndColumns) {
  const Grid grid;
  const Tensor rows = grid.tensor.slice_rows(2, 3);
  EXPECT_EQ(rows.shape, Shape({3, 8}));
  EXPECT_TRUE(rows.dense());
  EXPECT_EQ(rows.row<float>(0)[0], 16.0f);
  const Tensor cols = grid.tensor.slice_cols(5, 2);
  EXPECT_EQ(cols.shape, Shape({6, 2}));
  EXPECT_FALSE(cols.dense());
  EXPECT_EQ(cols.row_stride, 8);
  EXPECT_EQ(cols.row<float>(4)[1], 38.0f);
  const Tensor both = cols.slice_rows(1, 4).slice_cols(1, 1);
  EXPECT_EQ(both.row<float>(3)[0], 38.0f);
  EXPECT_EQ(both.bytes(), 16u);
  EXPECT_TRUE(cols.slice_rows(5, 1).dense());  // one row is always dense
  EXPECT_EQ(grid.tensor.slice_rows(6, 0).rows(), 0);
}

TEST(Tensor, SlicesOfTensorsWithoutDataStayWithoutData) {
  const Tensor plan(nullptr, DType::kBF16, {6, 8}, Device::kNone);
  EXPECT_EQ(plan.slice_rows(2, 2).data, nullptr);
  EXPECT_EQ(plan.slice_cols(2, 2).device, Device::kNone);
  EXPECT_EQ(plan.bytes(), 96u);
}

TEST(Tensor, SlicesOutsideAreErrors) {
  const Grid grid;
  const Tensor& t = grid.tensor;
  for (const auto& [first, count] : std::vector<std::pair<int64_t, int64_t>>{{-1, 2},
                                                                             {0, -1},
                                                                             {7, 0},
                                                                             {0, 9},
                                                                             {5, 4},
                                                                             {INT64_MAX, INT64_MAX},
                                                                             {1, INT64_MAX},
                                                                             {INT64_MIN, 1}}) {
    expect_error(ErrorCode::kFailure, "f32 [6, 8]", [&, f = first, c = count] { t.slice_rows(f, c); });
    if (first != 7 && count != 4) {
      expect_error(ErrorCode::kFailure, "f32 [6, 8]", [&, f = first, c = count] { t.slice_cols(f, c); });
    }
  }
  expect_error(ErrorCode::kFailure, "f32 [48]", [&] { t.reshape({48}).slice_rows(0, 1); });
}

TEST(Tensor, ReshapesDenseTensorsOnly) {
  const Grid grid;
  const Tensor wide = grid.tensor.reshape({2, 3, 8});
  EXPECT_EQ(wide.row_stride, 8);
  EXPECT_EQ(wide.rows(), 6);
  EXPECT_EQ(grid.tensor.reshape({4, 12}).row<float>(1)[0], 12.0f);
  expect_error(ErrorCode::kFailure, "cannot reshape f32 [6, 8] to [7, 7]", [&] {
    grid.tensor.reshape({7, 7});
  });
  expect_error(ErrorCode::kFailure, "cannot reshape", [&] { grid.tensor.slice_cols(0, 4).reshape({24}); });
}

TEST(Tensor, ScalesFollowTheirRows) {
  alignas(kBufferAlignment) std::array<std::byte, 64> memory{};
  Tensor t(nullptr, DType::kI8, {3, 5}, Device::kNone);
  EXPECT_EQ(t.bytes_with_scales(), 15u);
  t.scale_count = 3;
  EXPECT_EQ(t.scales_offset(), 16u);
  EXPECT_EQ(t.bytes_with_scales(), 28u);
  EXPECT_EQ(t.slice_rows(1, 1).scales, nullptr);
  t.lay_into(memory.data());
  EXPECT_EQ(t.data, memory.data());
  EXPECT_EQ(static_cast<const void*>(t.scales), memory.data() + 16);
  const Tensor rows = t.slice_rows(1, 2);
  EXPECT_EQ(rows.scale_count, 2);
  EXPECT_EQ(rows.scales, t.scales + 1);
  EXPECT_EQ(t.slice_cols(1, 2).scales, t.scales);
  EXPECT_EQ(t.reshape({3, 1, 5}).scale_count, 3);
  expect_error(ErrorCode::kFailure, "cannot reshape i8 [3, 5] to [15]", [&] { t.reshape({15}); });
  t.scale_count = 1;
  EXPECT_EQ(t.slice_rows(1, 2).scales, t.scales);
  EXPECT_EQ(t.reshape({15}).scale_count, 1);
  t.lay_into(nullptr);
  EXPECT_EQ(t.scales, nullptr);
}

// As quantised activations have them.
TEST(Tensor, ScalesOfRunsOfColumns) {
  const float scales[9] = {};
  Tensor t(nullptr, DType::kI8, {3, 5}, Device::kNone);
  t.scale_cols = 2;
  EXPECT_EQ(t.scales_per_row(), 3);
  t.scale_count = 9;
  t.scales = scales;
  const Tensor rows = t.slice_rows(1, 2);
  EXPECT_EQ(rows.scale_count, 6);
  EXPECT_EQ(rows.scales, scales + 3);
  expect_error(ErrorCode::kFailure, "2 columns from 0 of i8 [3, 5]", [&] { t.slice_cols(0, 2); });
  expect_error(ErrorCode::kFailure, "cannot reshape", [&] { t.reshape({5, 3}); });
}

TEST(Buffer, OwnsZeroedMemory) {
  Buffer buffer(10000);
  EXPECT_EQ(buffer.size(), 10000u);
  EXPECT_EQ(std::count(buffer.data(), buffer.data() + 10000, std::byte{0}), 10000);
  std::memset(buffer.data(), 1, 10000);
  Buffer moved = std::move(buffer);
  EXPECT_EQ(moved.data()[9999], std::byte{1});
  moved = Buffer(5);
  EXPECT_EQ(moved.size(), 5u);
  EXPECT_EQ(Buffer(0).data(), nullptr);
  expect_error(ErrorCode::kOutOfMemory, "refused 4611686018427387904 bytes",
               [] { Buffer large(std::size_t{1} << 62); });
}

TEST(Arena, AllocatesAlignedAndGivesBackInScopes) {
  const Buffer memory(4096);
  Arena arena(memory);
  const Tensor a = arena.allocate(DType::kBF16, {3, 5});
  EXPECT_EQ(a.data, memory.data());
  EXPECT_EQ(a.device, Device::kHost);
  {
    const Arena::Scope scope(arena);
    const Tensor b = arena.allocate(DType::kF32, {10, 10});
    EXPECT_EQ(static_cast<std::byte*>(b.data) - memory.data(), 64);
    EXPECT_EQ(reinterpret_cast<std::uintptr_t>(b.data) % kBufferAlignment, 0u);
    EXPECT_EQ(arena.used(), 64u + 448u);
  }
  EXPECT_EQ(arena.used(), 64u);
  EXPECT_EQ(arena.peak(), 512u);
  const Tensor c = arena.allocate(DType::kF32, {16});
  EXPECT_EQ(static_cast<std::byte*>(c.data) - memory.data(), 64);
}

TEST(Arena, ObeysItsCapacity) {
  const Buffer memory(256);
  Arena arena(memory);
  arena.allocate(DType::kF32, {64});
  expect_error(ErrorCode::kFailure, "activation memory: 256 bytes planned, 320 needed",
               [&] { arena.allocate(DType::kU8, {1}); });
  EXPECT_EQ(arena.used(), 256u);
  EXPECT_EQ(arena.allocate(DType::kF32, {0}).bytes(), 0u);
  expect_error(ErrorCode::kFailure, "activation memory",
               [&] { arena.allocate(DType::kI64, {int64_t{1} << 55}); });
  // An arena over nothing is full, not a counting one.
  const Buffer nothing(0);
  Arena empty(nothing);
  expect_error(ErrorCode::kFailure, "0 bytes planned", [&] { empty.allocate(DType::kF32, {1}); });
}

TEST(Arena, CountingFillsExactlyLikeARealOne) {
  const Buffer memory(1 << 16);
  Arena real(memory), counting = Arena::counting();
  for (Arena* arena : {&real, &counting}) {
    const Arena::Scope outer(*arena);
    arena->allocate(DType::kF32, {3, 3});
    {
      const Arena::Scope inner(*arena);
      arena->allocate(DType::kBF16, {7, 100});
    }
    arena->allocate(DType::kF8E4M3, {65});
  }
  EXPECT_EQ(real.peak(), counting.peak());
  EXPECT_EQ(counting.used(), 0u);
  const Tensor plan = counting.allocate(DType::kF32, {4, 4});
  EXPECT_EQ(plan.data, nullptr);
  EXPECT_EQ(plan.device, Device::kNone);
}

}  // namespace
}  // namespace darkroom
