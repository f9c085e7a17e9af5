#include "bench/meter.h"

#include <algorithm>
#include <chrono>
#include <nlohmann/json.hpp>

#include "base/threads.h"

namespace darkroom::bench {
namespace {

// Time expected for a run over its ideal time, when deciding whether it still fits: rows reach
// some 70 % of the ceilings.
constexpr double kExpectedSlowdown = 1.4;

CpuOptions cpu_options(const BenchOptions& options) {
  require(options.threads >= 0, ErrorCode::kUsage, "bench: {} threads; give 0 for one per processor, or more",
          options.threads);
  return {.threads = options.threads, .isa = parse_isa(options.isa.empty() ? "auto" : options.isa)};
}

}  // namespace

double now() {
  return std::chrono::duration<double>(std::chrono::steady_clock::now().time_since_epoch()).count();
}

Meter::Meter(const BenchOptions& options, const Pace& pace)
    : options_(options),
      pace_(pace),
      threads_(options.threads > 0 ? options.threads : available_processors()),
      start_(now()),
      backend_(make_cpu_backend(cpu_options(options))),
      probe_({.threads = options.threads, .isa = backend_->isa()}),
      ceilings_(probe_.all(pace.first_probe_seconds)) {}

std::string_view arithmetic_name(const Arithmetic& arithmetic) {
  const bool of_7_bits = arithmetic.activation == DType::kI8 && arithmetic.levels == kInt7Levels;
  return of_7_bits ? "i7" : dtype_name(arithmetic.activation);
}

double Meter::matmul_giga(const Arithmetic& arithmetic, const CpuCeilings& ceilings) const {
  const DType activation = arithmetic.activation;
  if (activation == DType::kI8) {
    return arithmetic.levels == kInt7Levels ? ceilings.int7_gops.value_or(ceilings.int8_gops)
                                            : ceilings.int8_gops;
  }
  return activation == DType::kBF16 ? ceilings.bf16_gflops.value_or(ceilings.f32_gflops)
                                    : ceilings.f32_gflops;
}

// Attention of the cpu backend is f32 arithmetic on every instruction set.
Rates Meter::probe(const Work& work, const Arithmetic& arithmetic) {
  const DType activation = arithmetic.activation;
  Arena none = Arena::counting();
  context(activation, none).throw_if_cancelled();
  const double seconds = pace_.probe_seconds;
  const bool int8 = activation == DType::kI8;
  const bool bf16 = activation == DType::kBF16 && ceilings_.bf16_gflops.has_value();
  CpuCeilings now_reached;
  if (work.attention_flops > 0 || (work.matmul_flops > 0 && !bf16 && !int8)) {
    now_reached.f32_gflops = probe_.f32_gflops(seconds);
  }
  if (work.matmul_flops > 0 && bf16) now_reached.bf16_gflops = probe_.bf16_gflops(seconds);
  if (work.matmul_flops > 0 && int8) {
    const bool of_7_bits = arithmetic.levels == kInt7Levels && ceilings_.int7_gops.has_value();
    if (of_7_bits) now_reached.int7_gops = probe_.int7_gops(seconds);
    if (!of_7_bits) now_reached.int8_gops = probe_.int8_gops(seconds);
  }
  Rates rates;
  if (work.attention_flops > 0) rates.attention = 1e9 * now_reached.f32_gflops;
  if (work.matmul_flops > 0) rates.matmul = 1e9 * matmul_giga(arithmetic, now_reached);
  if (work.bytes > 0) rates.read = 1e9 * probe_.read_gbps(seconds);
  return rates;
}

bool Meter::fits(const Work& work, const Arithmetic& arithmetic) const {
  const Rates first{.matmul = 1e9 * matmul_giga(arithmetic, ceilings_),
                    .attention = 1e9 * ceilings_.f32_gflops,
                    .read = 1e9 * ceilings_.read_gbps};
  return now() - start_ + kExpectedSlowdown * ideal_seconds(work, first) <= pace_.total_seconds;
}

Sampler::Sampler(Meter& meter, const Work& work, const Arithmetic& arithmetic)
    : meter_(meter), work_(work), arithmetic_(arithmetic), probes_{meter.probe(work, arithmetic)} {}

double Sampler::time(const std::function<void()>& run) {
  const double start = now();
  run();
  seconds_.push_back(std::max(now() - start, 1e-9));  // the clock's resolution
  probes_.push_back(meter_.probe(work_, arithmetic_));
  return seconds_.back();
}

std::vector<Sample> Sampler::samples() const {
  std::vector<Sample> all;
  for (std::size_t run = 0; run < seconds_.size(); ++run) {
    Rates rates = higher(probes_[run], probes_[run + 1]);
    if (run > 0) rates = higher(rates, probes_[run - 1]);
    if (run + 2 < probes_.size()) rates = higher(rates, probes_[run + 2]);
    all.push_back({seconds_[run], ideal_seconds(work_, rates)});
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
                         {"fraction", best.ideal_seconds / best.seconds},
                         {"runs", samples.size()}};
  std::string rate;
  if (row.work.flops() > 0) {
    json["gflops"] = 1e-9 * row.work.flops() / best.seconds;
    rate += fmt::format(", {:.1f} GFLOP/s", json["gflops"].get<double>());
  }
  if (row.work.bytes > 0) {
    json["gbps"] = 1e-9 * row.work.bytes / best.seconds;
    rate += fmt::format(", {:.1f} GB/s", json["gbps"].get<double>());
  }
  if (note_) {
    const std::string weights = row.weights == DType::kBF16 || row.activation == DType::kI8
                                    ? ""
                                    : fmt::format(" x {}", dtype_name(row.weights));
    note_(fmt::format("{} {}{} {}: {:.4g} s{}, {:.0f} % of the ceiling", row.name,
                      arithmetic_name(row.arithmetic()), weights, row.shape, best.seconds / row.calls, rate,
                      100 * best.ideal_seconds / best.seconds));
  }
  rows_.push_back(std::move(json));
}

bool Rows::may_run(const Meter& meter, const Row& row, double times) {
  Work all = row.work;
  all = {all.matmul_flops * times, all.attention_flops * times, all.bytes * times};
  if (meter.fits(all, row.arithmetic())) return true;
  if (note_) {
    note_(fmt::format("{} {} {}: left out, the bench's {:.0f} s are nearly over", row.name,
                      arithmetic_name(row.arithmetic()), row.shape, meter.pace().total_seconds));
  }
  return false;
}

void Rows::measure(Meter& meter, const Row& row, const std::function<void()>& run) {
  Sampler sampler(meter, row.work, row.arithmetic());
  for (Patience patience(meter.pace()); patience.more();) patience.add(sampler.time(run));
  add(row, sampler.samples());
}

}  // namespace darkroom::bench
