// The op table on a Vulkan device, against the reference backend. One core for all cases: a driver compiles a
// pipeline in tenths of a second.
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <string>
#include <vector>

#include "backends/reference/reference.h"
#include "op_cases.h"
#include "vulkan_test_util.h"

namespace darkroom {
namespace {

constexpr std::size_t kArenaBytes = 64 << 20;

std::vector<float> values(Backend& backend, const Tensor& t) {
  std::vector<float> out(static_cast<std::size_t>(t.shape.numel()));
  backend.download(t, out);
  return out;
}

// As for the cpu backend (tests/ops/conformance_test.cc).
float tolerance(DType dtype, int64_t terms, float value) {
  const float sum = 4e-7f * (4 + std::sqrt(static_cast<float>(terms))) * (1 + std::fabs(value));
  return dtype == DType::kF32 ? sum : sum + std::fabs(value) / 128;
}

struct Storage {
  DType dtype;
  Operands::Scales scales = Operands::Scales::kNone;
};
std::vector<Storage> storages() {
  using enum Operands::Scales;
  std::vector<Storage> all = {
      {DType::kF32},        {DType::kBF16},         {DType::kF16},      {DType::kF8E4M3},
      {DType::kF8E5M2},     {DType::kF8E4M3, kOne}, {DType::kI8, kOne}, {DType::kF8E5M2, kPerRow},
      {DType::kI8, kPerRow}};
  for (int i = 0; i < kDTypes; ++i) {
    if (is_block(static_cast<DType>(i))) all.push_back({static_cast<DType>(i)});
  }
  return all;
}

// Of a kind each; vulkan_linear_test.cc compares what every storage is decoded to.
bool is_chief(const Storage& storage) {
  const bool scaled = storage.scales == Operands::Scales::kPerRow;
  return storage.dtype == DType::kF32 || storage.dtype == DType::kBF16 || storage.dtype == DType::kQ4K ||
         (storage.dtype == DType::kI8 && scaled);
}

bool applies(const Storage& storage, const OpCase& c) {
  if (is_block(storage.dtype))
    return c.block_cols > 0 && c.block_cols % block_size(storage.dtype).elements == 0;
  if (storage.scales != Operands::Scales::kNone) return c.name.starts_with("linear");
  return c.uses_weights || storage.dtype == DType::kF32;
}

class VulkanConformance : public VulkanTest {
 protected:
  struct Result {
    Shape shape;
    DType dtype{};
    std::vector<float> values;
  };
  // On the reference backend; `rounded`: weights of products as bf16, which is allowed beside bf16 activations, or
  // nearer to what they are.
  enum class Rounded { kNot, kToBF16, kTo11Bits };
  Result wanted(const OpCase& c, const Storage& storage, DType activation, Rounded rounded) {
    Operands in(activation, storage.dtype, storage.scales, rounded == Rounded::kToBF16);
    if (rounded == Rounded::kTo11Bits) in.round_to_11_bits();
    Arena arena(host_);
    const Tensor t = c.run({*reference_, arena, activation}, in);
    return {t.shape, t.dtype, values(*reference_, t)};
  }
  Result got(Backend& backend, const Memory& memory, const OpCase& c, const Storage& storage,
             DType activation) {
    Operands in(activation, storage.dtype, storage.scales, false, &backend);
    Arena arena(memory);
    const Tensor t = c.run({backend, arena, activation}, in);
    return {t.shape, t.dtype, values(backend, t)};
  }

  // Each element is like one of the results that may be, the first of which is exact, give or take `more`.
  void compare(const Result& got, const std::vector<Result>& wanted, int64_t terms, float more) {
    ASSERT_EQ(wanted[0].shape, got.shape);
    ASSERT_EQ(wanted[0].dtype, got.dtype);
    for (std::size_t i = 0; i < got.values.size(); ++i) {
      const float value = got.values[i];
      const bool like_one = std::ranges::any_of(wanted, [&](const Result& w) {
        return std::fabs(w.values[i] - value) <= tolerance(w.dtype, terms, w.values[i]) + more;
      });
      ASSERT_TRUE(like_one) << "element " << i << ": reference " << wanted[0].values[i] << ", device "
                            << value;
    }
  }
  std::vector<Result> wanted(const OpCase& c, const Storage& storage, DType activation, bool matrices) {
    std::vector<Result> all = {wanted(c, storage, activation, Rounded::kNot)};
    if (activation != DType::kBF16) return all;
    if (is_block(storage.dtype) || storage.dtype == DType::kF16)
      all.push_back(wanted(c, storage, activation, Rounded::kToBF16));
    // Also where a LoRA is stored as f32.
    if (matrices) all.push_back(wanted(c, storage, activation, Rounded::kTo11Bits));
    return all;
  }

  void run(vulkan::CoreOptions wanted_options, const std::vector<Storage>& kinds, std::size_t every) {
    wanted_options.highest_class = vulkan::class_of("");
    DARKROOM_OPEN_VULKAN(core, wanted_options);
    const auto backend = vulkan::make_backend(core);
    const auto memory = backend->allocate(kArenaBytes);
    const bool matrices = core->device.info().device_class >= vulkan::DeviceClass::kMatrix;
    std::size_t number = 0;
    for (const OpCase& c : op_cases()) {
      for (const Storage& storage : kinds) {
        for (const DType activation : {DType::kF32, DType::kBF16}) {
          if (!applies(storage, c) || number++ % (is_chief(storage) ? every : 4 * every) != 0) continue;
          SCOPED_TRACE(c.name + " x " + std::string(dtype_name(activation)) + " w " +
                       std::string(dtype_name(storage.dtype)));
          try {
            const Result result = got(*backend, *memory, c, storage, activation);
            // Where there are matrices, attention's weights have 11 bits; values go to 1.
            const bool rounded = matrices && activation == DType::kBF16 && c.name.starts_with("attention");
            compare(result, wanted(c, storage, activation, matrices), c.terms, rounded ? 0x1p-12f : 0);
            ++compared_;
          } catch (const Error& e) {
            if (!std::string(e.what()).starts_with("attention in 8 bits: not on this device")) throw;
          }
          if (HasFatalFailure()) return;
        }
      }
    }
    EXPECT_GE(compared_, 400 / every);
  }

  std::unique_ptr<Backend> reference_ = make_reference_backend();
  Buffer host_{kArenaBytes};
  std::size_t compared_ = 0;
};

TEST_F(VulkanConformance, MatchesReference) { run(options(), storages(), 1); }

// Both ways of copies, and a barrier at every submit, on some of the cases.
TEST_F(VulkanConformance, MatchesReferenceThroughStaging) {
  vulkan::CoreOptions wanted = options();
  wanted.memory.force_staging = true;
  wanted.recorder.most_dispatches = 1;
  run(wanted, storages(), 7);
}

}  // namespace
}  // namespace darkroom

DARKROOM_LAYER_LEAKS()
