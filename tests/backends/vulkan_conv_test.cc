// Convolutions on a Vulkan device, against the reference backend.
#include "backends/reference/reference.h"
#include "vulkan_test_util.h"
#include "vulkan_twins.h"

namespace darkroom {
namespace {

struct Size {
  int64_t h, w, in, out, kernel_height, kernel_width;
  int64_t up = 1, down = 1;
  bool residual = false;
};

class VulkanConv : public VulkanTest {
 protected:
  // Operands of one case; `out` may hold the residual, and the result comes in its place.
  struct Case {
    Twins in;
    Size size;
    Twin x, weight, bias, out;
    Case(Backend& device, const Size& s, DType dtype, DType stored, std::size_t off_by)
        : in(device, off_by),
          size(s),
          x(in.random(dtype, {s.h, s.w, s.in})),
          weight(in.random(stored, {s.out, s.in, s.kernel_height, s.kernel_width}, scale(s))),
          bias(in.random(stored, {s.out})),
          out(in.random(dtype, {s.h * s.up / s.down, s.w * s.up / s.down, s.out})) {}
    static float scale(const Size& s) {
      return 1 / std::sqrt(static_cast<float>(s.in * s.kernel_height * s.kernel_width));
    }
    Conv2dArgs args(Tensor Twin::*side) const {
      return {.x = x.*side,
              .weight = weight.*side,
              .bias = bias.*side,
              .residual = size.residual ? out.*side : Tensor(),
              .out = out.*side,
              .upsample = size.up,
              .downsample = size.down};
    }
  };

  void prepare(const std::shared_ptr<vulkan::Core>& core) { device_ = vulkan::make_backend(core); }
  void compare(const Size& s, DType dtype, DType stored, std::size_t off_by) {
    SCOPED_TRACE(testing::Message() << dtype_name(dtype) << " " << dtype_name(stored) << " " << s.in << "->"
                                    << s.out << " " << s.kernel_height << "x" << s.kernel_width);
    Case c(*device_, s, dtype, stored, off_by);
    reference_->conv2d(c.args(&Twin::host));
    device_->conv2d(c.args(&Twin::device));
    // f8 weights are not scaled down.
    const int64_t products = s.in * s.kernel_height * s.kernel_width;
    expect_close(c.in, c.out, dtype_bytes(stored) == 1 ? products * products : products);
  }

  std::unique_ptr<Backend> reference_ = make_reference_backend(), device_;
};

constexpr Size kSizes[] = {
    {8, 9, 16, 32, 3, 3, 1, 1, true},
    {5, 3, 7, 3, 3, 3, 2},
    {1, 1, 4, 5, 3, 3},
    {12, 10, 33, 20, 1, 1},
    {9, 17, 130, 70, 3, 3},
    {4, 6, 5, 6, 5, 5},
    {6, 8, 16, 32, 3, 3, 1, 2, true},
    {7, 5, 5, 3, 3, 1, 1, 2},
    {8, 2, 130, 17, 3, 3, 2, 2},
    {5, 6, 9, 70, 3, 5, 1, 1, true},
    {5, 6, 8, 10, 1, 7, 2, 1, true},
    {9, 6, 9, 10, 9, 3, 1, 1, true},
    {30, 30, 3, 16, 3, 3},
    {20, 40, 36, 1, 3, 3},
    {3, 3, 2, 2, 11, 13},
};

TEST_F(VulkanConv, KernelsAndPicturesOfAnySize) {
  DARKROOM_OPEN_VULKAN(core);
  prepare(core);
  for (const Size& s : kSizes) {
    for (const DType dtype : {DType::kF32, DType::kBF16}) {
      compare(s, dtype, DType::kF32, 0);
      compare(s, dtype, DType::kBF16, 3);
    }
  }
}

TEST_F(VulkanConv, WeightsOfAnyType) {
  DARKROOM_OPEN_VULKAN(core);
  prepare(core);
  for (const DType stored : {DType::kF16, DType::kF8E4M3, DType::kF8E5M2}) {
    compare({8, 9, 33, 32, 3, 3, 1, 1, true}, DType::kF32, stored, 1);
    compare({8, 9, 33, 5, 3, 3}, DType::kBF16, stored, 0);
  }
}

// Whatever strips a picture comes in, its bytes are the same.
TEST_F(VulkanConv, BytesDoNotDependOnTheRowsAskedFor) {
  DARKROOM_OPEN_VULKAN(core);
  prepare(core);
  for (const Size& s :
       {Size{11, 13, 20, 24, 3, 3}, Size{6, 13, 20, 5, 3, 3, 2}, Size{22, 13, 20, 24, 5, 3, 1, 2}}) {
    for (const DType dtype : {DType::kF32, DType::kBF16}) {
      Case c(*device_, s, dtype, DType::kBF16, 0);
      Conv2dArgs a = c.args(&Twin::device);
      device_->conv2d(a);
      const std::vector<float> whole = c.in.elements(c.out);
      const int64_t row = a.out.shape[1] * s.out;
      for (const auto& [first, count] : {std::pair<int64_t, int64_t>{0, 4}, {4, 1}, {5, 6}}) {
        const Twin strip = c.in.empty(dtype, {count, a.out.shape[1], s.out});
        a.out = strip.device;
        a.first_row = first;
        device_->conv2d(a);
        const auto begin = whole.begin() + first * row;
        EXPECT_EQ(c.in.elements(strip), std::vector<float>(begin, begin + count * row)) << first;
      }
    }
  }
}

// On a device that can bind little at once a picture goes in several dispatches, each with the rows under it.
TEST_F(VulkanConv, PicturesInSeveralDispatches) {
  vulkan::CoreOptions few = options();
  few.recorder.most_binding = 24 << 10;
  DARKROOM_OPEN_VULKAN(core, few);
  prepare(core);
  for (const Size& s : {Size{40, 15, 20, 24, 3, 3, 1, 1, true}, Size{30, 15, 20, 12, 3, 3, 2},
                        Size{60, 15, 20, 24, 5, 3, 1, 2}, Size{40, 15, 40, 20, 1, 1}}) {
    compare(s, DType::kF32, DType::kBF16, 0);
  }
}

}  // namespace
}  // namespace darkroom
