// Norms, rotary positions, distances and moments on a Vulkan device, against the reference backend.
#include <limits>

#include "backends/reference/reference.h"
#include "vulkan_test_util.h"
#include "vulkan_twins.h"

namespace darkroom {
namespace {

constexpr DType kActivations[] = {DType::kF32, DType::kBF16};
constexpr DType kWeights[] = {DType::kF32, DType::kF16, DType::kBF16, DType::kF8E4M3, DType::kF8E5M2};

class VulkanRows : public VulkanTest {
 protected:
  void prepare(const std::shared_ptr<vulkan::Core>& core) { device_ = vulkan::make_backend(core); }
  Twins twins() { return {*device_, 3}; }

  std::unique_ptr<Backend> reference_ = make_reference_backend(), device_;
};

TEST_F(VulkanRows, NormsTakeWeightsOfAnyTypeAndRowsWithGaps) {
  DARKROOM_OPEN_VULKAN(core);
  prepare(core);
  for (const DType dtype : kActivations) {
    for (const DType stored : kWeights) {
      for (const int64_t cols : {1, 7, 257, 1500}) {
        SCOPED_TRACE(testing::Message() << dtype_name(dtype) << " " << dtype_name(stored) << " " << cols);
        Twins in = twins();
        const Twin x = in.random(dtype, {5, cols}, 2, 9), out = in.empty(dtype, {5, cols}, 4);
        const Twin weight = in.random(stored, {cols}), bias = in.random(stored, {cols});
        reference_->layer_norm({x.host, weight.host, bias.host, out.host, 1e-5f});
        device_->layer_norm({x.device, weight.device, bias.device, out.device, 1e-5f});
        expect_close(in, out, cols);
        reference_->rms_norm({x.host, weight.host, out.host, 1e-6f});
        device_->rms_norm({x.device, weight.device, out.device, 1e-6f});
        expect_close(in, out, cols);
      }
    }
  }
}

TEST_F(VulkanRows, NormsWorkInPlace) {
  DARKROOM_OPEN_VULKAN(core);
  prepare(core);
  for (const DType dtype : kActivations) {
    Twins in = twins();
    const Twin x = in.random(dtype, {9, 300}, 2, 5), scale = in.random(DType::kF32, {300}),
               shift = in.random(DType::kF32, {300});
    reference_->norm_modulate({x.host, scale.host, shift.host, x.host, 1e-6f});
    device_->norm_modulate({x.device, scale.device, shift.device, x.device, 1e-6f});
    expect_close(in, x, 300);
  }
}

// The squares of such a row less the square of its mean would leave no digit of a variance.
TEST_F(VulkanRows, VarianceIsOfDistancesFromTheMean) {
  DARKROOM_OPEN_VULKAN(core);
  prepare(core);
  Twins in = twins();
  const Twin x = in.random(DType::kF32, {3, 700}, 1, 0, 10000), out = in.empty(DType::kF32, {3, 700});
  const Twin zero = in.random(DType::kF32, {700}, 0);
  reference_->norm_modulate({x.host, zero.host, zero.host, out.host, 1e-6f});
  device_->norm_modulate({x.device, zero.device, zero.device, out.device, 1e-6f});
  expect_close(in, out, 0, 1500);  // units of 10000 in f32 are 1e-3
}

TEST_F(VulkanRows, HeadsOfAnyEvenSizeAreNormalisedAndRotated) {
  DARKROOM_OPEN_VULKAN(core);
  prepare(core);
  for (const DType dtype : kActivations) {
    for (const int64_t dim : {2, 6, 64, 128, 130, 2050}) {
      SCOPED_TRACE(testing::Message() << dtype_name(dtype) << " " << dim);
      Twins in = twins();
      const Twin x = in.random(dtype, {11, 3 * dim}, 2, 7), weight = in.random(DType::kF16, {dim});
      const Twin cos = in.random(DType::kF32, {11, dim / 2}, 1, 1),
                 sin = in.random(DType::kF32, {11, dim / 2});
      reference_->qk_norm_rope({x.host, weight.host, cos.host, sin.host, 1e-6f});
      device_->qk_norm_rope({x.device, weight.device, cos.device, sin.device, 1e-6f});
      expect_close(in, x, dim);
    }
  }
}

TEST_F(VulkanRows, DistancesAndMomentsOfAnyNumberOfGroups) {
  DARKROOM_OPEN_VULKAN(core);
  prepare(core);
  struct Size {
    int64_t h, w, c, groups;
  };
  for (const DType dtype : kActivations) {
    // One channel a group, all in one, wider than a workgroup, and groups that need two workgroups.
    for (const Size s : {Size{3, 5, 24, 24}, Size{2, 9, 6, 1}, Size{2, 3, 600, 1}, Size{3, 4, 320, 32},
                         Size{1, 300, 128, 32}, Size{2, 1, 1, 1}, Size{2, 3, 771, 3}}) {
      SCOPED_TRACE(testing::Message() << dtype_name(dtype) << " " << s.c << "/" << s.groups);
      Twins in = twins();
      const Twin x = in.random(dtype, {s.h, s.w, s.c}, 1, 0, 3),
                 out = in.empty(DType::kF32, {s.h, 2 * s.groups}, 5);
      reference_->row_moments({x.host, out.host, s.groups});
      device_->row_moments({x.device, out.device, s.groups});
      expect_close(in, out, s.w * s.c);
    }
    Twins in = twins();
    const Twin x = in.random(dtype, {7, 531}, 1, 3), y = in.random(dtype, {7, 531}, 1, 1),
               out = in.empty(DType::kF32, {7, 2}, 2);
    reference_->row_distances({x.host, y.host, out.host});
    device_->row_distances({x.device, y.device, out.device});
    expect_close(in, out, 531);
  }
}

float units_apart(float a, float b) {
  return std::fabs(a - b) /
         (std::nextafter(std::fabs(b), std::numeric_limits<float>::infinity()) - std::fabs(b));
}

// Rows whose means differ in their last digits: sums in f32 would leave two or three digits.
TEST_F(VulkanRows, GroupStatisticsAreAsInF64) {
  DARKROOM_OPEN_VULKAN(core);
  prepare(core);
  for (const int64_t rows : {1, 5, 64, 1000}) {
    SCOPED_TRACE(rows);
    Twins in = twins();
    const Twin moments = in.random(DType::kF32, {rows, 8}, 3e-3f, 1, 1000),
               out = in.empty(DType::kF32, {2, 4});
    for (int64_t r = 0; r < rows; ++r) {
      for (int64_t g = 4; g < 8; ++g) in.set(moments.host, r, g, 1e-6f * static_cast<float>(r * g));
    }
    in.send(moments);
    reference_->group_statistics({moments.host, out.host, 131072, 1e-9f});
    device_->group_statistics({moments.device, out.device, 131072, 1e-9f});
    const std::vector<float> got = in.elements(out), want = Twins::values(out.host);
    for (std::size_t i = 0; i < want.size(); ++i) EXPECT_LE(units_apart(got[i], want[i]), 1) << i;
  }
}

TEST_F(VulkanRows, GroupStatisticsKeepWhatIsNotFinite) {
  DARKROOM_OPEN_VULKAN(core);
  prepare(core);
  Twins in = twins();
  const Twin moments = in.random(DType::kF32, {3, 4}, 0, 0, 2), out = in.empty(DType::kF32, {2, 2});
  for (int64_t r = 0; r < 3; ++r) in.set(moments.host, r, 2, 0);
  in.set(moments.host, 1, 1, std::numeric_limits<float>::quiet_NaN());
  in.send(moments);
  device_->group_statistics({moments.device, out.device, 7, 0});
  const std::vector<float> got = in.elements(out);
  EXPECT_EQ(got[0], 2);
  EXPECT_EQ(got[2], std::numeric_limits<float>::infinity());  // a variance of 0
  EXPECT_TRUE(std::isnan(got[1]) && std::isnan(got[3]));
}

TEST_F(VulkanRows, GroupNormTakesAnyChannelsAndSiluAnyValue) {
  DARKROOM_OPEN_VULKAN(core);
  prepare(core);
  struct Size {
    int64_t pixels, c, groups;
    float scale;
  };
  for (const DType dtype : kActivations) {
    for (const Size s : {Size{50, 6, 3, 2}, Size{7, 320, 32, 2}, Size{5, 1000, 1, 2}, Size{90, 1, 1, 500}}) {
      SCOPED_TRACE(testing::Message() << dtype_name(dtype) << " " << s.c);
      Twins in = twins();
      const Twin x = in.random(dtype, {1, s.pixels, s.c}, s.scale), weight = in.random(DType::kBF16, {s.c}),
                 bias = in.random(DType::kF8E4M3, {s.c}),
                 statistics = in.random(DType::kF32, {2, s.groups}, 1, 3);
      reference_->group_norm({x.host, statistics.host, weight.host, bias.host, x.host, true});
      device_->group_norm({x.device, statistics.device, weight.device, bias.device, x.device, true});
      expect_close(in, x, 4);
    }
  }
}

// On a device that can bind little at once, ops go over the rows in several dispatches. Rows begin at multiples
// of 16 bytes: the layer looks at what is bound, and would see neighbours in each other's rows.
TEST_F(VulkanRows, RowsInSeveralDispatches) {
  vulkan::CoreOptions few = options();
  few.recorder.most_binding = 4096;
  DARKROOM_OPEN_VULKAN(core, few);
  prepare(core);
  Twins in(*device_, 0);
  const Twin x = in.random(DType::kF32, {40, 64}, 2, 4), y = in.random(DType::kF32, {40, 64}),
             out = in.empty(DType::kF32, {40, 64}, 4), weight = in.random(DType::kF32, {64}),
             sums = in.empty(DType::kF32, {40, 2}, 2), cos = in.random(DType::kF32, {40, 16}),
             picture = in.random(DType::kF32, {40, 5, 32}), moments = in.empty(DType::kF32, {40, 8}),
             statistics = in.random(DType::kF32, {2, 4}), channels = in.random(DType::kF32, {32});
  for (Backend* backend : {reference_.get(), device_.get()}) {
    const auto of = [&](const Twin& t) { return backend == device_.get() ? t.device : t.host; };
    backend->rms_norm({of(x), of(weight), of(out), 1e-6f});
    backend->row_distances({of(x), of(y), of(sums)});
    backend->qk_norm_rope({of(x), of(channels), of(cos), of(cos), 1e-6f});
    backend->row_moments({of(picture), of(moments), 4});
    backend->group_norm({of(picture), of(statistics), of(channels), of(channels), of(picture), false});
  }
  for (const Twin& t : {x, out, sums, picture, moments}) expect_close(in, t, 160);
}

}  // namespace
}  // namespace darkroom
