// The bench on miniature shapes: what it reports and how it counts. Nothing here depends on how
// fast a machine is.
#include "bench/bench.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cstdlib>
#include <map>
#include <set>
#include <vector>

#include "backends/dry_run/dry_run.h"
#include "backends/registry.h"
#include "backends/vulkan/vulkan.h"
#include "base/threads.h"
#include "bench/meter.h"
#include "bench/plan.h"
#include "bench/work.h"
#include "checkpoint/checkpoint.h"
#include "weights/source.h"

namespace darkroom::bench {
namespace {

Plan miniature() {
  Plan plan;
  plan.pace = {.first_probe_seconds = 0.01,
               .probe_seconds = 0.004,
               .min_row_seconds = 0,
               .max_row_seconds = 0.1,
               .total_seconds = 60,
               .stream_bytes = 1 << 20};
  plan.matmuls = {{20, 24, 16}};
  plan.modulations = {{1, 96, 256}, {28, 96, 256}};
  plan.attentions = {{40, 2, 16}};
  plan.convs = {{8, 16, 12}, {8, 8, 6, 3, 2}};
  plan.group_norms = {{12, 16, 4}};
  plan.norm_tokens = {24};
  plan.transformer.num_layers = 1;
  plan.transformer.num_single_layers = 2;
  plan.transformer.num_heads = 2;
  plan.transformer.head_dim = 16;
  plan.transformer.axes_dims_rope = {4, 6, 6};
  plan.steps = {{8, 2, 3}};
  plan.vae.block_out_channels = {8, 16};
  plan.vae.norm_num_groups = 4;
  plan.vae_pixels = {16};
  return plan;
}

TEST(Bench, ReportsEveryRowOfThePlan) {
  std::vector<std::string> notes;
  const BenchOptions options{.threads = 2,
                             .note = [&](std::string line) { notes.push_back(std::move(line)); }};
  const nlohmann::json result = run_plan(options, miniature());

  EXPECT_EQ(result["cpu"]["name"], processor_name());
  EXPECT_EQ(result["cpu"]["isa"], supported_isa_names().back());
  EXPECT_EQ(result["cpu"]["threads"], 2);
  const nlohmann::json& ceiling = result["ceiling"];
  EXPECT_GT(ceiling["f32_gflops"].get<double>(), 0);
  EXPECT_GT(ceiling["read_gbps"].get<double>(), 0);
  EXPECT_GT(ceiling["int8_gops"].get<double>(), 0);
  EXPECT_TRUE(ceiling["bf16_gflops"].is_null() || ceiling["bf16_gflops"].get<double>() > 0);
  EXPECT_EQ(ceiling["bf16_gflops"].is_null(), result["cpu"]["isa"] != "avx512bf16");

  std::map<std::string, std::set<std::string>> seen;  // name -> dtype and shape
  for (const nlohmann::json& row : result["rows"]) {
    SCOPED_TRACE(row.dump());
    seen[row["name"]].insert(row["dtype"].get<std::string>() + " " + row["shape"].get<std::string>());
    EXPECT_GT(row["seconds"].get<double>(), 0);
    EXPECT_GE(row["runs"].get<int>(), 1);
    EXPECT_GT(row["fraction"].get<double>(), 0);
    EXPECT_FALSE(row["gflops"].is_null() && row["gbps"].is_null());
  }
  const std::map<std::string, std::set<std::string>> expected = {
      {"matmul", {"bf16 20x24x16", "f32 20x24x16", "i8 20x24x16"}},
      {"modulation", {"bf16 1x96x256", "f32 1x96x256", "bf16 28x96x256", "f32 28x96x256"}},
      {"attention", {"bf16 40x2x16", "f32 40x2x16", "i8 40x2x16"}},
      {"conv2d",
       {"bf16 8->16 3x3 @12x12", "f32 8->16 3x3 @12x12", "bf16 8->8 3x3 up2 @6x6", "f32 8->8 3x3 up2 @6x6"}},
      {"norm_modulate", {"bf16 24x32", "f32 24x32"}},
      {"qk_norm_rope", {"bf16 24x32", "f32 24x32"}},
      {"group_norm", {"bf16 12x12x16", "f32 12x12x16"}},
      {"double_block", {"bf16 14 tokens", "f32 14 tokens", "i8 14 tokens"}},
      {"single_block", {"bf16 14 tokens", "f32 14 tokens", "i8 14 tokens"}},
      {"step", {"bf16 1+2 blocks, 14 tokens", "f32 1+2 blocks, 14 tokens", "i8 1+2 blocks, 14 tokens"}},
      {"vae_decode", {"bf16 16x16", "f32 16x16"}}};
  EXPECT_EQ(seen, expected);
  EXPECT_EQ(notes.size(), result["rows"].size());
}

TEST(Bench, RatesFollowFromSecondsAndWork) {
  Plan plan = miniature();
  plan.steps.clear();
  plan.vae_pixels.clear();
  const nlohmann::json result = run_plan({.threads = 1}, plan);
  int checked = 0;
  for (const nlohmann::json& row : result["rows"]) {
    const double seconds = row["seconds"];
    if (row["name"] == "matmul") {
      EXPECT_NEAR(row["gflops"].get<double>() * seconds * 1e9, 2 * 20 * 24 * 16, 1);
    } else if (row["name"] == "modulation" && row["shape"] == "1x96x256" && row["dtype"] == "f32") {
      const double bytes = 2 * (96 * 256 + 256) + 4 * (96 + 256);
      EXPECT_NEAR(row["gbps"].get<double>() * seconds * 1e9, bytes, 1);
      EXPECT_NEAR(row["gflops"].get<double>() * seconds * 1e9, 2 * 96 * 256, 1);
    } else if (row["name"] == "group_norm" && row["dtype"] == "bf16") {
      EXPECT_TRUE(row["gflops"].is_null());
      EXPECT_NEAR(row["gbps"].get<double>() * seconds * 1e9, 3 * 2 * 12 * 12 * 16, 1);
    } else {
      continue;
    }
    ++checked;
  }
  EXPECT_EQ(checked, 5);  // three matmuls, one of each of the others
}

TEST(Bench, EveryInstructionSetCanBeForced) {
  Plan plan;
  plan.pace = miniature().pace;
  plan.matmuls = {{16, 32, 16}};
  for (const std::string& isa : supported_isa_names()) {
    const nlohmann::json result = run_plan({.threads = 1, .isa = isa}, plan);
    EXPECT_EQ(result["cpu"]["isa"], isa);
    // Where 7 bits are multiplied by other instructions than 8, they have a row.
    const bool faster_in_7_bits = !result["ceiling"]["int7_gops"].is_null();
    EXPECT_EQ(result["rows"].size(), faster_in_7_bits ? 4u : 3u);
  }
}

// On Mesa's CPU driver, where there is one: what it reports and counts.
TEST(Bench, MeasuresAGraphicsCard) {
  ::setenv("MESA_SHADER_CACHE_DIR", DARKROOM_SHADER_CACHE, 0);
  const std::vector<VulkanDevice> devices = vulkan_devices().devices;
  if (!std::ranges::any_of(devices, [](const VulkanDevice& d) { return d.name.starts_with("llvmpipe"); }))
    GTEST_SKIP() << "no Vulkan driver that computes on the processor";
  Plan plan = miniature();
  plan.pace.min_run_seconds = 1e-3;
  plan.modulations = {};
  plan.norm_tokens = {};
  plan.attentions = {};
  plan.convs = {};
  plan.group_norms = {};
  plan.vae_pixels = {};
  const nlohmann::json result = run_plan({.device = "llvmpipe"}, plan);
  EXPECT_FALSE(result.contains("cpu"));
  EXPECT_EQ(result["device"]["kind"], "cpu");
  EXPECT_NE(result["device"]["driver"], "");
  EXPECT_GT(result["device"]["memory_bytes"].get<uint64_t>(), 0u);
  for (const char* measured : {"f32_gflops", "read_gbps", "upload_gbps", "download_gbps"})
    EXPECT_GT(result["ceiling"][measured].get<double>(), 0) << measured;
  EXPECT_TRUE(result["ceiling"]["bf16_gflops"].is_null());

  std::map<std::string, std::set<std::string>> seen;  // name -> dtypes
  std::map<std::string, uint64_t> dispatches;         // of the rows in bf16
  for (const nlohmann::json& row : result["rows"]) {
    SCOPED_TRACE(row.dump());
    seen[row["name"]].insert(row["dtype"].get<std::string>());
    EXPECT_GT(row["seconds"].get<double>(), 0);
    EXPECT_EQ(row.contains("barriers"), row["shape"].get<std::string>().ends_with("tokens"));
    if (!row.contains("dispatches") || row["dtype"] != "bf16") continue;
    dispatches[row["name"]] = row["dispatches"];
    EXPECT_LT(row["barriers"], row["dispatches"]);  // each block begins with a submit of its own
    EXPECT_GE(row["submits"], row["name"] == "step" ? 3 : 1);
  }
  const std::set<std::string> all = {"bf16", "f32", "i8"};
  const std::map<std::string, std::set<std::string>> expected = {
      {"matmul", all}, {"double_block", all}, {"single_block", all}, {"step", all}};
  EXPECT_EQ(seen, expected);
  EXPECT_EQ(dispatches["step"], dispatches["double_block"] + 2 * dispatches["single_block"]);
}

ErrorCode code_of(const BenchOptions& options) {
  try {
    run_plan(options, miniature());
  } catch (const Error& e) {
    return e.code();
  }
  ADD_FAILURE() << "no error";
  return ErrorCode::kFailure;
}

TEST(Bench, WeightsOfATypeStandBesideBfloat16) {
  Plan plan;
  plan.pace = miniature().pace;
  plan.matmuls = {{12, 256, 16}};
  plan.modulations = {{1, 256, 40}};
  plan.vae_pixels = {16};  // left out: only linear layers are asked for
  // One of each kind: the ceilings beside every run take their time.
  for (const DType dtype : {DType::kF32, DType::kI8, DType::kQ4K, DType::kNF4}) {
    const std::string name(dtype_name(dtype));
    SCOPED_TRACE(name);
    const nlohmann::json rows = run_plan({.threads = 1, .weights = name}, plan).at("rows");
    ASSERT_EQ(rows.size(), 8u);
    for (std::size_t row = 0; row < rows.size(); ++row) {
      EXPECT_EQ(rows[row].at("weights"), row % 2 == 0 ? "bf16" : name);
      EXPECT_EQ(rows[row].at("name"), row % 4 < 2 ? "matmul" : "modulation");
    }
    const double bytes = rows[3].at("gbps").get<double>() * rows[3].at("seconds").get<double>() * 1e9;
    EXPECT_NEAR(bytes, static_cast<double>(row_bytes(dtype, 256 * 40)) + 2 * (40 + 256 + 40), 1);
  }
  EXPECT_EQ(code_of({.threads = 1, .weights = "q9_9"}), ErrorCode::kUsage);
  EXPECT_EQ(code_of({.threads = 1, .weights = "i32"}), ErrorCode::kUsage);
}

// Where a set multiplies numbers of 7 bits with instructions of their own there are rows and a ceiling for them.
TEST(Bench, SevenBitsHaveRowsWhereTheyAreFaster) {
  Plan plan;
  plan.pace = miniature().pace;
  plan.matmuls = {{12, 256, 16}};
  for (const std::string isa : {"scalar", "sse4"}) {
    if (std::ranges::count(supported_isa_names(), isa) == 0) continue;
    const nlohmann::json result = run_plan({.threads = 1, .isa = isa}, plan);
    const bool faster = isa == "sse4";
    EXPECT_EQ(result["ceiling"]["int7_gops"].is_null(), !faster);
    const nlohmann::json last = result["rows"].back();
    EXPECT_EQ(last["dtype"], faster ? "i7" : "i8");
    EXPECT_EQ(last["shape"], "12x256x16");
    EXPECT_EQ(last["weights"], "i8");
  }
}

TEST(Bench, ABudgetRunsStepsThatStream) {
  Plan plan;
  plan.pace = miniature().pace;
  plan.transformer = miniature().transformer;
  plan.transformer.num_layers = 2;
  plan.transformer.num_single_layers = 4;
  plan.steps = miniature().steps;
  BenchOptions options{.threads = 1};
  EXPECT_FALSE(run_plan(options, plan).contains("budget"));
  options.budget = "1TiB";
  const nlohmann::json all = run_plan(options, plan).at("budget").at("rows").at(0);
  EXPECT_EQ(all.at("kept_blocks"), 6);
  EXPECT_EQ(all.at("bytes_read"), 0);
  // One byte less than everything needs.
  options.budget = std::to_string(all.at("planned_bytes").get<std::size_t>() - 1);
  const nlohmann::json budget = run_plan(options, plan).at("budget");
  EXPECT_EQ(budget.at("bytes"), std::stoull(*options.budget));
  EXPECT_TRUE(budget.at("model").is_null());
  ASSERT_EQ(budget.at("rows").size(), 1u);
  const nlohmann::json& row = budget.at("rows").at(0);
  EXPECT_EQ(row.at("shape"), "2+4 blocks, 14 tokens");
  EXPECT_GT(row.at("streamed_blocks"), 0);
  EXPECT_LE(row.at("planned_bytes"), budget.at("bytes"));
  EXPECT_GT(row.at("bytes_read"), 0);
  EXPECT_GT(row.at("read_seconds"), 0);
  const double seconds = row.at("seconds"), compute = row.at("compute_seconds"),
               wait = row.at("wait_seconds");
  EXPECT_GT(seconds, 0);
  EXPECT_NEAR(compute + wait, seconds, 1e-9);
  EXPECT_NEAR(row.at("ratio").get<double>() * std::max(compute, row.at("read_seconds").get<double>()),
              seconds, 1e-9);

  // A model of one's own: its transformer, whole.
  const Checkpoint tiny = Checkpoint::dummy("tiny");
  options.model = &tiny;
  options.budget = "1GiB";
  const nlohmann::json of_model = run_plan(options, plan).at("budget");
  EXPECT_EQ(of_model.at("model"), "dummy-tiny");
  EXPECT_EQ(of_model.at("rows").at(0).at("shape"), "2+3 blocks, 14 tokens");
}

TEST(Bench, WrongOptionsAreRefused) {
  EXPECT_EQ(code_of({.isa = "mmx"}), ErrorCode::kUsage);
  EXPECT_EQ(code_of({.threads = -1}), ErrorCode::kUsage);
  EXPECT_EQ(code_of({.device = "gpu", .budget = "1GiB"}), ErrorCode::kUsage);
  EXPECT_EQ(code_of({.threads = 1, .budget = "much"}), ErrorCode::kUsage);
  EXPECT_EQ(code_of({.threads = 1, .budget = "1MiB"}), ErrorCode::kOutOfMemory);
  EXPECT_EQ(code_of({.threads = ThreadPool::kMaxThreads + 1}), ErrorCode::kUsage);
}

TEST(Bench, StopsOnRequest) {
  std::atomic<bool> cancel = true;
  EXPECT_EQ(code_of({.threads = 1, .cancel = &cancel}), ErrorCode::kCancelled);
  cancel = false;
  int rows = 0;
  const auto stop_after_three = [&](const std::string&) { cancel = ++rows == 3; };
  EXPECT_EQ(code_of({.threads = 1, .cancel = &cancel, .note = stop_after_three}), ErrorCode::kCancelled);
  EXPECT_EQ(rows, 3);
}

TEST(Bench, WhatDoesNotFitTheTimeIsLeftOut) {
  Plan plan;
  plan.pace = miniature().pace;
  plan.pace.total_seconds = 0;
  plan.matmuls = {{16, 32, 16}};
  plan.steps = {};
  std::vector<std::string> notes;
  const BenchOptions options{.threads = 1,
                             .note = [&](std::string line) { notes.push_back(std::move(line)); }};
  EXPECT_TRUE(run_plan(options, plan)["rows"].empty());
  ASSERT_EQ(notes.size(), 3u);
  EXPECT_NE(notes[0].find("left out"), std::string::npos) << notes[0];
}

// Rows that last microseconds are done many times in a run, and count once.
TEST(Bench, ShortOpsAreRepeatedWithinARun) {
  Plan plan;
  plan.pace = miniature().pace;
  plan.pace.min_run_seconds = 0.002;
  plan.matmuls = {{16, 32, 16}};
  for (const nlohmann::json& row : run_plan({.threads = 1}, plan).at("rows")) {
    EXPECT_LT(row.at("seconds").get<double>(), 0.001);
    EXPECT_NEAR(row.at("gflops").get<double>() * row.at("seconds").get<double>() * 1e9, 2 * 16 * 32 * 16, 1);
  }
}

TEST(Patience, AtLeastThreeRunsUnlessTheyAreLong) {
  const Pace pace{.min_runs = 3, .min_row_seconds = 1, .max_row_seconds = 10};
  const auto runs_of = [&](double seconds) {
    int runs = 0;
    for (Patience patience(pace); patience.more(); ++runs) patience.add(seconds);
    return runs;
  };
  EXPECT_EQ(runs_of(0.001), kMaxRuns);
  EXPECT_EQ(runs_of(0.25), 4);
  EXPECT_EQ(runs_of(2), 3);
  EXPECT_EQ(runs_of(4.5), 2);
  EXPECT_EQ(runs_of(30), 1);
}

TEST(Work, TheLongerOfArithmeticAndReadingBounds) {
  const Rates rates{.matmul = 200, .attention = 100, .read = 10};
  EXPECT_DOUBLE_EQ(ideal_seconds({.matmul_flops = 400}, rates), 2);
  EXPECT_DOUBLE_EQ(ideal_seconds({.matmul_flops = 400, .attention_flops = 300}, rates), 5);
  EXPECT_DOUBLE_EQ(ideal_seconds({.matmul_flops = 400, .bytes = 30}, rates), 3);
  EXPECT_DOUBLE_EQ(ideal_seconds({.matmul_flops = 800, .bytes = 30}, rates), 4);
  EXPECT_DOUBLE_EQ(ideal_seconds({.bytes = 30}, {.read = 10}), 3);
}

// FLUX.1's totals in TFLOP, 19 double and 38 single blocks: 2·L·12·3072² + 4·L²·3072 each.
TEST(Work, BlocksOfFlux) {
  const flux::Config config;
  const struct {
    int64_t tokens;
    double all, attention;
  } known[] = {
      {4608, 74.4, 14.9}, {4352, 69.5, 13.3}, {2816, 41.9, 5.6}, {1536, 21.5, 1.65}, {1280, 17.7, 1.15}};
  for (const auto& k : known) {
    const Work block = block_work(config, k.tokens);
    EXPECT_NEAR(57e-12 * block.flops(), k.all, 0.051) << k.tokens;
    EXPECT_NEAR(57e-12 * block.attention_flops, k.attention, 0.051) << k.tokens;
  }
}

// The same model code on the dry run counts the same FLOPs.
TEST(Work, BlocksAgreeWithTheDryRun) {
  const flux::Config config;
  DryRunBackend dry;
  Arena arena = Arena::counting();
  const Context ctx{dry, arena, DType::kBF16};
  PlanSource source(DType::kBF16);
  flux::Weights weights;
  weights.visit(config, describe_from(source));
  const Tensor modulation(nullptr, DType::kF32, {1, flux::modulation_width(config)}, Device::kNone);
  const flux::Rope rope = flux::rope_tables(ctx, config, 256, 16, 16);
  const flux::Hidden hidden{ctx.allocate({512, config.inner_dim()}), 256};
  const auto flops_of = [&](int64_t block) {
    const int64_t before = dry.work().flops;
    flux::run_blocks(ctx, config, weights, modulation, rope, hidden, block, block + 1);
    return static_cast<double>(dry.work().flops - before);
  };
  EXPECT_DOUBLE_EQ(flops_of(0), block_work(config, 512).flops());
  EXPECT_DOUBLE_EQ(flops_of(config.num_layers), block_work(config, 512).flops());
}

double dry_decode_flops(const vae::Config& config, int64_t size) {
  DryRunBackend dry;
  Arena arena = Arena::counting();
  const Context ctx{dry, arena, DType::kF32};
  PlanSource source(DType::kBF16);
  vae::DecoderWeights weights;
  weights.visit(config, describe_from(source));
  vae::decode(ctx, config, weights, ctx.allocate({size, size, config.latent_channels}), {}, nullptr,
              [](int64_t, const Tensor&) {});
  return static_cast<double>(dry.work().flops);
}

TEST(Work, DecoderAgreesWithTheDryRun) {
  vae::Config config;
  EXPECT_DOUBLE_EQ(vae_decode_work(config, 64).flops(), dry_decode_flops(config, 64));
  EXPECT_NEAR(1e-12 * vae_decode_work(config, 64).flops(), 2.5, 0.051);
  EXPECT_NEAR(1e-12 * vae_decode_work(config, 128).flops(), 10.5, 0.051);
  config.use_post_quant_conv = true;
  config.mid_block_add_attention = false;
  config.block_out_channels = {32, 96, 64};
  EXPECT_DOUBLE_EQ(vae_decode_work(config, 10).flops(), dry_decode_flops(config, 10));
}

// The ops' own counts, against the dry run's.
TEST(Work, OpsAgreeWithTheDryRun) {
  DryRunBackend dry;
  Arena arena = Arena::counting();
  const Context ctx{dry, arena, DType::kF32};
  const auto tensor = [](const Shape& shape) { return Tensor(nullptr, DType::kF32, shape, Device::kNone); };
  double before = 0;
  const auto counted = [&] {
    const double all = static_cast<double>(dry.work().flops), one = all - before;
    before = all;
    return one;
  };
  ops::linear(ctx, tensor({7, 30}), {tensor({11, 30}), {}});
  EXPECT_EQ(counted(), matmul_work({7, 30, 11}).flops());
  ops::attention(ctx, tensor({9, 24}), tensor({9, 24}), tensor({9, 24}), {.heads = 3});
  EXPECT_EQ(counted(), attention_work({9, 3, 8}).flops());
  for (const int64_t upsample : {1, 2}) {
    ops::conv2d(ctx, tensor({6, 6, 5}), {tensor({4, 5, 3, 3}), {}}, {.upsample = upsample});
    EXPECT_EQ(counted(), conv_work({5, 4, 6, 3, upsample}).flops());
  }
}

// Seconds that a row's runs and probes take on the slowest machine that the bench is planned for: 75 GFLOP/s
// reached, whatever the machine that this test runs on.
double seconds_on_slow_machine(const Pace& pace, const Work& work, int probes_per_run = 1) {
  const double run = ideal_seconds(work, {.matmul = 75e9, .attention = 75e9, .read = 10e9});
  const double probes = probes_per_run * pace.probe_seconds * (work.flops() > 0 && work.bytes > 0 ? 2 : 1);
  double total = pace.probe_seconds;
  for (Patience patience(pace); patience.more(); patience.add(run)) total += run + probes;
  return total;
}

double seconds_on_slow_machine(const Plan& plan) {
  const Pace& pace = plan.pace;
  double total = 0;
  // Without the rows in i8, which come last and are left out where there is no time.
  for (const DType a : {DType::kBF16, DType::kF32}) {
    const auto add = [&](const Work& work) { total += seconds_on_slow_machine(pace, work); };
    const auto add_stream = [&](Work work) {
      work.bytes += static_cast<double>(pace.stream_bytes);  // about one set of operands too much
      add(work);
    };
    for (const MatmulShape& s : plan.matmuls) add(matmul_work(s));
    for (const MatmulShape& s : plan.modulations) {
      const Work work = modulation_work(s, a);
      const double calls = static_cast<double>(pace.stream_bytes) / work.bytes + 1;
      add({.matmul_flops = work.matmul_flops * calls, .bytes = work.bytes * calls});
    }
    for (const AttentionShape& s : plan.attentions) add(attention_work(s));
    for (const ConvShape& s : plan.convs) add(conv_work(s));
    for (const int64_t tokens : plan.norm_tokens) {
      add_stream(norm_modulate_work(tokens, 3072, a));
      add_stream(qk_norm_rope_work(tokens, 3072, 128, a));
    }
    for (const GroupNormShape& s : plan.group_norms) add_stream(group_norm_work(s, a));
    for (const TokenShape& s : plan.steps) {
      const int blocks = static_cast<int>(plan.transformer.num_blocks());
      const Work one = block_work(plan.transformer, s.tokens());
      const Work all{.matmul_flops = one.matmul_flops * blocks,
                     .attention_flops = one.attention_flops * blocks};
      total += seconds_on_slow_machine(pace, all, blocks);
    }
    for (const int64_t pixels : plan.vae_pixels) add(vae_decode_work(plan.vae, pixels / plan.vae.upscale()));
  }
  return total;
}

TEST(Plans, FitTheSlowMachine) {
  const double quick = seconds_on_slow_machine(quick_plan()), full = seconds_on_slow_machine(full_plan());
  EXPECT_LT(quick, 28);  // leaves time for making operands, and for neighbours
  EXPECT_LE(quick_plan().pace.total_seconds, 36);
  EXPECT_LT(full, 570);
  EXPECT_LE(full_plan().pace.total_seconds, 600);
  RecordProperty("quick_seconds", std::to_string(quick));
  RecordProperty("full_seconds", std::to_string(full));
}

TEST(Plans, OfACardHaveTheShapesOf1024Pixels) {
  const Plan plan = full_device_plan();
  EXPECT_EQ(plan.steps.back().tokens(), 4608);
  EXPECT_EQ(plan.attentions.back().tokens, 4608);
  EXPECT_EQ(plan.vae_pixels, (std::vector<int64_t>{1024}));
  EXPECT_EQ(plan.transformer.inner_dim(), 3072);
  // An RTX 3060 at half of its f32 rate takes no longer than the plan says.
  double flops = 0;
  for (const MatmulShape& s : plan.matmuls) flops += matmul_work(s).flops();
  for (const AttentionShape& s : plan.attentions) flops += attention_work(s).flops();
  for (const ConvShape& s : plan.convs) flops += conv_work(s).flops();
  for (const TokenShape& s : plan.steps) flops += 6 * block_work(plan.transformer, s.tokens()).flops();
  flops += vae_decode_work(plan.vae, 128).flops();
  EXPECT_LT(3 * 3 * flops / 5.5e12, plan.pace.total_seconds);  // f32, bf16 and i8, three runs each
}

TEST(Plans, FullHasFluxShapes) {
  const Plan plan = full_plan();
  EXPECT_EQ(plan.matmuls.size(), 12u);
  EXPECT_EQ(plan.transformer.num_layers, 2);
  EXPECT_EQ(plan.transformer.num_single_layers, 4);
  std::vector<int64_t> tokens;
  for (const TokenShape& s : plan.steps) tokens.push_back(s.tokens());
  EXPECT_EQ(tokens, (std::vector<int64_t>{512, 1280, 4352}));
  EXPECT_EQ(plan.transformer.inner_dim(), 3072);
  EXPECT_EQ(plan.vae.block_out_channels, (std::vector<int64_t>{128, 256, 512, 512}));
}

}  // namespace
}  // namespace darkroom::bench
