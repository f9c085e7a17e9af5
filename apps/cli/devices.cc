// darkroom devices: what has a Vulkan driver, and what darkroom would do with it.
#include <fmt/format.h>

#include <nlohmann/json.hpp>

#include "command.h"
#include "engine.h"
#include "text.h"

namespace cli {
namespace {

using nlohmann::json;

std::string text_of(const json& object, const char* field) {
  return printable(object.at(field).get<std::string>());
}

std::string describe(const json& found) {
  const json& devices = found.at("devices");
  if (devices.empty()) return "No device: " + text_of(found, "reason") + "\n";
  Table table;
  table.add({"--device", "name", "driver", "kind", "class", "memory", "free"});
  std::string reasons;
  for (std::size_t i = 0; i < devices.size(); ++i) {
    const json& device = devices[i];
    const std::string label = fmt::format("gpu:{}", i), reason = text_of(device, "reason");
    table.add({label, text_of(device, "name"), text_of(device, "driver"), text_of(device, "kind"),
               text_of(device, "class"), bytes_text(device.at("memory_bytes").get<uint64_t>()),
               bytes_text(device.at("free_bytes").get<uint64_t>())});
    if (!reason.empty()) reasons += fmt::format("{}: {}\n", label, reason);
  }
  return table.text() + "\n" + reasons +
         "Classes: S draws with plain arithmetic, D also has fast products of 8-bit numbers, M has matrix "
         "units, "
         "M+bf16 has them for bf16.\n";
}

}  // namespace

void run_devices(const Command& self, const std::vector<std::string>& arguments) {
  bool as_json = false;
  Arguments parser(self);
  parser.group("Results");
  parser.add_switch("--json", as_json, "Print JSON");
  if (!parser.parse(arguments)) return;
  const Engine engine;
  const std::string text =
      take_text(engine, [&](char** out) { return darkroom_describe_devices(engine.get(), out); });
  write_stdout(as_json ? text + "\n" : describe(json::parse(text)));
}

}  // namespace cli
