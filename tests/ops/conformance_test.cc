// Every op in every dtype and instruction set of the cpu backend that this machine can run, against the
// reference backend.
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <cstdio>
#include <map>
#include <set>

#include "backend_functions.h"
#include "backends/dry_run/dry_run.h"
#include "backends/reference/reference.h"
#include "backends/registry.h"
#include "processor_flags.h"
#include "selftest/trial.h"

namespace darkroom {

void PrintTo(const Storage& storage, std::ostream* os) { *os << name_of(storage); }

namespace {

std::vector<float> values(Backend& backend, const Tensor& t) {
  std::vector<float> out(static_cast<std::size_t>(t.shape.numel()));
  backend.download(t, out);
  return out;
}

class Conformance : public testing::TestWithParam<Storage> {
 protected:
  // Calls body(case, dtype of activations) for all that this storage of weights applies to.
  template <typename Body>
  void for_each_case(const Body& body) {
    for (const OpCase& c : op_cases()) {
      if (!applies(GetParam(), c)) continue;
      for (const DType activation : {DType::kF32, DType::kBF16}) {
        SCOPED_TRACE((Trial{&c, GetParam(), activation}.name()));
        body(c, activation);
      }
    }
  }

  Operands operands(DType activation) const { return {activation, GetParam().dtype, GetParam().scales}; }
};

TEST_P(Conformance, MatchesReference) {
  const auto reference = make_reference_backend();
  std::vector<std::unique_ptr<Backend>> backends;
  for (const std::string& isa : supported_isa_names()) {
    std::printf("instruction set: %s\n", isa.c_str());  // tests/ops/print_isas.sh gathers these
    backends.push_back(make_backend({.name = "cpu", .isa = isa, .threads = 2}));
    ASSERT_NE(backends.back()->name().find(isa), std::string::npos) << backends.back()->name();
  }
  const Buffer memory(kTrialBytes);
  for_each_case([&](const OpCase& c, DType activation) {
    const Trial trial{&c, GetParam(), activation};
    const Expected expected = expected_of(trial, *reference, memory);
    for (const auto& tested : backends)
      EXPECT_EQ(compare(run_trial(trial, *tested, memory), expected, c.terms).wrong, "") << tested->name();
  });
}

// Some storages, of each driver and with and without scales and blocks: threads only differ in the tiles that they cut a product into.
std::vector<Storage> packings() {
  std::vector<Storage> all = {{DType::kF32}, {DType::kBF16}, {DType::kI8, Operands::Scales::kPerRow}};
  for (const DType dtype : {DType::kQ8_0, DType::kQ4K, DType::kNF4}) all.push_back({dtype});
  return all;
}

class ThreadCounts : public Conformance {};

TEST_P(ThreadCounts, GiveTheSameBytes) {
  const Buffer memory(kTrialBytes);
  for (const std::string& isa : supported_isa_names()) {
    std::vector<std::unique_ptr<Backend>> backends;
    for (const int threads : {1, 2, 5}) {
      backends.push_back(make_backend({.name = "cpu", .isa = isa, .threads = threads}));
    }
    for_each_case([&](const OpCase& c, DType activation) {
      std::set<std::vector<float>> results;
      for (const auto& backend : backends) {
        Operands in = operands(activation);
        Arena arena(memory);
        results.insert(values(*backend, c.run({*backend, arena, activation}, in)));
      }
      EXPECT_EQ(results.size(), 1u) << isa;
    });
  }
}

INSTANTIATE_TEST_SUITE_P(All, ThreadCounts, testing::ValuesIn(packings()),
                         [](const auto& storage) { return name_of(storage.param); });
INSTANTIATE_TEST_SUITE_P(All, Conformance, testing::ValuesIn(storages()),
                         [](const auto& storage) { return name_of(storage.param); });

class CountingBackend : public Backend {
 public:
  std::string name() const override { return inner_->name(); }
  Device device() const override { return inner_->device(); }
#define DARKROOM_COUNT(function, Args)       \
  void function(const Args& args) override { \
    ++calls[#function];                      \
    inner_->function(args);                  \
  }
  DARKROOM_BACKEND_FUNCTIONS(DARKROOM_COUNT)
#undef DARKROOM_COUNT
  void upload(std::span<const float> host, const Tensor& out) override {
    ++calls["upload"];
    inner_->upload(host, out);
  }
  void download(const Tensor& x, std::span<float> host) override {
    ++calls["download"];
    inner_->download(x, host);
  }

  std::map<std::string, int> calls;

 private:
  std::unique_ptr<Backend> inner_ = make_reference_backend();
};

TEST(OpCases, EveryFunctionHasACase) {
  CountingBackend backend;
  const Buffer memory(kTrialBytes);
  for (const OpCase& c : op_cases()) {
    Operands in(DType::kF32, DType::kF32);
    Arena arena(memory);
    values(backend, c.run({backend, arena, DType::kF32}, in));
  }
#define DARKROOM_EXPECT(function, Args) EXPECT_GT(backend.calls[#function], 0) << #function;
  DARKROOM_BACKEND_FUNCTIONS(DARKROOM_EXPECT)
#undef DARKROOM_EXPECT
  EXPECT_GT(backend.calls["upload"], 0);
  EXPECT_GT(backend.calls["download"], 0);
}

// The sets of this architecture and what /proc/cpuinfo calls their parts.
struct IsaFlags {
  const char* isa;
  std::vector<std::string> needed;
};
#if defined(__aarch64__)
const std::vector<IsaFlags> kIsaFlags = {{"neon", {"asimd"}}};
#else
const std::vector<IsaFlags> kIsaFlags = {
    {"sse4", {"sse4_2", "aes", "pclmulqdq"}},
    {"avx2", {"avx2", "fma", "f16c", "bmi1", "bmi2", "abm"}},
    {"avx512", {"avx512f", "avx512bw", "avx512cd", "avx512dq", "avx512vl"}},
    {"avx512bf16", {"avx512f", "avx512bw", "avx512cd", "avx512dq", "avx512vl", "avx512_bf16"}}};
#endif

// Or a machine that lacks a set, and a fault in finding it, would test less and say nothing.
TEST(InstructionSets, ThoseOfTheProcessorAreTested) {
  const std::set<std::string> flags = processor_flags();
  if (flags.empty()) GTEST_SKIP() << "/proc/cpuinfo names no flags";
  std::set<std::string> tested;
  for (const std::string& isa : supported_isa_names()) tested.insert(isa);
  for (const auto& [isa, needed] : kIsaFlags) {
    const bool has =
        std::ranges::all_of(needed, [&](const std::string& flag) { return flags.contains(flag); });
    EXPECT_EQ(has, tested.contains(isa)) << isa;
  }
  EXPECT_TRUE(tested.contains("scalar"));
}

// Tensors without data stay without data, and shapes come out as on a real backend.
Tensor without_data(Tensor t) {
  t.data = nullptr;
  t.device = Device::kNone;
  return t;
}

TEST(DryRun, CountsWorkAndMemory) {
  DryRunBackend backend;
  Arena arena = Arena::counting();
  const Context ctx{backend, arena, DType::kBF16};
  const Tensor x(nullptr, DType::kBF16, {10, 64}, Device::kNone);
  const Linear w{Tensor(nullptr, DType::kBF16, {32, 64}, Device::kNone), {}};
  const Tensor y = ops::linear(ctx, x, w);
  EXPECT_EQ(y.shape, (Shape{10, 32}));
  EXPECT_EQ(y.data, nullptr);
  EXPECT_EQ(backend.work().flops, 2 * 10 * 64 * 32);
  EXPECT_EQ(backend.work().weight_bytes, 32 * 64 * 2);
  EXPECT_EQ(arena.peak(), 640u);
}

TEST(DryRun, CountsBytesOfBlocks) {
  DryRunBackend backend;
  Arena arena = Arena::counting();
  const Context ctx{backend, arena, DType::kBF16};
  const Tensor matrix(nullptr, DType::kQ4_0, {32, 64}, Device::kNone);
  ops::linear(ctx, Tensor(nullptr, DType::kBF16, {10, 64}, Device::kNone), {matrix, {}});
  EXPECT_EQ(backend.work().weight_bytes, 32 * 2 * 18);
  const int32_t ids[] = {1, 2, 1};
  ops::embed(ctx, matrix, ids);
  EXPECT_EQ(backend.work().weight_bytes, 35 * 2 * 18);
}

TEST(DryRun, CountsQuantisedRows) {
  DryRunBackend backend;
  Arena arena = Arena::counting();
  const Context ctx{backend, arena, DType::kBF16};
  const Tensor x(nullptr, DType::kBF16, {10, 300}, Device::kNone);
  const Tensor in_8_bits = ops::quantize_rows(ctx, x, 128);
  EXPECT_EQ(in_8_bits.scales_per_row(), 3);
  EXPECT_EQ(arena.used(), 3008u + 128u);  // 10·300 and 10·3·4 bytes, in cache lines
  Tensor w(nullptr, DType::kI8, {32, 300}, Device::kNone);
  w.scale_count = 32;
  EXPECT_EQ(ops::linear(ctx, {x, in_8_bits}, {w, {}}).dtype, DType::kBF16);
  EXPECT_EQ(backend.work().flops, 2 * 10 * 300 * 32);
  EXPECT_EQ(backend.work().weight_bytes, 32 * 300 + 32 * 4);
}

// K and V in 8 bits are there while it runs.
TEST(DryRun, CountsAttentionIn8Bits) {
  DryRunBackend backend;
  Arena arena = Arena::counting();
  const Context ctx{backend, arena, DType::kBF16};
  const Tensor q(nullptr, DType::kBF16, {10, 256}, Device::kNone),
      k(nullptr, DType::kBF16, {300, 256}, Device::kNone);
  ops::attention(ctx, q, k, k, {.heads = 2, .scale = 0.1f, .int8 = true});
  const std::size_t out = 10 * 256 * 2, rows = 2 * 320 * 256;
  const std::size_t floats = 2 * 4 * (320 + 2 * 3 * 128), sums = 2 * 8 * 2 * 256;
  EXPECT_EQ(arena.used(), out);
  EXPECT_EQ(arena.peak(), out + rows + floats + sums);
  EXPECT_EQ(backend.work().flops, 4 * 10 * 300 * 256);
}

TEST(DryRun, RefusesTensorsOfAnotherBackend) {
  DryRunBackend dry;
  Arena arena = Arena::counting();
  Operands in(DType::kF32, DType::kF32);
  const Tensor host = in.activation({2, 4});
  EXPECT_THROW(ops::silu({dry, arena, DType::kF32}, host), Error);
  const auto reference = make_reference_backend();
  EXPECT_THROW(ops::silu({*reference, arena, DType::kF32}, without_data(host)), Error);
}

TEST(Checks, NameTheTensorAndBothShapes) {
  const auto backend = make_reference_backend();
  const Buffer memory(1 << 16);
  Arena arena(memory);
  const Context ctx{*backend, arena, DType::kF32};
  Operands in(DType::kF32, DType::kF32);
  const Tensor x = in.activation({3, 5});
  try {
    ops::linear(ctx, x, in.linear(6, 4));
    FAIL() << "a linear layer of 6 inputs took 5";
  } catch (const Error& e) {
    EXPECT_EQ(std::string(e.what()), "linear: weight is f32 [4, 6], expected [4, 5]");
  }
  Operands quantised(DType::kF32, DType::kI8, Operands::Scales::kPerRow);
  Linear w = quantised.linear(5, 4);
  ops::linear(ctx, x, w);
  EXPECT_THROW(ops::rms_norm(ctx, x, w.weight.slice_rows(0, 1).reshape({5}), 1e-6f), Error);
  w.weight.scale_count = 3;
  EXPECT_THROW(ops::linear(ctx, x, w), Error);
  w.weight.scale_count = 0;  // 8-bit integers without a scale
  EXPECT_THROW(ops::linear(ctx, x, w), Error);
  Operands blocks(DType::kF32, DType::kQ4_0);
  Tensor table = blocks.weight({4, 64});
  table.shape = {4, 40};
  const int32_t first[] = {0};
  const auto message_of = [](const auto& run) {
    try {
      run();
    } catch (const Error& e) {
      return std::string(e.what());
    }
    return std::string();
  };
  EXPECT_EQ(message_of([&] { ops::embed(ctx, table, first); }),
            "embed: table is q4_0 [4, 40], expected rows of whole blocks of 32");
  EXPECT_EQ(message_of([&] {
              ops::linear(ctx, in.activation({3, 40}), {table, {}});
            }),
            "linear: weight is q4_0 [4, 40], expected rows of whole blocks of 32");
  EXPECT_THROW(ops::rms_norm(ctx, in.activation({3, 64}), blocks.weight({64}), 1e-6f), Error);
  EXPECT_THROW(ops::attention(ctx, x, x, x, {.heads = 2}), Error);
  const auto refused = [&](ops::AttentionOptions options, int64_t cols = 4) {
    options.int8 = true;
    const Tensor y = in.activation({3, cols});
    return message_of([&] { ops::attention(ctx, y, y, y, options); });
  };
  EXPECT_EQ(refused({}), "");
  for (const ops::AttentionOptions& options :
       {ops::AttentionOptions{.causal = true}, ops::AttentionOptions{.relative_bias = in.f32({1, 5})},
        ops::AttentionOptions{.state = in.f32({3, 6})}}) {
    EXPECT_EQ(refused(options),
              "attention: 8 bits with a causal mask, a bias or keys in parts are not supported");
  }
  EXPECT_EQ(refused({}, 1025), "attention: heads of 1025 columns, at most 1024 are supported in 8 bits");
  for (const float scale : {0.0f, -1.0f, 1.5f, NAN}) {
    EXPECT_EQ(refused({.scale = scale}),
              fmt::format("attention: in 8 bits the scale may be 2^-16 to 1, not {}", scale));
  }
  const Tensor in_8_bits = ops::quantize_rows(ctx, x, 2);
  EXPECT_EQ(in_8_bits.scale_count, 9);
  EXPECT_EQ(message_of([&] {
              ops::linear(ctx, {x, in_8_bits}, in.linear(5, 4));
            }),
            "linear: weight is f32 [4, 5] beside a quantised x, expected i8");
  EXPECT_EQ(message_of([&] {
              ops::linear(ctx, {x, x}, quantised.linear(5, 4));
            }),
            "linear: quantised x is f32 [3, 5] with 0 scales, expected i8 with 3");
  EXPECT_THROW(ops::linear(ctx, {in.activation({2, 5}), in_8_bits}, quantised.linear(5, 4)), Error);
  EXPECT_THROW(ops::linear(ctx, in_8_bits, quantised.linear(5, 4)), Error);
  EXPECT_THROW(ops::quantize_rows(ctx, x, -1), Error);
  EXPECT_THROW(ops::rms_norm(ctx, x, in.weight({4}), 1e-6f), Error);
  const int32_t bad_ids[] = {7};
  EXPECT_THROW(ops::embed(ctx, in.weight({7, 2}), bad_ids), Error);
  EXPECT_THROW(ops::group_norm(ctx, in.activation({2, 2, 6}), in.weight({6}), in.weight({6}), {.groups = 4}),
               Error);
  EXPECT_THROW(ops::conv2d(ctx, in.activation({2, 2, 6}), in.conv(6, 2, 2)), Error);
}

}  // namespace
}  // namespace darkroom
