#include "bench/machine.h"

#include <nlohmann/json.hpp>

#include "backends/cpu/cpu.h"
#include "backends/vulkan/probe.h"
#include "base/threads.h"

namespace darkroom::bench {
namespace {

CpuOptions cpu_options(const BenchOptions& options) {
  require(options.threads >= 0, ErrorCode::kUsage, "bench: {} threads; give 0 for one per processor, or more",
          options.threads);
  return {.threads = options.threads, .isa = parse_isa(options.isa.empty() ? "auto" : options.isa)};
}

constexpr double kAMoment = 1e-3;  // seconds, to see whether there is such a ceiling

class CpuMachine final : public Machine {
 public:
  explicit CpuMachine(const BenchOptions& options)
      : threads_(options.threads > 0 ? options.threads : available_processors()),
        backend_(make_cpu_backend(cpu_options(options))),
        probe_({.threads = options.threads, .isa = backend_->isa()}),
        has_bf16_(probe_.bf16_gflops(kAMoment).has_value()),
        has_int7_(probe_.int7_gops(kAMoment).has_value()) {}

  Backend& backend() override { return *backend_; }
  void describe(nlohmann::json& result) override {
    result["cpu"] = {{"name", cpu_model_name()}, {"isa", isa_name(backend_->isa())}, {"threads", threads_}};
  }
  std::optional<double> measure(Ceiling ceiling, double seconds) override {
    if (ceiling == Ceiling::kMemory) return probe_.read_gbps(seconds);
    if (ceiling == Ceiling::kInt8) return probe_.int8_gops(seconds);
    if (ceiling == Ceiling::kInt7) return probe_.int7_gops(seconds);
    return ceiling == Ceiling::kBF16 ? probe_.bf16_gflops(seconds) : probe_.f32_gflops(seconds);
  }
  std::optional<Ceiling> matmul_ceiling(const Arithmetic& arithmetic) const override {
    const bool of_7_bits = arithmetic.levels == kInt7Levels && has_int7_;
    if (arithmetic.activation == DType::kI8) return of_7_bits ? Ceiling::kInt7 : Ceiling::kInt8;
    return arithmetic.activation == DType::kBF16 && has_bf16_ ? Ceiling::kBF16 : Ceiling::kF32;
  }
  // f32 arithmetic on every instruction set.
  std::optional<Ceiling> attention_ceiling(const Arithmetic&) const override { return Ceiling::kF32; }
  void release_memory() override { probe_.release_memory(); }

 private:
  int threads_;
  std::unique_ptr<CpuBackend> backend_;
  CeilingProbe probe_;
  bool has_bf16_, has_int7_;
};

class VulkanMachine final : public Machine {
 public:
  explicit VulkanMachine(const BenchOptions& options)
      : probe_({.device = options.device, .cache_folder = options.shader_cache}), device_(probe_.device()) {}

  Backend& backend() override { return probe_.backend(); }
  void describe(nlohmann::json& result) override {
    constexpr double kSeconds = 0.2;
    result["device"] = {{"name", device_.name},
                        {"driver", device_.driver},
                        {"kind", device_.kind},
                        {"class", device_.device_class},
                        {"memory_bytes", device_.memory}};
    result["ceiling"]["upload_gbps"] = probe_.upload_gbps(kSeconds);
    result["ceiling"]["download_gbps"] = probe_.download_gbps(kSeconds);
    probe_.release_memory();
  }
  std::optional<double> measure(Ceiling ceiling, double seconds) override {
    if (ceiling == Ceiling::kMemory) return probe_.copy_gbps(seconds);
    if (ceiling == Ceiling::kInt8) return probe_.dot_gops(seconds);
    return ceiling == Ceiling::kF32 ? std::optional(probe_.f32_gflops(seconds)) : std::nullopt;
  }
  // What matrix units do at best is not measured: rows that may run on them have no fraction.
  std::optional<Ceiling> matmul_ceiling(const Arithmetic& arithmetic) const override {
    const DType activation = arithmetic.activation;
    if (activation == DType::kF32 || device_.device_class == "S") return Ceiling::kF32;
    if (device_.device_class != "D") return std::nullopt;
    return activation == DType::kI8 ? Ceiling::kInt8 : Ceiling::kF32;
  }
  std::optional<Ceiling> attention_ceiling(const Arithmetic& arithmetic) const override {
    const bool scalar = device_.device_class == "S" || device_.device_class == "D";
    return scalar || arithmetic.activation == DType::kF32 ? std::optional(Ceiling::kF32) : std::nullopt;
  }
  std::optional<Counts> counts() const override {
    const VulkanCounts counts = probe_.counts();
    return Counts{counts.dispatches, counts.barriers, counts.submits};
  }
  bool is_slow() const override { return device_.kind == "cpu"; }
  bool has_int8_attention() const override { return false; }
  void release_memory() override { probe_.release_memory(); }

 private:
  VulkanProbe probe_;
  VulkanDevice device_;
};

}  // namespace

std::string_view arithmetic_name(const Arithmetic& arithmetic) {
  const bool of_7_bits = arithmetic.activation == DType::kI8 && arithmetic.levels == kInt7Levels;
  return of_7_bits ? "i7" : dtype_name(arithmetic.activation);
}

Counts operator+(const Counts& a, const Counts& b) {
  return {a.dispatches + b.dispatches, a.barriers + b.barriers, a.submits + b.submits};
}

Counts operator-(const Counts& a, const Counts& b) {
  return {a.dispatches - b.dispatches, a.barriers - b.barriers, a.submits - b.submits};
}

std::unique_ptr<Machine> make_machine(const BenchOptions& options) {
  if (options.device == "cpu") return std::make_unique<CpuMachine>(options);
  return std::make_unique<VulkanMachine>(options);
}

}  // namespace darkroom::bench
