#include "bench/meter.h"

#include <algorithm>
#include <chrono>
#include <cmath>
#include <limits>
#include <nlohmann/json.hpp>

namespace darkroom::bench {
namespace {

// Time expected for a run over its ideal time, when deciding whether it still fits: rows reach
// some 70 % of the ceilings.
constexpr double kExpectedSlowdown = 1.4;

constexpr int kMostRepeats = 1000;

// Of a ceiling that is not known, so that it bounds nothing.
constexpr double kUnbounded = std::numeric_limits<double>::infinity();

}  // namespace

double now() {
  return std::chrono::duration<double>(std::chrono::steady_clock::now().time_since_epoch()).count();
}

Meter::Meter(std::unique_ptr<Machine> machine, const Pace& pace, const std::atomic<bool>* cancel)
    : machine_(std::move(machine)), pace_(pace), cancel_(cancel), start_(now()) {
  for (const Ceiling ceiling :
       {Ceiling::kF32, Ceiling::kBF16, Ceiling::kInt8, Ceiling::kInt7, Ceiling::kMemory})
    first_[static_cast<std::size_t>(ceiling)] = machine_->measure(ceiling, pace.first_probe_seconds);
}

double Meter::rate_now(std::optional<Ceiling> ceiling) {
  return ceiling ? 1e9 * machine_->measure(*ceiling, pace_.probe_seconds).value() : kUnbounded;
}

Rates Meter::probe(const Work& work, const Arithmetic& arithmetic) {
  Arena none = Arena::counting();
  context(arithmetic.activation, none).throw_if_cancelled();
  const std::optional<Ceiling> matmul = machine_->matmul_ceiling(arithmetic),
                               attention = machine_->attention_ceiling(arithmetic);
  Rates rates;
  if (work.attention_flops > 0) rates.attention = rate_now(attention);
  if (work.matmul_flops > 0) {
    rates.matmul = work.attention_flops > 0 && matmul == attention ? rates.attention : rate_now(matmul);
  }
  if (work.bytes > 0) rates.read = rate_now(Ceiling::kMemory);
  return rates;
}

// What is not known is taken for f32's.
Rates Meter::first_rates(const Arithmetic& arithmetic) const {
  const auto rate = [&](std::optional<Ceiling> ceiling) {
    return 1e9 * first(ceiling.value_or(Ceiling::kF32)).value();
  };
  return {.matmul = rate(machine_->matmul_ceiling(arithmetic)),
          .attention = rate(machine_->attention_ceiling(arithmetic)),
          .read = rate(Ceiling::kMemory)};
}

bool Meter::fits(const Work& work, const Arithmetic& arithmetic) const {
  return now() - start_ + kExpectedSlowdown * ideal_seconds(work, first_rates(arithmetic)) <=
         pace_.total_seconds;
}

int Meter::repeats(const Work& work, const Arithmetic& arithmetic) const {
  const double once = ideal_seconds(work, first_rates(arithmetic));
  if (once * kMostRepeats <= pace_.min_run_seconds) return pace_.min_run_seconds > 0 ? kMostRepeats : 1;
  return std::max(1, static_cast<int>(std::ceil(pace_.min_run_seconds / once)));
}

Sampler::Sampler(Meter& meter, const Work& work, const Arithmetic& arithmetic)
    : meter_(meter), work_(work), arithmetic_(arithmetic), probes_{meter.probe(work, arithmetic)} {}

double Sampler::time(const std::function<void()>& run) {
  const std::optional<Counts> before = meter_.machine().counts();
  const double start = now();
  run();
  meter_.finish();
  seconds_.push_back(std::max(now() - start, 1e-9));  // the clock's resolution
  counts_.push_back(before ? *meter_.machine().counts() - *before : Counts());
  probes_.push_back(meter_.probe(work_, arithmetic_));
  return seconds_.back();
}

std::vector<Sample> Sampler::samples() const {
  std::vector<Sample> all;
  for (std::size_t run = 0; run < seconds_.size(); ++run) {
    Rates rates = higher(probes_[run], probes_[run + 1]);
    if (run > 0) rates = higher(rates, probes_[run - 1]);
    if (run + 2 < probes_.size()) rates = higher(rates, probes_[run + 2]);
    all.push_back({seconds_[run], ideal_seconds(work_, rates), counts_[run]});
  }
  return all;
}

void Patience::add(double seconds) {
  fastest_ = runs_ == 0 ? seconds : std::min(fastest_, seconds);
  total_ += seconds;
  ++runs_;
}

bool Patience::more() const {
  if (runs_ == 0) return true;
  if (runs_ >= kMaxRuns || total_ + fastest_ > pace_.max_row_seconds) return false;
  return runs_ < pace_.min_runs || total_ < pace_.min_row_seconds;
}

void Rows::add(const Row& row, const std::vector<Sample>& samples) {
  const Sample best = *std::min_element(
      samples.begin(), samples.end(), [](const Sample& a, const Sample& b) { return a.seconds < b.seconds; });
  nlohmann::json json = {{"name", row.name},
                         {"dtype", arithmetic_name(row.arithmetic())},
                         {"weights", dtype_name(row.weights)},
                         {"shape", row.shape},
                         {"seconds", best.seconds / row.calls},
                         {"gflops", nullptr},
                         {"gbps", nullptr},
                         {"fraction", nullptr},
                         {"runs", samples.size()}};
  if (row.counted && best.counts.dispatches > 0) {
    json["dispatches"] = best.counts.dispatches;
    json["barriers"] = best.counts.barriers;
    json["submits"] = best.counts.submits;
  }
  std::string rate;
  if (row.work.flops() > 0) {
    json["gflops"] = 1e-9 * row.work.flops() / best.seconds;
    rate += fmt::format(", {:.1f} GFLOP/s", json["gflops"].get<double>());
  }
  if (row.work.bytes > 0) {
    json["gbps"] = 1e-9 * row.work.bytes / best.seconds;
    rate += fmt::format(", {:.1f} GB/s", json["gbps"].get<double>());
  }
  if (best.ideal_seconds > 0) {
    json["fraction"] = best.ideal_seconds / best.seconds;
    rate += fmt::format(", {:.0f} % of the ceiling", 100 * best.ideal_seconds / best.seconds);
  }
  if (note_) {
    const std::string weights = row.weights == DType::kBF16 || row.activation == DType::kI8
                                    ? ""
                                    : fmt::format(" x {}", dtype_name(row.weights));
    note_(fmt::format("{} {}{} {}: {:.4g} s{}", row.name, arithmetic_name(row.arithmetic()), weights,
                      row.shape, best.seconds / row.calls, rate));
  }
  rows_.push_back(std::move(json));
}

bool Rows::may_run(const Meter& meter, const Row& row, double times) {
  if (meter.fits(bench::times(row.work, times), row.arithmetic())) return true;
  if (note_) {
    note_(fmt::format("{} {} {}: left out, the bench's {:.0f} s are nearly over", row.name,
                      arithmetic_name(row.arithmetic()), row.shape, meter.pace().total_seconds));
  }
  return false;
}

void Rows::measure(Meter& meter, Row row, const std::function<void()>& run) {
  const int repeats = meter.repeats(row.work, row.arithmetic());
  row.calls *= repeats;
  row.work = times(row.work, repeats);
  if (meter.machine().counts()) {  // a device's first run compiles
    run();
    meter.finish();
  }
  Sampler sampler(meter, row.work, row.arithmetic());
  const auto all = [&] {
    for (int i = 0; i < repeats; ++i) run();
  };
  for (Patience patience(meter.pace()); patience.more();) patience.add(sampler.time(all));
  add(row, sampler.samples());
}

}  // namespace darkroom::bench
