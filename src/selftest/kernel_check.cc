#include "selftest/kernel_check.h"

#include <fmt/format.h>

#include <algorithm>

#include "backends/reference/reference.h"
#include "base/error.h"
#include "selftest/trial.h"

namespace darkroom {
namespace {

constexpr Storage kF32 = {DType::kF32}, kBF16 = {DType::kBF16}, kQ4K = {DType::kQ4K},
                  kI8 = {DType::kI8, Operands::Scales::kPerRow};

// With bf16 activations, as pictures are drawn. The shapes are the smallest that show a kernel's edges and loops.
struct Pick {
  const char* name;  // of the op table
  Storage storage = kF32;
};
constexpr Pick kPicks[] = {{"linear 40x1280x75", kBF16},
                           {"linear 40x1280x75", kQ4K},
                           {"linear 40x1280x75", kI8},
                           {"linear 5x768x37", kBF16},
                           {"linear_gate_residual 67x96x200", kBF16},
                           {"int8 linear 28x256x130/64"},
                           {"int8 linear 28x256x130/64 smooth"},
                           {"attention 130x130 heads 2x128"},
                           {"attention 77x77 heads 2x64 causal"},
                           {"attention 40x40 heads 3x32 bias"},
                           {"attention 70x70 heads 1x512"},
                           {"int8 attention 100x130 heads 2x128"},
                           {"conv 20x17 130->40 k3 up1 down1", kBF16},
                           {"conv 6x7 24->24 k3 up2 down1 residual", kBF16},
                           {"conv 6x8 16->32 k3 up1 down2 residual", kBF16},
                           {"conv 12x10 33->20 k1 up1 down1 residual", kBF16},
                           {"layer_norm 770", kBF16},
                           {"rms_norm 770", kBF16},
                           {"norm_modulate 770"},
                           {"qk_norm_rope 128", kBF16},
                           {"group_norm 33x20x64/32", kBF16},
                           {"gated_gelu"},
                           {"silu"},
                           {"add_scaled"},
                           {"embed", kBF16}};

// Products whose many columns get the larger tiles.
OpCase wide_linear(int64_t m, int64_t n) {
  constexpr int64_t k = 64;
  return {fmt::format("linear {}x{}x{}", m, k, n), k, true, [m, n](const Context& ctx, Operands& in) {
            const Tensor x = in.activation({m, k});
            return ops::linear(ctx, x, in.linear(k, n));
          }};
}

bool is_skipped(const Error& e) {
  return std::string_view(e.what()).find("not on this device") != std::string_view::npos;
}

class KernelCheck {
 public:
  explicit KernelCheck(Backend& backend)
      : backend_(backend),
        memory_(backend.allocate(kTrialBytes)),
        matrices_(backend.identity().device_class.starts_with("M")) {}

  KernelVerdict run() {
    const std::vector<OpCase> cases = op_cases();
    for (const Pick& pick : kPicks) {
      const auto found = std::ranges::find(cases, pick.name, &OpCase::name);
      require(found != cases.end(), ErrorCode::kFailure, "there is no op case '{}'; please report this",
              pick.name);
      if (!is_right({&*found, pick.storage, DType::kBF16})) return verdict_;
    }
    for (const OpCase& wide : {wide_linear(33, 96 * 64), wide_linear(65, 96 * 128)}) {
      if (!is_right({&wide, kBF16, DType::kBF16})) return verdict_;
    }
    return verdict_;
  }

 private:
  bool is_right(const Trial& trial) {
    try {
      const TrialResult got = run_trial(trial, backend_, *memory_);
      verdict_.wrong = compare(got, expected_of(trial, *reference_, host_, matrices_), trial.op->terms).wrong;
    } catch (const Error& e) {
      if (e.code() == ErrorCode::kOutOfMemory) throw;
      if (is_skipped(e)) return true;
      verdict_ = {e.what(), e.code() != ErrorCode::kDevice};
    }
    if (verdict_.wrong.empty()) return true;
    verdict_.wrong = fmt::format("{}: {}", trial.name(), verdict_.wrong);
    return false;
  }

  Backend& backend_;
  std::unique_ptr<Memory> memory_;
  bool matrices_;
  std::unique_ptr<Backend> reference_ = make_reference_backend();
  Buffer host_{kTrialBytes};
  KernelVerdict verdict_;
};

}  // namespace

KernelVerdict check_kernels(Backend& backend) { return KernelCheck(backend).run(); }

}  // namespace darkroom
