#ifdef __x86_64__
#include <cpuid.h>
#endif
#include <hwy/targets.h>

#include <algorithm>
#include <fstream>

#include "backends/cpu/kernels.h"
#include "base/error.h"

namespace darkroom {
namespace {

struct IsaEntry {
  CpuIsa isa;
  std::string_view name;
};
constexpr IsaEntry kIsas[] = {{CpuIsa::kAuto, "auto"},     {CpuIsa::kScalar, "scalar"},
                              {CpuIsa::kSse4, "sse4"},     {CpuIsa::kAvx2, "avx2"},
                              {CpuIsa::kAvx512, "avx512"}, {CpuIsa::kAvx512Bf16, "avx512bf16"},
                              {CpuIsa::kNeon, "neon"}};

#ifdef __x86_64__
// CPUID leaf 7, subleaf 1, EAX bit 5. The operating system's part (saving 512-bit state) is in Highway's AVX3
// check.
bool has_avx512bf16() {
  unsigned eax = 0, ebx = 0, ecx = 0, edx = 0;
  return __get_cpuid_count(7, 1, &eax, &ebx, &ecx, &edx) != 0 && (eax & (1u << 5)) != 0;
}

// Whether a dot product of bf16 pairs takes less time than two multiply-adds of f32. On AMD since Zen 4 it is
// twice as fast; Intel's processors leave bf16 to AMX and do four multiply-adds in the time (measured on
// Emerald Rapids: docs/SPEED.md).
bool has_fast_bf16_dot() {
  unsigned eax = 0, ebx = 0, ecx = 0, edx = 0;
  if (__get_cpuid(0, &eax, &ebx, &ecx, &edx) == 0) return false;
  return ebx != signature_INTEL_ebx || ecx != signature_INTEL_ecx || edx != signature_INTEL_edx;
}
#endif

}  // namespace

std::vector<CpuIsa> supported_isas() {
  std::vector<CpuIsa> isas = {CpuIsa::kScalar};
#ifdef __x86_64__
  const auto targets = hwy::SupportedTargets();
  if (targets & HWY_SSE4) isas.push_back(CpuIsa::kSse4);
  if (targets & HWY_AVX2) isas.push_back(CpuIsa::kAvx2);
  if (targets & HWY_AVX3) isas.push_back(CpuIsa::kAvx512);
  if ((targets & HWY_AVX3) && has_avx512bf16()) {
    isas.insert(isas.end() - (has_fast_bf16_dot() ? 0 : 1), CpuIsa::kAvx512Bf16);
  }
#elif defined(__aarch64__)
  // Part of the architecture. Highway asks for AES besides, which some processors lack and no kernel here
  // uses.
  isas.push_back(CpuIsa::kNeon);
#endif
  return isas;
}

std::string_view isa_name(CpuIsa isa) {
  for (const IsaEntry& entry : kIsas) {
    if (entry.isa == isa) return entry.name;
  }
  return "unknown";
}

CpuIsa parse_isa(std::string_view name) {
  for (const IsaEntry& entry : kIsas) {
    if (entry.name == name) return entry.isa;
  }
  fail(ErrorCode::kUsage,
       "unknown instruction set '{}'; there are auto, scalar, sse4, avx2, avx512, avx512bf16 and neon", name);
}

std::string cpu_model_name() {
  std::ifstream info("/proc/cpuinfo");
  for (std::string line; std::getline(info, line);) {
    const std::size_t colon = line.find(": ");
    if (line.starts_with("model name") && colon != std::string::npos) return line.substr(colon + 2);
  }
  return "unknown";
}

namespace cpu {

CpuIsa resolve_isa(CpuIsa isa) {
  const std::vector<CpuIsa> isas = supported_isas();
  if (isa == CpuIsa::kAuto) return isas.back();
  require(std::ranges::find(isas, isa) != isas.end(), ErrorCode::kUsage,
          "this processor ({}) lacks the instruction set {}; the best it has is {}", cpu_model_name(),
          isa_name(isa), isa_name(isas.back()));
  return isa;
}

}  // namespace cpu
}  // namespace darkroom
