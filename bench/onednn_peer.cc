// Times oneDNN 2.x beside darkroom: matmul and convolution on the bench's shapes, in one run, turn by turn.
//
//   onednn_peer [--quick] [THREADS]
//
// Both get the same numbers and add a bias. Matmul weights are plain [out, in] for both; oneDNN's are f32 in
// f32 rows, where darkroom widens the bf16 that models are stored in. Convolution images are [H, W, C] for
// both; oneDNN's weights are put into the layout that it likes best before the clock runs, darkroom's stay
// [out, in, kh, kw]. bf16 rows only where oneDNN has native bf16 arithmetic. Fractions are of the ceiling as
// bench/bench.h says. Every pair of results is compared; exit code 1 if one differs by more than rounding.
#include <omp.h>

#include <algorithm>
#include <cmath>
#include <cstdio>
#include <dnnl.hpp>
#include <string>
#include <unordered_map>
#include <vector>

#include "bench/meter.h"
#include "bench/operands.h"
#include "ops/ops.h"

namespace darkroom::bench {
namespace {

using Dims = dnnl::memory::dims;
using Format = dnnl::memory::format_tag;
using Type = dnnl::memory::data_type;

Type type_of(DType dtype) { return dtype == DType::kBF16 ? Type::bf16 : Type::f32; }

bool onednn_has_bf16() {
  const int need = static_cast<int>(dnnl::cpu_isa::avx512_core_bf16);  // instruction sets are sets of bits
  return (static_cast<int>(dnnl::get_effective_cpu_isa()) & need) == need;
}

// The same numbers in another dtype.
Tensor converted(Operands& memory, const Tensor& x, DType dtype) {
  const Tensor out = memory.random(dtype, x.shape, 0);
  for (int64_t i = 0; i < x.shape.numel(); ++i) {
    const float value = x.dtype == DType::kBF16 ? to_float(x.row<BFloat16>(0)[i]) : x.row<float>(0)[i];
    if (dtype == DType::kBF16) {
      out.row<BFloat16>(0)[i] = to_bfloat16(value);
    } else {
      out.row<float>(0)[i] = value;
    }
  }
  return out;
}

// |a − b| over |a|, both as vectors.
double relative_difference(Operands& memory, const Tensor& a, const Tensor& b) {
  const Tensor x = converted(memory, a, DType::kF32), y = converted(memory, b, DType::kF32);
  double difference = 0, size = 0;
  for (int64_t i = 0; i < x.shape.numel(); ++i) {
    const double p = x.row<float>(0)[i], q = y.row<float>(0)[i];
    difference += (p - q) * (p - q);
    size += p * p;
  }
  return std::sqrt(difference / std::max(size, 1e-30));
}

// oneDNN's side of a row: a primitive and what it runs on.
struct Peer {
  dnnl::engine engine{dnnl::engine::kind::cpu, 0};
  dnnl::stream stream{engine};
  dnnl::primitive primitive;
  std::unordered_map<int, dnnl::memory> arguments;

  void run() {
    primitive.execute(stream, arguments);
    stream.wait();
  }
};

class Comparison {
 public:
  explicit Comparison(Meter& meter) : meter_(meter) {}

  void matmul(const MatmulShape& s, DType dtype);
  void conv(const ConvShape& s, DType dtype);
  bool all_agree() const { return all_agree_; }

 private:
  // Times both, turn by turn, and prints the row; ours and theirs are the results of the two.
  void compare(const Row& row, const std::function<void()>& darkroom, Peer& peer, const Tensor& ours,
               const Tensor& theirs);

  Meter& meter_;
  bool all_agree_ = true;
};

void Comparison::compare(const Row& row, const std::function<void()>& darkroom, Peer& peer,
                         const Tensor& ours, const Tensor& theirs) {
  Sampler sampler(meter_, row.work, row.activation);
  for (Patience patience(meter_.pace()); patience.more();) {
    const double ours_seconds = sampler.time(darkroom);
    patience.add(ours_seconds + sampler.time([&] { peer.run(); }));
  }
  const std::vector<Sample> samples = sampler.samples();  // darkroom, oneDNN, darkroom, ...
  Sample best[2] = {samples[0], samples[1]};
  for (std::size_t i = 2; i < samples.size(); ++i) {
    if (samples[i].seconds < best[i % 2].seconds) best[i % 2] = samples[i];
  }
  Operands scratch;
  const double difference = relative_difference(scratch, ours, theirs);
  const bool agree = difference < (row.activation == DType::kBF16 ? 1e-2 : 1e-5);
  all_agree_ = all_agree_ && agree;
  const auto rate = [&](const Sample& s) { return 1e-9 * row.work.flops() / s.seconds; };
  const auto percent = [](const Sample& s) { return 100 * s.ideal_seconds / s.seconds; };
  std::printf(
      "%-7s %-5s %-24s darkroom %7.1f GFLOP/s %3.0f %%   oneDNN %7.1f GFLOP/s %3.0f %%   ratio %.2f%s\n",
      row.name.c_str(), std::string(dtype_name(row.activation)).c_str(), row.shape.c_str(), rate(best[0]),
      percent(best[0]), rate(best[1]), percent(best[1]), best[1].seconds / best[0].seconds,
      agree ? "" : "   RESULTS DIFFER");
  std::fflush(stdout);
}

void Comparison::matmul(const MatmulShape& s, DType dtype) {
  Operands in;
  const Tensor x = in.random(dtype, {s.m, s.k}), out = in.random(dtype, {s.m, s.n}), theirs = in.copy(out);
  const float scale = 1.0f / std::sqrt(static_cast<float>(s.k));
  const Linear w{in.random(DType::kBF16, {s.n, s.k}, scale), in.random(DType::kBF16, {s.n})};
  const Tensor weight = converted(in, w.weight, dtype), bias = converted(in, w.bias, DType::kF32);

  Peer peer;
  const dnnl::memory::desc x_desc({s.m, s.k}, type_of(dtype), Format::ab);
  const dnnl::memory::desc w_desc({s.k, s.n}, type_of(dtype), Format::ba);
  const dnnl::memory::desc b_desc({1, s.n}, Type::f32, Format::ab);
  const dnnl::memory::desc o_desc({s.m, s.n}, type_of(dtype), Format::ab);
  peer.primitive = dnnl::matmul(
      dnnl::matmul::primitive_desc(dnnl::matmul::desc(x_desc, w_desc, b_desc, o_desc), peer.engine));
  peer.arguments = {{DNNL_ARG_SRC, dnnl::memory(x_desc, peer.engine, x.data)},
                    {DNNL_ARG_WEIGHTS, dnnl::memory(w_desc, peer.engine, weight.data)},
                    {DNNL_ARG_BIAS, dnnl::memory(b_desc, peer.engine, bias.data)},
                    {DNNL_ARG_DST, dnnl::memory(o_desc, peer.engine, theirs.data)}};
  Arena arena = Arena::counting();
  const Context ctx = meter_.context(dtype, arena);
  compare(
      {"matmul", dtype, fmt::format("{}x{}x{}", s.m, s.k, s.n), matmul_work(s)},
      [&] { ops::linear_into(ctx, x, w, Activation::kNone, out); }, peer, out, theirs);
}

void Comparison::conv(const ConvShape& s, DType dtype) {
  Operands in;
  const Tensor x = in.random(dtype, {s.size, s.size, s.in}), out = in.random(dtype, {s.size, s.size, s.out});
  const Tensor theirs = in.copy(out);
  const float scale = 1.0f / std::sqrt(static_cast<float>(s.in * s.kernel * s.kernel));
  const Conv2d w{in.random(DType::kBF16, {s.out, s.in, s.kernel, s.kernel}, scale),
                 in.random(DType::kBF16, {s.out})};
  const Tensor weight = converted(in, w.weight, dtype), bias = converted(in, w.bias, DType::kF32);

  Peer peer;
  const Dims pad = {(s.kernel - 1) / 2, (s.kernel - 1) / 2};
  const dnnl::memory::desc x_desc({1, s.in, s.size, s.size}, type_of(dtype), Format::nhwc);
  const dnnl::memory::desc any_desc({s.out, s.in, s.kernel, s.kernel}, type_of(dtype), Format::any);
  const dnnl::memory::desc w_desc({s.out, s.in, s.kernel, s.kernel}, type_of(dtype), Format::oihw);
  const dnnl::memory::desc b_desc({s.out}, Type::f32, Format::a);
  const dnnl::memory::desc o_desc({1, s.out, s.size, s.size}, type_of(dtype), Format::nhwc);
  const dnnl::convolution_forward::primitive_desc primitive(
      dnnl::convolution_forward::desc(dnnl::prop_kind::forward_inference, dnnl::algorithm::convolution_direct,
                                      x_desc, any_desc, b_desc, o_desc, {1, 1}, pad, pad),
      peer.engine);
  dnnl::memory plain(w_desc, peer.engine, weight.data), packed(primitive.weights_desc(), peer.engine);
  dnnl::reorder(plain, packed).execute(peer.stream, plain, packed);
  peer.stream.wait();
  peer.primitive = dnnl::convolution_forward(primitive);
  peer.arguments = {{DNNL_ARG_SRC, dnnl::memory(x_desc, peer.engine, x.data)},
                    {DNNL_ARG_WEIGHTS, packed},
                    {DNNL_ARG_BIAS, dnnl::memory(b_desc, peer.engine, bias.data)},
                    {DNNL_ARG_DST, dnnl::memory(o_desc, peer.engine, theirs.data)}};
  Arena arena = Arena::counting();
  const Context ctx = meter_.context(dtype, arena);
  compare(
      {"conv2d", dtype, fmt::format("{}->{} @{}x{}", s.in, s.out, s.size, s.size), conv_work(s)},
      [&] { ops::conv2d_into(ctx, x, w, {}, out); }, peer, out, theirs);
}

int run(int argc, char** argv) {
  BenchOptions options;
  for (int i = 1; i < argc; ++i) {
    const std::string argument = argv[i];
    const bool number = argument.find_first_not_of("0123456789") == std::string::npos;
    require(argument == "--quick" || (number && !argument.empty() && argument.size() < 6), ErrorCode::kUsage,
            "unknown argument '{}'; usage: onednn_peer [--quick] [THREADS]", argument);
    if (number) {
      options.threads = std::stoi(argument);
    } else {
      options.quick = true;
    }
  }
  const Plan plan = options.quick ? quick_plan() : full_plan();
  Meter meter(options, plan.pace);
  omp_set_num_threads(meter.threads());
  const dnnl_version_t* version = dnnl_version();
  std::printf(
      "%s, %s, %d threads, oneDNN %d.%d.%d, f32 %.1f GFLOP/s, reading %.1f GB/s; ratio > 1: darkroom is "
      "faster\n",
      cpu_model_name().c_str(), meter.backend().name().c_str(), meter.threads(), version->major,
      version->minor, version->patch, meter.ceilings().f32_gflops, meter.ceilings().read_gbps);
  Comparison comparison(meter);
  for (const DType dtype : {DType::kF32, DType::kBF16}) {
    if (dtype == DType::kBF16 && !onednn_has_bf16()) {
      std::printf("bf16: no native arithmetic for oneDNN on this processor\n");
      continue;
    }
    for (const MatmulShape& s : plan.matmuls) comparison.matmul(s, dtype);
    for (const ConvShape& s : plan.convs) {
      if (s.upsample == 1) comparison.conv(s, dtype);
    }
  }
  return comparison.all_agree() ? 0 : 1;
}

}  // namespace
}  // namespace darkroom::bench

int main(int argc, char** argv) {
  try {
    return darkroom::bench::run(argc, argv);
  } catch (const std::exception& e) {
    std::fprintf(stderr, "onednn_peer: %s\n", e.what());
    return 2;
  }
}
