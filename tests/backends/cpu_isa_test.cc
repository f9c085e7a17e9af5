// Choosing an instruction set: that it is really used, that what the processor lacks is
// refused; and the ceilings.
#include <algorithm>

#include "backends/cpu/kernels.h"
#include "base/error.h"
#include "cpu_test_util.h"
#include "processor_flags.h"

namespace darkroom {
namespace {

constexpr CpuIsa kAll[] = {CpuIsa::kScalar, CpuIsa::kSse4,       CpuIsa::kAvx2,
                           CpuIsa::kAvx512, CpuIsa::kAvx512Bf16, CpuIsa::kNeon};

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
  const std::pair<CpuIsa, int64_t> widths[] = {{CpuIsa::kScalar, 2},
                                               {CpuIsa::kSse4, 8},
                                               {CpuIsa::kAvx2, 16},
                                               {CpuIsa::kAvx512, 32},
                                               {CpuIsa::kNeon, 8}};
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

// Which ceilings there are follows from the set; how high they are is the bench's to say, not a test's.
TEST(CpuIsaChoice, CeilingsAreThoseOfTheSet) {
  for (const CpuIsa isa : supported_isas()) {
    SCOPED_TRACE(isa_name(isa));
    CeilingProbe probe({.threads = 1, .isa = isa});
    EXPECT_EQ(probe.bf16_gflops(0.001).has_value(), isa == CpuIsa::kAvx512Bf16);
    EXPECT_GT(probe.int8_gops(0.001), 0);
    EXPECT_EQ(
        CeilingProbe({.threads = 1, .isa = isa, .int8_dot = Int8Dot::kPortable}).int7_gops(0.001).has_value(),
        isa != CpuIsa::kScalar && isa != CpuIsa::kNeon);
  }
}

// All give the same bits, so a fault in finding the instruction would only be slow.
TEST(CpuIsaChoice, DotProductsOf8BitsAreUsedWhereTheProcessorHasThem) {
  const std::set<std::string> flags = processor_flags();
  if (flags.empty()) GTEST_SKIP() << "/proc/cpuinfo names no flags";
  for (const CpuIsa isa : supported_isas()) {
    SCOPED_TRACE(isa_name(isa));
    const cpu::KernelTable kernels = cpu::make_kernel_table(isa);
    bool has = false;
    if (isa == CpuIsa::kAvx512 || isa == CpuIsa::kAvx512Bf16) has = flags.contains("avx512_vnni");
    if (isa == CpuIsa::kAvx2) has = flags.contains("avx_vnni");
#if !defined(__clang__) || __clang_major__ >= 16
    if (isa == CpuIsa::kNeon) has = flags.contains("asimddp");
#endif
    EXPECT_EQ(cpu::dot_int8_kernels(isa, Int8Dot::kBest, kernels).micro != kernels.int8.micro, has);
    EXPECT_EQ(cpu::dot_int8_kernels(isa, Int8Dot::kPortable, kernels).micro, kernels.int8.micro);
    // Where it has none, products of 7 bits are faster on x86, and chosen where 7 bits are promised.
    const bool vectors = isa != CpuIsa::kScalar && isa != CpuIsa::kNeon;
    const auto chosen = [&](int32_t levels, Int8Dot dot) {
      return cpu::int8_kernels_for(levels, isa, dot, kernels).micro;
    };
    EXPECT_EQ(chosen(kInt7Levels, Int8Dot::kPortable) != kernels.int8.micro, vectors);
    EXPECT_EQ(chosen(kInt7Levels + 1, Int8Dot::kPortable), kernels.int8.micro);
    EXPECT_EQ(chosen(kInt7Levels, Int8Dot::kBest) == chosen(kInt8Levels, Int8Dot::kBest), has || !vectors);
  }
}

TEST(CpuIsaChoice, CeilingLoopsCountWhatTheyDo) {
  for (const CpuIsa isa : supported_isas()) {
    SCOPED_TRACE(isa_name(isa));
    const cpu::CeilingTable& table = cpu::ceiling_table(isa);
    const cpu::KernelTable kernels = cpu::make_kernel_table(isa);
    const double lanes = static_cast<double>(kernels.gemm.nr) / 2;
    EXPECT_EQ(table.f32(1000), 1000 * 12 * 2 * lanes);  // rounds, chains, a product and a sum
    EXPECT_EQ(kernels.int8.ceiling(1000), 1000 * 12 * 2 * 4 * lanes);
    for (const Int8Dot dot : {Int8Dot::kBest, Int8Dot::kNarrow}) {
      const cpu::Int8Kernels fast = cpu::dot_int8_kernels(isa, dot, kernels);
      double bytes = 4 * lanes;  // of a vector
      if (fast.micro != kernels.int8.micro && isa != CpuIsa::kNeon)
        bytes = dot == Int8Dot::kBest && lanes == 16 ? 64 : 32;
      EXPECT_EQ(fast.ceiling(1000), 1000 * 12 * 2 * bytes);
    }
    // Eight chains of eight products a lane.
    if (kernels.int7.micro != kernels.int8.micro) {
      EXPECT_EQ(kernels.int7.ceiling(1000), 1000 * 8 * 2 * 8 * lanes);
    }
    const std::vector<std::byte> zeros(1 << 12), ones(1 << 12, std::byte{1});
    EXPECT_EQ(table.read(zeros.data(), 1 << 12), 0);
    EXPECT_EQ(table.read(ones.data(), 1 << 12), 0x01010101);
  }
}

}  // namespace
}  // namespace darkroom
