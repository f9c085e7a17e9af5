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

constexpr int64_t kRounds = 1'000'000;             // a few milliseconds
constexpr int64_t kReadBytes = int64_t{64} << 20;  // a thread; more than its share of any L3

}  // namespace

CpuCeilings measure_ceilings(const CeilingOptions& options) {
  const CpuIsa isa = cpu::resolve_isa(options.isa);
  const cpu::CeilingTable& table = cpu::ceiling_table(isa);
  ThreadPool pool(options.threads);
  const auto giga = [&](const std::function<double(int64_t)>& body) {
    return 1e-9 * best_rate(pool, options.seconds, body);
  };
  CpuCeilings ceilings;
  ceilings.f32_gflops = giga([&](int64_t) { return table.f32(kRounds); });
  if (isa == CpuIsa::kAvx512Bf16)
    ceilings.bf16_gflops = giga([](int64_t) { return cpu::avx512bf16_ceiling(kRounds); });
  if (table.int8) ceilings.int8_gops = giga([&](int64_t) { return table.int8(kRounds); });
  std::vector<Buffer> data;
  for (int i = 0; i < pool.size(); ++i) {
    data.emplace_back(static_cast<std::size_t>(kReadBytes));
    std::fill_n(data.back().data(), kReadBytes,
                std::byte{1});  // or every page would be the one page of zeros
  }
  ceilings.read_gbps = giga([&](int64_t thread) {
    const volatile double sum = table.read(data[static_cast<std::size_t>(thread)].data(), kReadBytes);
    static_cast<void>(sum);
    return static_cast<double>(kReadBytes);
  });
  return ceilings;
}

}  // namespace darkroom
