// Attention in 8 bits of the cpu backend: the same bits as the reference, whatever multiplies, near the exact
// one, and hard numbers.
#include <limits>

#include "backends/reference/reference.h"
#include "cpu_test_util.h"
#include "ops/ops.h"

namespace darkroom {
namespace {

struct Size {
  int64_t queries, keys, heads, dim;
};

struct Inputs {
  OwnedTensor q, k, v;
  Inputs(DType dtype, const Size& s, float q_scale = 3, float k_scale = 3)
      : q(random_tensor(dtype, {s.queries, s.heads * s.dim}, 1, q_scale, 5)),
        k(random_tensor(dtype, {s.keys, s.heads * s.dim}, 2, k_scale, 3)),
        v(random_tensor(dtype, {s.keys, s.heads * s.dim}, 3, 1, 9)),
        heads(s.heads),
        scale(1.0f / std::sqrt(static_cast<float>(s.dim))) {}
  int64_t heads;
  float scale;
};

OwnedTensor attend(Backend& backend, const Inputs& in, bool int8 = true) {
  OwnedTensor out(in.q->dtype, in.q->shape, 2);
  const int64_t bytes = int8_attention_bytes(in.k->rows(), in.heads, in.q->cols() / in.heads);
  const Buffer memory(static_cast<std::size_t>(bytes));
  Arena arena(memory);
  ops::attention_into({backend, arena, in.q->dtype}, *in.q, *in.k, *in.v,
                      {.heads = in.heads, .scale = in.scale, .int8 = int8}, *out);
  EXPECT_TRUE(out.gaps_untouched());
  return out;
}

// ‖got − want‖/‖want‖
double relative_l2(const OwnedTensor& got, const OwnedTensor& want) {
  double difference = 0, size = 0;
  for (int64_t r = 0; r < want->rows(); ++r) {
    for (int64_t c = 0; c < want->cols(); ++c) {
      difference += std::pow(got.get(r, c) - want.get(r, c), 2);
      size += std::pow(want.get(r, c), 2);
    }
  }
  return std::sqrt(difference / size);
}

class CpuInt8Attention : public EveryInt8 {
 protected:
  void expect_reference(const Inputs& in) const {
    const std::vector<std::byte> want = attend(*make_reference_backend(), in).bytes();
    for (const auto& backend : all()) ASSERT_EQ(attend(*backend, in).bytes(), want);
  }
};

TEST_P(CpuInt8Attention, SameBitsAsTheReference) {
  for (const Size& s :
       {Size{1, 1, 1, 1}, Size{2, 3, 1, 5}, Size{7, 17, 3, 18}, Size{60, 63, 2, 64}, Size{5, 255, 1, 33},
        Size{4, 256, 2, 128}, Size{3, 513, 2, 70}, Size{200, 66, 1, 8}, Size{2, 20, 1, kMaxInt8HeadDim}}) {
    for (const DType dtype : {DType::kF32, DType::kBF16}) {
      SCOPED_TRACE(
          fmt::format("{}x{} {} heads of {} {}", s.queries, s.keys, s.heads, s.dim, dtype_name(dtype)));
      expect_reference(Inputs(dtype, s));
    }
  }
  // Scores so far apart that most keys weigh nothing, and blocks that weigh nothing.
  expect_reference(Inputs(DType::kF32, {9, 700, 1, 24}, 60, 60));
}

TEST_P(CpuInt8Attention, SameBytesForAnyThreadCount) {
  const Inputs in(DType::kBF16, {250, 300, 5, 24});
  const std::vector<std::byte> want = attend(*make(1), in).bytes();
  for (const int threads : {2, 5}) EXPECT_EQ(attend(*make(threads), in).bytes(), want);
}

// Measured: 0.0083 to 0.0103.
TEST_P(CpuInt8Attention, IsNearTheExactOne) {
  const auto backend = make(2);
  for (const Size& s : {Size{20, 300, 2, 16}, Size{20, 600, 1, 128}, Size{10, 50, 1, 256}}) {
    const Inputs in(DType::kF32, s, 1.7f, 1.7f);  // of variance one
    const double error = relative_l2(attend(*backend, in), attend(*backend, in, false));
    RecordProperty(fmt::format("heads_of_{}", s.dim), std::to_string(error));
    EXPECT_LT(error, 0.012) << s.dim;
    EXPECT_GT(error, 1e-4) << s.dim;
  }
}

// What all keys have in common changes no softmax; without taking it off it would take all of the 8 bits.
TEST_P(CpuInt8Attention, ACommonOffsetOfKeysCostsNothing) {
  const auto backend = make(2);
  const Size s{20, 300, 2, 32};
  Inputs in(DType::kF32, s, 1.7f, 1.7f);
  const double before = relative_l2(attend(*backend, in), attend(*backend, in, false));
  for (int64_t r = 0; r < s.keys; ++r) {
    for (int64_t c = 0; c < s.heads * s.dim; ++c) {
      in.k.set(r, c, static_cast<float>(in.k.get(r, c)) + (c % 3 == 0 ? 300.0f : -200.0f));
      in.v.set(r, c, static_cast<float>(in.v.get(r, c)) + 500);
    }
  }
  const OwnedTensor got = attend(*backend, in), want = attend(*backend, in, false);
  double difference = 0, size = 0;  // of what is not common
  for (int64_t r = 0; r < s.queries; ++r) {
    for (int64_t c = 0; c < s.heads * s.dim; ++c) {
      difference += std::pow(got.get(r, c) - want.get(r, c), 2);
      size += std::pow(want.get(r, c) - 500, 2);
    }
  }
  EXPECT_LT(std::sqrt(difference / size), 1.5 * before);
}

// Rows of zeros, a column of zeros, values that are all the same: exact.
TEST_P(CpuInt8Attention, ZerosAndConstants) {
  for (const auto& backend : all()) {
    Inputs in(DType::kF32, {5, 300, 2, 12});
    for (int64_t c = 0; c < 24; ++c) {
      in.q.set(1, c, 0);
      in.k.set(7, c, 0);
      for (int64_t r = 0; r < 300; ++r) {
        if (c == 3) in.v.set(r, c, 0);
        if (c == 5) in.v.set(r, c, 0.1f);
        if (c == 17) in.k.set(r, c, 0);
      }
    }
    const OwnedTensor out = attend(*backend, in), exact = attend(*backend, in, false);
    for (int64_t r = 0; r < 5; ++r) {
      EXPECT_EQ(out.get(r, 3), 0);
      EXPECT_EQ(out.get(r, 5), static_cast<double>(0.1f));
    }
    // All weights are the same: the mean.
    for (int64_t c = 0; c < 24; ++c) EXPECT_NEAR(out.get(1, c), exact.get(1, c), 2e-3) << c;
    const Inputs one(DType::kF32, {3, 1, 1, 12});
    const OwnedTensor of_one = attend(*backend, one);
    for (int64_t c = 0; c < 12; ++c) EXPECT_EQ(of_one.get(2, c), one.v.get(0, c)) << c;
  }
}

// The largest products and weights of both signs in long rows: no saturation. Then the largest numbers at all.
TEST_P(CpuInt8Attention, Extremes) {
  Inputs in(DType::kF32, {4, 512, 1, 256});
  for (int64_t c = 0; c < 256; ++c) {
    for (int64_t r = 0; r < 4; ++r) in.q.set(r, c, r % 2 ? 1.0f : -1.0f);
    for (int64_t r = 0; r < 512; ++r) {
      in.k.set(r, c, r % 2 ? 3.0f : -3.0f);
      in.v.set(r, c, (r + c) % 2 ? -2.0f : 2.0f);
    }
  }
  for (const auto& backend : all()) {
    const OwnedTensor out = attend(*backend, in);
    for (int64_t c = 0; c < 256; ++c) {
      EXPECT_EQ(out.get(1, c), (1 + c) % 2 ? -2.0 : 2.0);
      EXPECT_EQ(out.get(2, c), c % 2 ? -2.0 : 2.0);
    }
  }
  for (int64_t c = 0; c < 256; ++c) {
    in.q.set(0, c, std::numeric_limits<float>::max());
    in.k.set(5, c, kMostInt8Attended);
    in.v.set(5, c, -kMostInt8Attended);
  }
  expect_reference(in);
  const OwnedTensor out = attend(*make(2), in);
  for (int64_t c = 0; c < 256; ++c)
    EXPECT_NEAR(out.get(0, c) / static_cast<double>(kMostInt8Attended), -1, 0.01);
}

TEST_P(CpuInt8Attention, RefusesWhatIsNotFinite) {
  const std::unique_ptr<Backend> cpu = make(2), reference = make_reference_backend();
  const std::string_view names[] = {"k", "v", "q"};
  for (Backend* backend : {cpu.get(), reference.get()}) {
    for (const DType dtype : {DType::kF32, DType::kBF16}) {
      for (const float bad : {NAN, INFINITY, -INFINITY, 0x1.1p100f}) {
        for (int at = 0; at < (bad == 0x1.1p100f ? 2 : 3); ++at) {
          Inputs in(dtype, {70, 300, 2, 19});
          OwnedTensor& x = at == 0 ? in.k : at == 1 ? in.v : in.q;
          x.set(44, 37, bad);
          x.set(60, 3, bad);
          try {
            attend(*backend, in);
            ADD_FAILURE() << bad << " passed in " << names[at];
          } catch (const Error& e) {
            EXPECT_EQ(e.code(), ErrorCode::kFailure);
            EXPECT_NE(std::string(e.what()).find(fmt::format("attention: row 44 of {} (", names[at])),
                      std::string::npos)
                << e.what();
          }
        }
      }
    }
  }
}

INSTANTIATE_TEST_SUITE_P(All, CpuInt8Attention, testing::ValuesIn(supported_isas()),
                         [](const auto& isa) { return std::string(isa_name(isa.param)); });

}  // namespace
}  // namespace darkroom
