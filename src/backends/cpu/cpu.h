// The CPU backend: every op of ops/backend.h with vector instructions and a pool of threads.
//
// One kernel source for several instruction sets (Highway); the set is chosen per backend object, so that
// tests and the bench can run them side by side. Results depend on the instruction set, never on the number
// of threads. Called by backends/registry and by the tests and the bench.
#pragma once

#include <cstddef>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "ops/backend.h"

namespace darkroom {

enum class CpuIsa {
  kAuto,    // the last of supported_isas()
  kScalar,  // portable C++, runs anywhere
  kSse4,
  kAvx2,        // with FMA and F16C
  kAvx512,      // F, CD, BW, DQ, VL
  kAvx512Bf16,  // kAvx512, and native dot products of bf16 pairs
  kNeon,        // 64-bit ARM
};

// Which instruction multiplies 8-bit numbers; all give the same bits.
enum class Int8Dot : uint8_t {
  kBest,      // a dot product, where the processor has one (VNNI, ARM's sdot)
  kPortable,  // of the instruction set itself
  kNarrow,    // the dot product of 256 bits, where the processor has one
};

struct CpuOptions {
  int threads = 0;  // the caller included; 0 means one per available processor
  CpuIsa isa = CpuIsa::kAuto;
  // Tests only: run bf16 linear layers in the layout of kAvx512Bf16 with a portable kernel, on any
  // instruction set.
  bool emulate_bf16_dot = false;
  Int8Dot int8_dot = Int8Dot::kBest;  // another one: tests only
};

class CpuBackend : public Backend {
 public:
  virtual CpuIsa isa() const = 0;  // never kAuto
};

// Errors: kUsage if this processor lacks the instruction set, kOutOfMemory.
std::unique_ptr<CpuBackend> make_cpu_backend(const CpuOptions& options);

// What this processor can run, slowest first; never empty, never kAuto. Where dot products of bf16 pairs are
// slower than widening to f32 (Intel), kAvx512Bf16 comes before kAvx512.
std::vector<CpuIsa> supported_isas();
// "auto", "scalar", "sse4", "avx2", "avx512", "avx512bf16", "neon".
std::string_view isa_name(CpuIsa isa);
// Errors: kUsage for an unknown name.
CpuIsa parse_isa(std::string_view name);
// The name that the processor reports, or "unknown".
std::string cpu_model_name();

// What the processor can do at best: register-only loops, and reading memory, on all `threads` at once. The
// yardstick for the bench. Errors: kUsage as for make_cpu_backend.
struct CpuCeilings {
  double f32_gflops = 0;
  std::optional<double> bf16_gflops;  // absent without native bf16 dot products
  double int8_gops = 0;               // what 8-bit linear layers multiply with
  std::optional<double> int7_gops;    // the same of up to kInt7Levels; absent where it is the same
  double read_gbps = 0;               // memory much larger than the caches
};

// Measures them one by one, again and again, with threads and memory kept between calls: the bench probes
// beside every run. Each returns the best few milliseconds of about `seconds`. One call at a time. Errors:
// kUsage for an instruction set that this processor lacks; kOutOfMemory.
class CeilingProbe {
 public:
  explicit CeilingProbe(const CpuOptions& options);
  ~CeilingProbe();
  double f32_gflops(double seconds);
  std::optional<double> bf16_gflops(double seconds);
  double int8_gops(double seconds);
  std::optional<double> int7_gops(double seconds);
  double read_gbps(double seconds);
  // `seconds` for each.
  CpuCeilings all(double seconds);
  // Gives the memory back that read_gbps() has taken, 64 MiB a thread, until it is called again.
  void release_memory();

 private:
  struct State;
  std::unique_ptr<State> state_;
};

}  // namespace darkroom
