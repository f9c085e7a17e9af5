// A case of the op table in one storage of weights and one dtype of activations: run, and held against the reference.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

#include "selftest/op_cases.h"

namespace darkroom {

// How a case's weights are stored. i8 and scales are for the matrices of linear layers.
struct Storage {
  DType dtype{};
  Operands::Scales scales = Operands::Scales::kNone;
};
// Every storage that there is.
std::vector<Storage> storages();
std::string name_of(const Storage& storage);  // "f8_e4m3_one_scale"
// One of a kind each. Where time is short these are tried on every case, of the others a few are enough.
bool is_chief(const Storage& storage);
bool applies(const Storage& storage, const OpCase& c);

struct Trial {
  const OpCase* op = nullptr;
  Storage storage;
  DType activation{};
  std::string name() const;  // "linear 5x300x17 x bf16 w q4_k"
};
// All of `cases` (which must outlive them), or, of storages that are not chief, one in `other_storages`.
std::vector<Trial> trials(const std::vector<OpCase>& cases, std::size_t other_storages = 1);

// Memory that the results of any trial fit.
inline constexpr std::size_t kTrialBytes = 64 << 20;

// How the weights of products may be rounded, beside bf16 activations: to bf16, or, on matrix units, to 11 bits.
enum class Rounding : uint8_t { kNone, kToBF16, kTo11Bits };

struct TrialResult {
  Shape shape;
  DType dtype{};
  std::vector<float> values;
};
// `memory` is the backend's, of kTrialBytes. Errors: the backend's.
TrialResult run_trial(const Trial& trial, Backend& backend, const Memory& memory,
                      Rounding rounding = Rounding::kNone);

// What a trial may give: the reference's results with each rounding that is allowed, the first of them without any;
// `more` is added to the tolerance.
struct Expected {
  std::vector<TrialResult> results;
  float more = 0;
};
// `matrices`: on a device of class M and above.
Expected expected_of(const Trial& trial, Backend& reference, const Memory& memory, bool matrices = false);

// How far a value may be from one that was summed of `terms` products of order one. f32: the rounding of such a sum;
// bf16: also one unit in the last place, as two sums that differ in their last bits may round to different neighbours.
float tolerance(DType dtype, int64_t terms, float value);

// The worst element, each held against the nearest of what may be.
struct Deviation {
  double worst = 0;   // as a fraction of the tolerance; kNoNumber where something is no number
  std::string wrong;  // what is wrong with it; empty if nothing
};
inline constexpr double kNoNumber = 1e30;
Deviation compare(const TrialResult& got, const Expected& expected, int64_t terms);

}  // namespace darkroom
