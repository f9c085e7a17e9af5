// What is measured: a backend, and what its device does at best.
#pragma once

#include <memory>
#include <nlohmann/json_fwd.hpp>
#include <optional>
#include <string_view>

#include "bench/bench.h"
#include "ops/backend.h"

namespace darkroom::bench {

// What is multiplied.
struct Arithmetic {
  DType activation = DType::kF32;  // i8: bf16 activations that are quantised, and i8 weights
  int32_t levels = kInt8Levels;    // of i8
  Arithmetic(DType dtype, int32_t of_levels = kInt8Levels) : activation(dtype), levels(of_levels) {}
};
// "bf16", "i8"; "i7" for i8 of kInt7Levels.
std::string_view arithmetic_name(const Arithmetic& arithmetic);

// What work is held against.
enum class Ceiling : uint8_t { kF32, kBF16, kInt8, kInt7, kMemory };
inline constexpr std::size_t kCeilings = 5;

// What a backend has asked of its device so far.
struct Counts {
  uint64_t dispatches = 0, barriers = 0, submits = 0;
};
Counts operator+(const Counts& a, const Counts& b);
Counts operator-(const Counts& a, const Counts& b);

class Machine {
 public:
  virtual ~Machine() = default;
  virtual Backend& backend() = 0;
  // Adds what it is to the result of the bench, and those of its ceilings that bound no row.
  virtual void describe(nlohmann::json& result) = 0;
  // In units of 1e9 a second, measured for about so long; absent: there is no such thing, or no way to measure it.
  virtual std::optional<double> measure(Ceiling ceiling, double seconds) = 0;
  // The ceiling of what the backend multiplies with in linear layers and convolutions, beside bf16 weights, and in
  // attention that is not of 8 bits. Absent: not known.
  virtual std::optional<Ceiling> matmul_ceiling(const Arithmetic& arithmetic) const = 0;
  virtual std::optional<Ceiling> attention_ceiling(const Arithmetic& arithmetic) const = 0;
  // Nothing where ops are calls and no more.
  virtual std::optional<Counts> counts() const { return std::nullopt; }
  // A graphics card by name only, hundreds of times slower than one.
  virtual bool is_slow() const { return false; }
  virtual bool has_int8_attention() const { return true; }
  // Frees what measure() holds, until the next one.
  virtual void release_memory() = 0;
};

// By BenchOptions::device. Errors: as run_bench().
std::unique_ptr<Machine> make_machine(const BenchOptions& options);

}  // namespace darkroom::bench
