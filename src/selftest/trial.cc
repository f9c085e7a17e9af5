#include "selftest/trial.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>

namespace darkroom {
namespace {

// Of products, in the case's own storage or in that of a LoRA.
bool has_weights_in(const Trial& trial, DType dtype) {
  return trial.storage.dtype == dtype || trial.op->name.find("lora") != std::string::npos;
}

std::vector<Rounding> roundings(const Trial& trial, bool matrices) {
  std::vector<Rounding> all = {Rounding::kNone};
  if (trial.activation != DType::kBF16) return all;
  const bool blocks = is_block(trial.storage.dtype);
  if (blocks || has_weights_in(trial, DType::kF16)) all.push_back(Rounding::kToBF16);
  if (matrices && (blocks || has_weights_in(trial, DType::kF32))) all.push_back(Rounding::kTo11Bits);
  return all;
}

double fraction_of(float value, const TrialResult& wanted, std::size_t i, float more, int64_t terms) {
  const float want = wanted.values[i];
  const double fraction = std::fabs(want - value) / (tolerance(wanted.dtype, terms, want) + more);
  return std::isfinite(fraction) ? fraction : kNoNumber;
}

}  // namespace

std::vector<Storage> storages() {
  using enum Operands::Scales;
  std::vector<Storage> all = {{DType::kF32},
                              {DType::kBF16},
                              {DType::kF16},
                              {DType::kF8E4M3},
                              {DType::kF8E5M2},
                              {DType::kF8E4M3, kOne},
                              {DType::kF8E5M2, kPerRow},
                              {DType::kI8, kOne},
                              {DType::kI8, kPerRow}};
  for (int i = 0; i < kDTypes; ++i) {
    if (is_block(static_cast<DType>(i))) all.push_back({static_cast<DType>(i)});
  }
  return all;
}

std::string name_of(const Storage& storage) {
  const char* const scales[] = {"", "_one_scale", "_scale_per_row"};
  return std::string(dtype_name(storage.dtype)) + scales[static_cast<std::size_t>(storage.scales)];
}

bool is_chief(const Storage& storage) {
  const bool scaled = storage.scales == Operands::Scales::kPerRow;
  return storage.dtype == DType::kF32 || storage.dtype == DType::kBF16 || storage.dtype == DType::kQ4K ||
         (storage.dtype == DType::kI8 && scaled);
}

bool applies(const Storage& storage, const OpCase& c) {
  if (is_block(storage.dtype)) {
    return c.block_cols > 0 && c.block_cols % block_size(storage.dtype).elements == 0;
  }
  if (storage.scales != Operands::Scales::kNone) return c.name.starts_with("linear");
  return c.uses_weights || storage.dtype == DType::kF32;
}

std::string Trial::name() const {
  const std::string with = fmt::format("{} x {}", op->name, dtype_name(activation));
  return op->uses_weights ? fmt::format("{} w {}", with, name_of(storage)) : with;
}

std::vector<Trial> trials(const std::vector<OpCase>& cases, std::size_t other_storages) {
  std::vector<Trial> all;
  std::size_t number = 0;
  for (const OpCase& c : cases) {
    for (const Storage& storage : storages()) {
      for (const DType activation : {DType::kF32, DType::kBF16}) {
        if (!applies(storage, c)) continue;
        if (is_chief(storage) || number++ % other_storages == 0) all.push_back({&c, storage, activation});
      }
    }
  }
  return all;
}

TrialResult run_trial(const Trial& trial, Backend& backend, const Memory& memory, Rounding rounding) {
  Operands in(trial.activation, trial.storage.dtype, trial.storage.scales, rounding == Rounding::kToBF16,
              &backend);
  if (rounding == Rounding::kTo11Bits) in.round_to_11_bits();
  Arena arena(memory);
  const Tensor t = trial.op->run({backend, arena, trial.activation}, in);
  TrialResult result{t.shape, t.dtype, std::vector<float>(static_cast<std::size_t>(t.shape.numel()))};
  backend.download(t, result.values);
  return result;
}

Expected expected_of(const Trial& trial, Backend& reference, const Memory& memory, bool matrices) {
  Expected expected;
  for (const Rounding rounding : roundings(trial, matrices))
    expected.results.push_back(run_trial(trial, reference, memory, rounding));
  // Matrix units take attention's weights, which go to 1, with 11 bits.
  const bool rounded =
      matrices && trial.activation == DType::kBF16 && trial.op->name.starts_with("attention");
  expected.more = rounded ? 0x1p-12f : 0;
  return expected;
}

float tolerance(DType dtype, int64_t terms, float value) {
  const float sum = 4e-7f * (4 + std::sqrt(static_cast<float>(terms))) * (1 + std::fabs(value));
  return dtype == DType::kF32 ? sum : sum + std::fabs(value) / 128;
}

Deviation compare(const TrialResult& got, const Expected& expected, int64_t terms) {
  const TrialResult& exact = expected.results.front();
  if (got.shape != exact.shape || got.dtype != exact.dtype) {
    return {kNoNumber, fmt::format("the result is {} {}, expected {} {}", dtype_name(got.dtype), got.shape,
                                   dtype_name(exact.dtype), exact.shape)};
  }
  Deviation deviation;
  for (std::size_t i = 0; i < got.values.size(); ++i) {
    double nearest = kNoNumber;
    for (const TrialResult& wanted : expected.results)
      nearest = std::min(nearest, fraction_of(got.values[i], wanted, i, expected.more, terms));
    if (nearest <= deviation.worst) continue;
    deviation.worst = nearest;
    if (nearest > 1) {
      deviation.wrong = fmt::format("element {} is {}, expected {}", i, got.values[i], exact.values[i]);
    }
  }
  return deviation;
}

}  // namespace darkroom
