// darkroom plan: what a request would cost, phase by phase, without loading anything.
#include <fmt/format.h>

#include <algorithm>
#include <nlohmann/json.hpp>

#include "command.h"
#include "engine.h"
#include "model_choice.h"
#include "request_flags.h"
#include "text.h"

namespace cli {
namespace {

using nlohmann::json;

// What weights become as they are read, and what that takes.
std::string staging_lines(const json& plan) {
  uint64_t text = 0, blocks = 0;
  for (const json& phase : plan.at("phases")) {
    const std::string name = phase.at("name").get<std::string>();
    uint64_t& most = name == "clip" || name == "t5" ? text : blocks;
    most = std::max(most, phase.at("staging_bytes").get<uint64_t>());
  }
  std::string out;
  if (text > 0)
    out +=
        fmt::format("\nText encoders' weights change as they are read, which counts {}.", bytes_text(text));
  if (blocks == 0) return out;
  const std::string kind = plan.at("weights").get<std::string>();
  const bool as_stored = kind == "as-stored";  // then the precision asks for something
  const std::string precision = plan.at("precision").get<std::string>();
  const bool products = precision == "int8" || precision == "int7";
  const std::string becomes = !as_stored ? kind : products ? precision : "bf16";
  return out + fmt::format("\n{} become {} as they are read: modulation and denoise count {} for that.",
                           as_stored ? "The blocks' weights" : "Weights", becomes, bytes_text(blocks));
}

std::string budget_text(const json& plan, const std::string& field) {
  const json& budget = plan.at(field + "_bytes");
  if (budget.is_null()) return "the system does not say what is free";
  return bytes_text(budget.get<uint64_t>()) + (plan.at(field) == "auto" ? ", what is free" : "");
}

// What of which memory.
std::string memory_lines(const json& plan) {
  const std::string process = bytes_text(plan.at("process_bytes").get<uint64_t>());
  if (!plan.at("on_device").get<bool>()) {
    return fmt::format(
        "\nThe peak of all counts {} for the program itself: code, tokenizers, the threads' scratch memory. "
        "Budget: {}.",
        process, budget_text(plan, "budget"));
  }
  return fmt::format(
      "\nWeights and activations lie on the device. Budget there: {}.\nThe host holds {} at most, {} of it "
      "for "
      "the program itself. Budget: {}.",
      budget_text(plan, "budget"), bytes_text(plan.at("ram_bytes").get<uint64_t>()), process,
      budget_text(plan, "ram_budget"));
}

// Of the blocks that do not stay where tensors lie.
std::string streaming_lines(const json& plan) {
  const int64_t kept = plan.at("resident_blocks").get<int64_t>(),
                streamed = plan.at("streamed_blocks").get<int64_t>();
  if (streamed == 0) return "";
  uint64_t on_host = 0;
  for (const json& phase : plan.at("phases")) on_host += phase.at("kept_bytes").get<uint64_t>();
  std::string out =
      fmt::format("\n{} of {} transformer blocks stay in memory; {} are {} again in every step", kept,
                  kept + streamed, streamed, plan.at("on_device").get<bool>() ? "copied" : "read");
  return out +
         (on_host == 0 ? "." : fmt::format(", {} of them from the host's memory.", bytes_text(on_host)));
}

std::string phase_table(const json& plan) {
  const auto bytes = [](const json& object, const char* field) {
    return bytes_text(object.at(field).get<uint64_t>());
  };
  Table table;
  table.add({"phase", "weights", "kept", "slots", "streamed", "activations", "host", "peak", "TFLOP"});
  double flops = 0;
  for (const json& phase : plan.at("phases")) {
    const bool assumed = phase.at("assumed").get<bool>();
    flops += phase.at("flops").get<double>();
    table.add({phase.at("name").get<std::string>() + (assumed ? " *" : ""), bytes(phase, "weight_bytes"),
               bytes(phase, "resident_bytes"), bytes(phase, "slot_bytes"), bytes(phase, "streamed_bytes"),
               bytes(phase, "activation_bytes"), bytes(phase, "host_bytes"), bytes(phase, "peak_bytes"),
               fmt::format("{:.3f}", phase.at("flops").get<double>() / 1e12)});
  }
  table.add({"all", "", "", "", "", "", "", bytes(plan, "peak_bytes"), fmt::format("{:.3f}", flops / 1e12)});
  std::string out = table.text();
  out += memory_lines(plan) + staging_lines(plan);
  out += streaming_lines(plan);
  const uint64_t scratch = plan.at("scratch_bytes").get<uint64_t>();
  out += fmt::format("\nThe VAE works in strips of about {}", bytes(plan, "strip_bytes"));
  out += scratch == 0 ? "."
                      : fmt::format("; what it makes on the way lies in a file of {}.", bytes_text(scratch));
  for (const json& note : plan.at("notes")) out += "\nNote: " + printable(note.get<std::string>());
  return out + "\n";
}

std::string describe(const json& plan) {
  std::string out =
      fmt::format("{} ({}), {}, {}x{}, {} steps: {} image tokens, {} text tokens\n",
                  printable(plan.at("model").get<std::string>()), plan.at("kind").get<std::string>(),
                  plan.at("precision").get<std::string>(), plan.at("width").get<int64_t>(),
                  plan.at("height").get<int64_t>(), plan.at("steps").get<int64_t>(),
                  plan.at("image_tokens").get<int64_t>(), plan.at("text_tokens").get<int64_t>());
  Table parameters;
  parameters.add({"part", "parameters"});
  for (const auto& [name, count] : plan.at("parameters").items()) {
    parameters.add({printable(name), count_text(count.get<int64_t>())});
  }
  out += "\n" + parameters.text() + "\n" + phase_table(plan);
  for (const json& phase : plan.at("phases")) {
    if (!phase.at("assumed").get<bool>()) continue;
    out += "\n* the config of this part is missing: FLUX.1's own sizes are assumed\n";
    break;
  }
  return out;
}

}  // namespace

void run_plan(const Command& self, const std::vector<std::string>& arguments) {
  Settings settings = Settings::object();
  ModelOptions options;
  EngineOptions machine;
  bool as_json = false;
  Arguments parser(self);
  add_model_flags(parser, options);
  add_request_flags(parser, settings);
  parser.group("Results");
  parser.add_switch("--json", as_json, "Print JSON");
  add_engine_flags(parser, machine);
  if (!parser.parse(arguments)) return;
  settle_texts(settings);
  const Engine engine(machine);
  const ModelHandle model = open_model(engine, options);
  const OwnedRequest request(settings);
  const std::string text = take_text(
      engine, [&](char** out) { return darkroom_plan(engine.get(), model.get(), &request.c, out); });
  write_stdout(as_json ? text + "\n" : describe(json::parse(text)));
}

}  // namespace cli
