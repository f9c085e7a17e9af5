#include <algorithm>
#include <chrono>

#include "backends/cpu/engine.h"

namespace darkroom {
namespace {

// Best rate of body(thread), which returns the work it did, on all threads of the pool at once.
double best_rate(ThreadPool& pool, double seconds, const std::function<double(int64_t thread)>& body) {
  const auto now = [] {
    return std::chrono::duration<double>(std::chrono::steady_clock::now().time_since_epoch()).count();
  };
  std::vector<double> work(static_cast<std::size_t>(pool.size()));
  double best = 0;
  for (const double end = now() + seconds; now() < end;) {
    const double start = now();
    pool.parallel_for(pool.size(),
                      [&](int64_t task, int) { work[static_cast<std::size_t>(task)] = body(task); });
    double total = 0;
    for (const double w : work) total += w;
    best = std::max(best, total / (now() - start));
  }
  return best;
}

constexpr int64_t kRounds = 1'000'000;  // a few milliseconds; without a dot product a quarter of it
constexpr int64_t kReadBytes = int64_t{64} << 20;  // a thread; more than its share of any L3

}  // namespace

struct CeilingProbe::State {
  using Ceiling = double (*)(int64_t rounds);
  explicit State(const CpuOptions& options)
      : isa(cpu::resolve_isa(options.isa)),
        table(cpu::ceiling_table(isa)),
        int8(ceiling_of(kInt8Levels, options)),
        int7(ceiling_of(kInt7Levels, options)),
        pool(options.threads) {}

  Ceiling ceiling_of(int32_t levels, const CpuOptions& options) const {
    return cpu::int8_kernels_for(levels, isa, options.int8_dot, cpu::make_kernel_table(isa)).ceiling;
  }
  double giga(double seconds, const std::function<double(int64_t)>& body) {
    return 1e-9 * best_rate(pool, seconds, body);
  }

  CpuIsa isa;
  const cpu::CeilingTable& table;
  Ceiling int8, int7;
  ThreadPool pool;
  std::vector<Buffer> data;  // one a thread, made when first read
};

CeilingProbe::CeilingProbe(const CpuOptions& options) : state_(std::make_unique<State>(options)) {}

CeilingProbe::~CeilingProbe() = default;

double CeilingProbe::f32_gflops(double seconds) {
  return state_->giga(seconds, [this](int64_t) { return state_->table.f32(kRounds); });
}

std::optional<double> CeilingProbe::bf16_gflops(double seconds) {
  if (state_->isa != CpuIsa::kAvx512Bf16) return std::nullopt;
  return state_->giga(seconds, [](int64_t) { return cpu::avx512bf16_ceiling(kRounds); });
}

double CeilingProbe::int8_gops(double seconds) {
  return state_->giga(seconds, [this](int64_t) { return state_->int8(kRounds / 4); });
}

std::optional<double> CeilingProbe::int7_gops(double seconds) {
  if (state_->int7 == state_->int8) return std::nullopt;
  return state_->giga(seconds, [this](int64_t) { return state_->int7(kRounds / 4); });
}

double CeilingProbe::read_gbps(double seconds) {
  std::vector<Buffer>& data = state_->data;
  while (static_cast<int>(data.size()) < state_->pool.size()) {
    data.emplace_back(static_cast<std::size_t>(kReadBytes));
    // Or every page would be the one page of zeros.
    std::fill_n(data.back().data(), kReadBytes, std::byte{1});
  }
  return state_->giga(seconds, [&](int64_t thread) {
    const volatile double sum = state_->table.read(data[static_cast<std::size_t>(thread)].data(), kReadBytes);
    static_cast<void>(sum);
    return static_cast<double>(kReadBytes);
  });
}

CpuCeilings CeilingProbe::all(double seconds) {
  CpuCeilings ceilings;
  ceilings.f32_gflops = f32_gflops(seconds);
  ceilings.bf16_gflops = bf16_gflops(seconds);
  ceilings.int8_gops = int8_gops(seconds);
  ceilings.int7_gops = int7_gops(seconds);
  ceilings.read_gbps = read_gbps(seconds);
  return ceilings;
}

void CeilingProbe::release_memory() { state_->data.clear(); }

}  // namespace darkroom
