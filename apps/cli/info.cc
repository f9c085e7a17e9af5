// darkroom info: what a path holds, for people or as JSON.
#include <nlohmann/json.hpp>

#include "command.h"
#include "engine.h"
#include "failure.h"
#include "model_choice.h"
#include "request_flags.h"
#include "text.h"

namespace cli {
namespace {

using nlohmann::json;

// {"bf16": bytes, ...} as "bf16" or "bf16 22.0 GiB, f32 1.0 MiB".
std::string dtypes_text(const json& part) {
  if (!part.contains("dtypes")) return part.value("dtype", "");
  const json& dtypes = part.at("dtypes");
  if (dtypes.size() == 1) return printable(dtypes.begin().key());
  std::string out;
  for (const auto& [name, bytes] : dtypes.items()) {
    out +=
        fmt::format("{}{} {}", out.empty() ? "" : ", ", printable(name), bytes_text(bytes.get<uint64_t>()));
  }
  const int64_t scales = part.value("scales", int64_t{0});
  return scales == 0 ? out : out + fmt::format(", {} scales", scales);
}

std::string weights_text(const json& part) {
  if (part.value("weights", "") != "found") {
    if (part.contains("problem")) return "invalid: " + printable(part.at("problem").get<std::string>());
    return part.contains("missing") ? "missing: " + printable(part.at("missing").get<std::string>())
                                    : "missing";
  }
  const std::size_t files = part.at("files").size();
  return fmt::format("{} file{}", files, files == 1 ? "" : "s");
}

// The numbers of a config that say which model it is.
std::string config_text(const json& config) {
  static constexpr const char* kKeys[] = {
      "num_layers",          "num_single_layers", "num_attention_heads", "attention_head_dim",
      "num_hidden_layers",   "hidden_size",       "num_heads",           "d_model",
      "joint_attention_dim", "guidance_embeds",   "block_out_channels",  "latent_channels",
      "scaling_factor",      "shift_factor"};
  std::string out;
  for (const char* key : kKeys) {
    const auto found = config.find(key);
    if (found == config.end() || found->is_object()) continue;
    out += fmt::format("{}{} {}", out.empty() ? "" : ", ", key, printable(found->dump()));
  }
  return out;
}

std::string describe_model(const json& info) {
  Table table;
  table.left(3);
  table.left(4);
  table.add({"part", "parameters", "bytes", "dtype", "weights"});
  std::string configs;
  int64_t parameters = 0;
  uint64_t bytes = 0;
  for (const json& part : info.at("parts")) {
    const std::string name = printable(part.at("name").get<std::string>());
    if (!part.at("present").get<bool>()) {
      table.add({name, "", "", "", part.value("problem", "there is no such part")});
      continue;
    }
    parameters += part.at("parameters").get<int64_t>();
    bytes += part.at("bytes").get<uint64_t>();
    table.add({name, count_text(part.at("parameters").get<int64_t>()),
               bytes_text(part.at("bytes").get<uint64_t>()), dtypes_text(part), weights_text(part)});
    if (part.contains("where"))
      configs += name + ": " + printable(part.at("where").get<std::string>()) + "\n";
    if (part.contains("config")) configs += name + ": " + config_text(part.at("config")) + "\n";
  }
  table.add({"all", count_text(parameters), bytes_text(bytes), "", ""});
  return fmt::format("{}: a FLUX.1 model, {}\n\n{}\n{}", printable(info.at("name").get<std::string>()),
                     info.at("kind").get<std::string>(), table.text(), configs);
}

// What a file of tensors is: the parts of FLUX.1 that it holds, or something else.
std::string describe_contents(const json& info) {
  std::string out;
  for (const json& part : info.value("holds", json::array())) {
    const std::string prefix = part.value("prefix", "");
    out += fmt::format(
        "a FLUX.1 {}: {}; names of {}{}\n", part.at("title").get<std::string>(),
        printable(part.contains("sizes") ? part.at("sizes").get<std::string>() : part.value("problem", "")),
        part.at("names").get<std::string>(), prefix.empty() ? "" : " after " + printable(prefix));
  }
  if (info.contains("other")) out += "this is " + printable(info.at("other").get<std::string>()) + "\n";
  for (const json& need : info.value("needs", json::array())) {
    const json& found = need.at("found");
    out += fmt::format("{}: {}\n", need.at("title").get<std::string>(),
                       found.is_null() ? "missing: " + printable(need.at("missing").get<std::string>())
                                       : "from " + printable(found.get<std::string>()));
  }
  if (info.contains("problem"))
    out += "cannot be drawn with: " + printable(info.at("problem").get<std::string>()) + "\n";
  return out.empty() ? out : out + "\n";
}

// "BF16 12 tensors 4.0 MiB, F32 ..".
std::string types_text(const json& info) {
  std::string out;
  for (const auto& [name, bytes] : info.at("dtypes").items()) {
    const int64_t count = info.at("counts").value(name, int64_t{0});
    out += fmt::format("{}{} in {} tensor{} ({})", out.empty() ? "" : ", ", printable(name), count,
                       count == 1 ? "" : "s", bytes_text(bytes.get<uint64_t>()));
  }
  const int64_t scales = info.value("scales", int64_t{0});
  return scales == 0 ? out : out + fmt::format(", {} scales", scales);
}

std::string describe_tensors(const json& info) {
  Table table;
  table.left(1);
  table.left(2);
  for (const json& tensor : info.at("tensors")) {
    table.add({printable(tensor.at("name").get<std::string>()),
               printable(tensor.at("dtype").get<std::string>()), tensor.at("shape").dump()});
  }
  return fmt::format("{}: {}, {} tensors, {} parameters, {}, {}\n{}\n{}",
                     printable(info.at("name").get<std::string>()), info.at("type").get<std::string>(),
                     info.at("tensors").size(), count_text(info.at("parameters").get<int64_t>()),
                     bytes_text(info.at("bytes").get<uint64_t>()), types_text(info), describe_contents(info),
                     table.text());
}

// What a recipe may state, in the order in which it is shown: options, then what came of them.
std::vector<std::string> recipe_keys() {
  std::vector<std::string> keys = request_schema().at("x-order");
  for (const char* key : {"pictures", "passes", "skipped_passes", "model", "engine"}) keys.emplace_back(key);
  return keys;
}

// What --like does not repeat of another program's recipe.
std::string describe_rest(const json& info) {
  std::string out;
  const auto list = info.value("not_repeated", std::vector<std::string>());
  const std::string line = fmt::format("{}", fmt::join(list, ", "));
  if (!list.empty()) out += fmt::format("{:<17} {}\n", "not repeated", printable(line));
  for (const json& note : info.value("notes", json::array())) {
    out += fmt::format("{:<17} {}\n", "note", printable(note.get<std::string>()));
  }
  return out;
}

std::string describe_picture(const json& info) {
  const std::string source = info.at("source").get<std::string>();
  const bool is_sheet = info.contains("recipe") && info.at("recipe").contains("pictures");
  std::string out = fmt::format("{}, {}x{}", is_sheet ? "a sheet of pictures" : "a picture",
                                info.at("width").get<int64_t>(), info.at("height").get<int64_t>());
  if (source == "none") return out + ", without a recipe\n";
  if (source == "unknown") {
    return out + ", with a recipe that is not read\n" + printable(info.at("problem").get<std::string>()) +
           "\n";
  }
  const bool is_form = source == "a1111";  // of many programs
  out += source == "darkroom" ? ", with its recipe\n\n"
         : is_form            ? ", with another program's recipe\n\n"
                              : ", with a recipe of " + printable(info.value("program", source)) + "\n\n";
  const json& recipe = info.at("recipe");
  for (const std::string& key : recipe_keys()) {
    const auto found = recipe.find(key);
    if (found == recipe.end() || found->is_null()) continue;
    const std::string text = found->is_string() ? found->get<std::string>() : found->dump();
    const bool says_nothing = text.empty() || text == "[]";
    if (!says_nothing || key == "prompt") out += fmt::format("{:<17} {}\n", key, printable(text));
  }
  return out + describe_rest(info);
}

std::string describe(const json& info) {
  const std::string type = info.at("type").get<std::string>();
  if (type == "model") return describe_model(info);
  return type == "picture" ? describe_picture(info) : describe_tensors(info);
}

}  // namespace

void run_info(const Command& self, const std::vector<std::string>& arguments) {
  std::optional<std::string> path;
  bool as_json = false;
  Arguments parser(self);
  parser.add_text({"path", "PATH", "A model, a .safetensors or .gguf file, or a picture"}, path);
  parser.add_switch("--json", as_json, "Print JSON");
  if (!parser.parse(arguments)) return;
  if (!path)
    fail(DARKROOM_USAGE, "there is no path; pass a model, a .safetensors or .gguf file, or a picture");
  const Engine engine;
  const std::string place = in_hub_cache(*path);
  const std::string text =
      take_text(engine, [&](char** out) { return darkroom_info(engine.get(), place.c_str(), out); });
  write_stdout(as_json ? text + "\n" : describe(json::parse(text)));
}

}  // namespace cli
