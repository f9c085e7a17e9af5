// Attention on a Vulkan device, against the reference backend.
#include "backends/reference/reference.h"
#include "vulkan_test_util.h"
#include "vulkan_twins.h"

namespace darkroom {
namespace {

struct Size {
  int64_t lq, lk, heads, dim;
  bool causal = false, bias = false;
};

class VulkanAttention : public VulkanTest {
 protected:
  // Operands of one case, with gaps between rows.
  struct Case {
    Twins in;
    Twin q, k, v, out, bias;
    Case(Backend& device, DType dtype, const Size& s, std::size_t off_by, float scale = 2, int64_t gap = 24)
        : in(device, off_by),
          q(in.random(dtype, {s.lq, s.heads * s.dim}, scale, gap)),
          k(in.random(dtype, {s.lk, s.heads * s.dim}, scale, gap)),
          v(in.random(dtype, {s.lk, s.heads * s.dim}, 1, gap)),
          out(in.empty(dtype, {s.lq, s.heads * s.dim}, gap)),
          bias(s.bias ? in.random(DType::kF32, {s.heads, s.lq + s.lk - 1}, 3) : Twin()) {}
    AttentionArgs args(const Size& s, Tensor Twin::*side) const {
      return {.q = q.*side,
              .k = k.*side,
              .v = v.*side,
              .out = out.*side,
              .heads = s.heads,
              .scale = 1 / std::sqrt(static_cast<float>(s.dim)),
              .causal = s.causal,
              .relative_bias = bias.*side,
              .state = {}};
    }
  };

  void prepare(const std::shared_ptr<vulkan::Core>& core) { device_ = vulkan::make_backend(core); }
  void compare(DType dtype, const Size& s, std::size_t off_by, float scale = 2, int64_t gap = 24) {
    SCOPED_TRACE(testing::Message() << dtype_name(dtype) << " " << s.lq << "x" << s.lk << " dim " << s.dim);
    Case c(*device_, dtype, s, off_by, scale, gap);
    reference_->attention(c.args(s, &Twin::host));
    device_->attention(c.args(s, &Twin::device));
    expect_close(c.in, c.out, s.dim);
  }

  std::unique_ptr<Backend> reference_ = make_reference_backend(), device_;
};

// Edges of tiles of rows, keys and columns; quads of elements that lie at multiples of four and that do not.
TEST_F(VulkanAttention, HeadsAndRowsOfAnySize) {
  DARKROOM_OPEN_VULKAN(core);
  prepare(core);
  for (const DType dtype : {DType::kF32, DType::kBF16}) {
    for (const std::size_t off_by : {0u, 1u}) {
      for (const Size s : {Size{1, 1, 1, 1}, Size{3, 5, 2, 7}, Size{64, 64, 2, 64}, Size{65, 129, 1, 65},
                           Size{70, 200, 1, 128}, Size{33, 130, 2, 129}, Size{20, 40, 1, 257},
                           Size{40, 300, 1, 512}, Size{5, 9, 2, 770}}) {
        compare(dtype, s, off_by);
      }
    }
    compare(dtype, {9, 70, 2, 12}, 0, 2, 3);  // aligned heads, rows that are not
  }
}

TEST_F(VulkanAttention, MaskAndBias) {
  DARKROOM_OPEN_VULKAN(core);
  prepare(core);
  for (const DType dtype : {DType::kF32, DType::kBF16}) {
    for (const Size s :
         {Size{150, 150, 2, 64, true}, Size{70, 90, 1, 20, true}, Size{90, 70, 3, 20, true, true},
          Size{130, 130, 2, 40, false, true}, Size{1, 80, 1, 300, false, true}}) {
      compare(dtype, s, 0);
    }
  }
}

// Scores of thousands: e to them is infinite, and to their differences 0 or 1.
TEST_F(VulkanAttention, ScoresMayBeLarge) {
  DARKROOM_OPEN_VULKAN(core);
  prepare(core);
  const Size s{20, 150, 2, 32, true};
  Case c(*device_, DType::kF32, s, 0, 40);
  reference_->attention(c.args(s, &Twin::host));
  device_->attention(c.args(s, &Twin::device));
  expect_close(c.in, c.out, s.dim, 300);  // scores of 5000 have units of 5e-4
}

// ops::AttentionOptions::kKeyBlock: parts of whole blocks give the bytes of one call.
TEST_F(VulkanAttention, PartsGiveTheBytesOfOneCall) {
  DARKROOM_OPEN_VULKAN(core);
  prepare(core);
  for (const DType dtype : {DType::kF32, DType::kBF16}) {
    for (const Size s : {Size{37, 600, 2, 40}, Size{70, 600, 1, 128}, Size{40, 530, 1, 300}}) {
      SCOPED_TRACE(testing::Message() << dtype_name(dtype) << " " << s.dim);
      Case c(*device_, dtype, s, 1);
      AttentionArgs a = c.args(s, &Twin::device);
      device_->attention(a);
      const std::vector<float> whole = c.in.elements(c.out);
      c.in.send(c.out);
      const Twin state = c.in.empty(DType::kF32, {s.lq, s.heads * (s.dim + 2)}, 3);
      a.state = state.device;
      for (int64_t first = 0; first < s.lk; first += 256) {
        const int64_t count = std::min<int64_t>(256, s.lk - first);
        a.k = c.k.device.slice_rows(first, count);
        a.v = c.v.device.slice_rows(first, count);
        a.first = first == 0;
        a.last = first + count == s.lk;
        EXPECT_TRUE(std::isnan(c.in.elements(c.out)[0]));  // not touched before the last
        device_->attention(a);
      }
      EXPECT_EQ(c.in.elements(c.out), whole);
      c.in.elements(state);  // and nothing beside it
    }
  }
}

// On a device that can bind little at once, rows of queries go in several dispatches, each with all keys.
TEST_F(VulkanAttention, RowsInSeveralDispatches) {
  vulkan::CoreOptions few = options();
  few.recorder.most_binding = 16384;
  DARKROOM_OPEN_VULKAN(core, few);
  prepare(core);
  for (const bool causal : {true, false}) compare(DType::kF32, {150, 50, 2, 20, causal, true}, 0);
  Case c(*device_, DType::kF32, {4, 100, 2, 20}, 0);
  try {
    device_->attention(c.args({4, 100, 2, 20}, &Twin::device));
    FAIL() << "keys that no shader sees all at once were taken";
  } catch (const Error& e) {
    EXPECT_NE(std::string(e.what()).find("sees 16"), std::string::npos) << e.what();
  }
}

TEST_F(VulkanAttention, RefusesEightBits) {
  DARKROOM_OPEN_VULKAN(core);
  prepare(core);
  Case c(*device_, DType::kF32, {4, 4, 1, 8}, 0);
  AttentionArgs a = c.args({4, 4, 1, 8}, &Twin::device);
  a.int8_memory = c.q.device;
  EXPECT_THROW(device_->attention(a), Error);
}

}  // namespace
}  // namespace darkroom
