// darkroom bench: how fast this machine is, and how close to its ceiling the ops come.
#include <fmt/format.h>

#include <nlohmann/json.hpp>

#include "command.h"
#include "engine.h"
#include "failure.h"
#include "model_choice.h"
#include "text.h"

namespace cli {
namespace {

using nlohmann::json;

std::string number_text(const json& value, const char* format) {
  return value.is_number() ? fmt::format(fmt::runtime(format), value.get<double>()) : "-";
}

std::string describe_budget(const json& budget) {
  const json& model = budget.at("model");
  Table table;
  table.add(
      {"step", "kept", "streamed", "planned", "seconds", "computing", "waited", "read", "reading", "ratio"});
  table.left(0);
  for (const json& row : budget.at("rows")) {
    table.add({row.at("shape").get<std::string>(), row.at("kept_blocks").dump(),
               row.at("streamed_blocks").dump(), bytes_text(row.at("planned_bytes").get<uint64_t>()),
               number_text(row.at("seconds"), "{:.2f}"), number_text(row.at("compute_seconds"), "{:.2f}"),
               number_text(row.at("wait_seconds"), "{:.2f}"),
               bytes_text(row.at("bytes_read").get<uint64_t>()),
               number_text(row.at("read_seconds"), "{:.2f}"), number_text(row.at("ratio"), "{:.2f}")});
  }
  return fmt::format("\nwithin {}, {}\n{}", bytes_text(budget.at("bytes").get<uint64_t>()),
                     model.is_string() ? printable(model.get<std::string>()) : "weights from a formula",
                     table.text());
}

std::string describe_machine(const json& bench) {
  if (bench.contains("cpu")) {
    const json& cpu = bench.at("cpu");
    return fmt::format("{}, {}", printable(cpu.at("name").get<std::string>()),
                       cpu.at("isa").get<std::string>());
  }
  const json& device = bench.at("device");
  return fmt::format("{}, {}, class {}, {}", printable(device.at("name").get<std::string>()),
                     printable(device.at("driver").get<std::string>()), device.at("class").get<std::string>(),
                     bytes_text(device.at("memory_bytes").get<uint64_t>()));
}

std::string describe_ceilings(const json& ceiling) {
  const json& int7 = ceiling.at("int7_gops");
  std::string out = fmt::format("ceiling: f32 {} GFLOP/s, bf16 {} GFLOP/s, int8 {} GOP/s{}",
                                number_text(ceiling.at("f32_gflops"), "{:.0f}"),
                                number_text(ceiling.at("bf16_gflops"), "{:.0f}"),
                                number_text(ceiling.at("int8_gops"), "{:.0f}"),
                                int7.is_null() ? "" : number_text(int7, ", int7 {:.0f} GOP/s"));
  const std::string memory = number_text(ceiling.at("read_gbps"), "{:.1f}");
  if (!ceiling.contains("upload_gbps")) return out + fmt::format(", read {} GB/s\n", memory);
  return out + fmt::format(", copy {} GB/s\nfrom the host {} GB/s, to the host {} GB/s\n", memory,
                           number_text(ceiling.at("upload_gbps"), "{:.1f}"),
                           number_text(ceiling.at("download_gbps"), "{:.1f}"));
}

// What a block or a step asks of a graphics card.
std::string describe_counts(const json& bench) {
  Table table;
  table.left(0);
  table.left(1);
  table.left(2);
  table.add({"asked of the device", "dtype", "shape", "dispatches", "barriers", "submits"});
  bool any = false;
  for (const json& row : bench.at("rows")) {
    if (!row.contains("dispatches")) continue;
    any = true;
    table.add({row.at("name").get<std::string>(), row.at("dtype").get<std::string>(),
               row.at("shape").get<std::string>(), row.at("dispatches").dump(), row.at("barriers").dump(),
               row.at("submits").dump()});
  }
  return any ? "\n" + table.text() : "";
}

std::string describe(const json& bench) {
  std::string out = fmt::format("{}\n{}", describe_machine(bench), describe_ceilings(bench.at("ceiling")));
  if (bench.contains("cpu"))
    out +=
        "conv2d and vae_decode count a direct convolution's multiplications; up to 6.6 times fewer are done, "
        "so\nthey may be above the ceiling\n";
  out += "\n";
  Table table;
  table.left(1);
  table.left(2);
  table.left(3);
  table.add({"name", "dtype", "weights", "shape", "seconds", "GFLOP/s", "of ceiling"});
  for (const json& row : bench.at("rows")) {
    const json& fraction = row.at("fraction");
    table.add({row.at("name").get<std::string>(), row.at("dtype").get<std::string>(),
               row.at("weights").get<std::string>(), row.at("shape").get<std::string>(),
               number_text(row.at("seconds"), "{:.4f}"), number_text(row.at("gflops"), "{:.1f}"),
               fraction.is_number() ? fmt::format("{:.0f} %", 100 * fraction.get<double>()) : "-"});
  }
  return out + table.text() + describe_counts(bench) +
         (bench.contains("budget") ? describe_budget(bench.at("budget")) : "");
}

}  // namespace

void run_bench(const Command& self, const std::vector<std::string>& arguments) {
  EngineOptions options;
  ModelOptions chosen;
  std::optional<std::string> budget, weights;
  bool quick = false, as_json = false;
  Arguments parser(self);
  parser.add_switch("--quick", quick, "Fewer and smaller shapes: within 40 s on a slow machine");
  parser.add_switch("--json", as_json, "Print JSON");
  parser.add_text({"--budget", "SIZE", "Also run steps of the transformer within this much memory, or auto"},
                  budget);
  parser.add_text({"--weights", "TYPE",
                   "Only linear layers, with weights of this type beside bf16: f16, i8, q4_k, nf4, .."},
                  weights);
  add_model_flags(parser, chosen, "a few full-width blocks with weights from a formula");
  add_engine_flags(parser, options);
  if (!parser.parse(arguments)) return;
  const bool with_model = chosen.model || chosen.dummy;
  if (with_model && !budget)
    fail(DARKROOM_USAGE, "--model and --dummy are for the steps of --budget, which is not given");
  require_stdout();
  const Engine engine(options);
  const ModelHandle model = with_model ? open_model(engine, chosen) : nullptr;
  darkroom_bench_options bench;
  darkroom_bench_options_init(&bench);
  bench.quick = quick ? 1 : 0;
  bench.budget = budget ? budget->c_str() : nullptr;
  bench.model = model.get();
  bench.weights = weights ? weights->c_str() : nullptr;
  // Nothing to clean up: a signal may end the program at once.
  const std::string text =
      take_text(engine, [&](char** out) { return darkroom_bench(engine.get(), &bench, out); });
  write_stdout(as_json ? text + "\n" : describe(json::parse(text)));
}

}  // namespace cli
