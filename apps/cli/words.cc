// darkroom words: which prompts a model understands, as its makers say.
#include <nlohmann/json.hpp>

#include "command.h"
#include "engine.h"
#include "failure.h"
#include "model_choice.h"
#include "text.h"

namespace cli {
namespace {

using nlohmann::json;

std::vector<std::string> lines_of(const json& prompts, const char* key) {
  std::vector<std::string> lines;
  for (const json& line : prompts.value(key, json::array()))
    lines.push_back(printable(line.get<std::string>()));
  return lines;
}

std::string section(const std::string& heading, const std::vector<std::string>& lines) {
  std::string out = lines.empty() ? "" : "\n" + heading + "\n";
  for (const std::string& line : lines) out += "  " + line + "\n";
  return out;
}

std::string describe(const json& prompts, const std::string& model) {
  std::string out = printable(model);
  if (prompts.contains("about")) out += ": " + printable(prompts.at("about").get<std::string>());
  out += "\n" + section("Forms of a prompt", lines_of(prompts, "grammar"));
  const std::vector<std::string> words = lines_of(prompts, "words");
  if (!words.empty()) out += fmt::format("\nWords ({})\n{}", words.size(), wrapped(words, 78, "  "));
  return out + section("Examples", lines_of(prompts, "examples"));
}

}  // namespace

void run_words(const Command& self, const std::vector<std::string>& arguments) {
  ModelOptions options;
  bool as_json = false;
  Arguments parser(self);
  add_model_flags(parser, options);
  parser.group("Results");
  parser.add_switch("--json", as_json, "Print JSON");
  parser.footer(
      "They come from the file darkroom.json in the model's folder. A prompt with other words is drawn all "
      "the "
      "same.");
  if (!parser.parse(arguments)) return;
  const Engine engine;
  const ModelHandle model = open_model(engine, options);
  const std::string name = darkroom_model_name(model.get());
  const json settings = json::parse(take_text(
      engine, [&](char** text) { return darkroom_model_settings(engine.get(), model.get(), text); }));
  const auto prompts = settings.find("prompts");
  if (prompts == settings.end()) {
    fail(DARKROOM_FAILURE,
         "{}: this model has no list of words (no 'prompts' in a darkroom.json in its folder); FLUX.1 takes "
         "any text",
         name);
  }
  if (!as_json) return write_stdout(describe(*prompts, name));
  json out = *prompts;
  out["model"] = name;
  write_stdout(out.dump() + "\n");
}

}  // namespace cli
