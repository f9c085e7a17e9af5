// darkroom bench: how fast this machine is, and how close to its ceiling the ops come.
#include <fmt/format.h>

#include <nlohmann/json.hpp>

#include "command.h"
#include "engine.h"
#include "text.h"

namespace cli {
namespace {

using nlohmann::json;

std::string number_text(const json& value, const char* format) {
  return value.is_number() ? fmt::format(fmt::runtime(format), value.get<double>()) : "-";
}

std::string describe(const json& bench) {
  const json& cpu = bench.at("cpu");
  const json& ceiling = bench.at("ceiling");
  std::string out = fmt::format(
      "{}, {}\nceiling: f32 {} GFLOP/s, bf16 {} GFLOP/s, int8 {} GOP/s, read {} GB/s\n\n",
      printable(cpu.at("name").get<std::string>()), cpu.at("isa").get<std::string>(),
      number_text(ceiling.at("f32_gflops"), "{:.0f}"), number_text(ceiling.at("bf16_gflops"), "{:.0f}"),
      number_text(ceiling.at("int8_gops"), "{:.0f}"), number_text(ceiling.at("read_gbps"), "{:.1f}"));
  Table table;
  table.left(1);
  table.left(2);
  table.add({"name", "dtype", "shape", "seconds", "GFLOP/s", "of ceiling"});
  for (const json& row : bench.at("rows")) {
    const json& shape = row.at("shape");
    const json& fraction = row.at("fraction");
    table.add({row.at("name").get<std::string>(), row.at("dtype").get<std::string>(),
               shape.is_string() ? shape.get<std::string>() : shape.dump(),
               number_text(row.at("seconds"), "{:.4f}"), number_text(row.at("gflops"), "{:.1f}"),
               fraction.is_number() ? fmt::format("{:.0f} %", 100 * fraction.get<double>()) : "-"});
  }
  return out + table.text();
}

}  // namespace

void run_bench(const Command& self, const std::vector<std::string>& arguments) {
  EngineOptions options;
  bool quick = false, as_json = false;
  Arguments parser(self);
  parser.add_switch("--quick", quick, "Fewer and smaller shapes: within 40 s on a slow machine");
  parser.add_switch("--json", as_json, "Print JSON");
  add_engine_flags(parser, options);
  if (!parser.parse(arguments)) return;
  const Engine engine(options);
  const std::string text =
      take_text(engine, [&](char** out) { return darkroom_bench(engine.get(), quick ? 1 : 0, out); });
  write_stdout(as_json ? text + "\n" : describe(json::parse(text)));
}

}  // namespace cli
