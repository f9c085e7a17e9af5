// Choosing an instruction set: that it is really used, that what the processor lacks is refused; and the
// ceilings.
#include <algorithm>

#include "backends/cpu/kernels.h"
#include "base/error.h"
#include "cpu_test_util.h"

namespace darkroom {
namespace {

constexpr CpuIsa kAll[] = {CpuIsa::kScalar, CpuIsa::kSse4, CpuIsa::kAvx2, CpuIsa::kAvx512,
                           CpuIsa::kAvx512Bf16};

TEST(CpuIsaChoice, NamesGoBothWays) {
  for (const CpuIsa isa : kAll) EXPECT_EQ(parse_isa(isa_name(isa)), isa);
  EXPECT_EQ(parse_isa("auto"), CpuIsa::kAuto);
  try {
    parse_isa("avx3");
    FAIL() << "no error";
  } catch (const Error& e) {
    EXPECT_EQ(e.code(), ErrorCode::kUsage);
    EXPECT_NE(std::string(e.what()).find("'avx3'"), std::string::npos);
  }
  EXPECT_FALSE(cpu_model_name().empty());
}

// The width of a tile gives the set away: two vectors.
TEST(CpuIsaChoice, ForcedSetIsUsed) {
  const auto has = [](CpuIsa isa) { return std::ranges::count(supported_isas(), isa) == 1; };
  const std::pair<CpuIsa, int64_t> widths[] = {
      {CpuIsa::kScalar, 2}, {CpuIsa::kSse4, 8}, {CpuIsa::kAvx2, 16}, {CpuIsa::kAvx512, 32}};
  for (const auto& [isa, width] : widths) {
    EXPECT_TRUE(!has(isa) || cpu::make_kernel_table(isa).gemm.nr == width) << isa_name(isa);
  }
  for (const CpuIsa isa : supported_isas()) {
    const auto backend = make_cpu_backend({.threads = 1, .isa = isa});
    EXPECT_EQ(backend->isa(), isa);
    EXPECT_EQ(backend->name(), "cpu " + std::string(isa_name(isa)));
    EXPECT_GT(backend->workspace().bytes + backend->workspace().conv_bytes, 1u << 20);
    EXPECT_LT(backend->workspace().bytes + backend->workspace().conv_bytes, 32u << 20);
  }
  EXPECT_EQ(make_cpu_backend({.threads = 1})->isa(), supported_isas().back());
}

TEST(CpuIsaChoice, MissingSetIsRefused) {
  int missing = 0;
  for (const CpuIsa isa : kAll) {
    if (std::ranges::count(supported_isas(), isa) == 1) continue;
    ++missing;
    try {
      make_cpu_backend({.threads = 1, .isa = isa});
      FAIL() << "no error for " << isa_name(isa);
    } catch (const Error& e) {
      EXPECT_EQ(e.code(), ErrorCode::kUsage);
      EXPECT_NE(std::string(e.what()).find(isa_name(isa)), std::string::npos);
    }
  }
  if (missing == 0) GTEST_SKIP() << "this processor has every set";
}

TEST(CpuIsaChoice, CeilingsArePlausible) {
  const CpuCeilings ceilings = CeilingProbe({.threads = 1, .isa = CpuIsa::kAuto}).all(0.02);
  EXPECT_GT(ceilings.f32_gflops, 0.1);
  EXPECT_LT(ceilings.f32_gflops, 1000);
  EXPECT_GT(ceilings.read_gbps, 0.1);
  EXPECT_EQ(ceilings.bf16_gflops.has_value(), supported_isas().back() == CpuIsa::kAvx512Bf16);
  EXPECT_GT(ceilings.int8_gops.value_or(1), 0);
}

// A loop whose chains the compiler has merged, or whose sums have become subnormal, is off by ten times and
// more in every round. Other programs take whole rounds away from one of the loops: the best of each count.
TEST(CpuIsaChoice, CeilingsOfASetAreNearEachOther) {
#if defined(__SANITIZE_ADDRESS__)
  GTEST_SKIP() << "a sanitizer keeps the sums in memory";
#endif
  constexpr int kRounds = 20;
  for (const CpuIsa isa : supported_isas()) {
    SCOPED_TRACE(isa_name(isa));
    CeilingProbe probe({.threads = 1, .isa = isa});
    const bool has_bf16 = probe.bf16_gflops(0.01).has_value(), has_int8 = probe.int8_gops(0.01).has_value();
    double f32 = 0, bf16 = 0, int8 = 0;
    const auto near_f32 = [&](double rate) { return rate > f32 / 5 && rate < f32 * 3.5; };
    const auto all_near = [&] { return (!has_bf16 || near_f32(bf16)) && (!has_int8 || near_f32(int8)); };
    for (int round = 0; round < kRounds && (round == 0 || !all_near()); ++round) {
      f32 = std::max(f32, probe.f32_gflops(0.05));
      bf16 = std::max(bf16, probe.bf16_gflops(0.05).value_or(0));
      int8 = std::max(int8, probe.int8_gops(0.05).value_or(0));
    }
    EXPECT_TRUE(all_near()) << "f32 " << f32 << ", bf16 " << bf16 << ", int8 " << int8;
  }
}

}  // namespace
}  // namespace darkroom
