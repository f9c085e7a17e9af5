// darkroom tokenize: the token ids of a prompt, as JSON.
#include "command.h"
#include "engine.h"
#include "failure.h"
#include "model_choice.h"
#include "request_flags.h"
#include "text.h"

namespace cli {

void run_tokenize(const Command& self, const std::vector<std::string>& arguments) {
  ModelOptions options;
  std::optional<std::string> prompt;
  Settings settings = Settings::object();
  Arguments parser(self);
  parser.group("Prompt");
  parser.add_text({"-p,--prompt,prompt", "TEXT", "The text; -p may be left out"}, prompt);
  add_request_flag(parser, settings, "max_text_tokens");
  add_model_flags(parser, options);
  parser.footer("Standard output gets {\"clip\": [ids], \"t5\": [ids]}, padding included.");
  if (!parser.parse(arguments)) return;
  if (!prompt) fail(DARKROOM_USAGE, "there is no prompt; pass one: darkroom tokenize -p \"a red circle\"");
  require_text("the prompt", *prompt);
  const Engine engine;
  const ModelHandle model = open_model(engine, options);
  write_stdout(take_text(engine,
                         [&](char** text) {
                           return darkroom_tokenize(engine.get(), model.get(), prompt->c_str(),
                                                    settings.value("max_text_tokens", 0), text);
                         }) +
               "\n");
}

}  // namespace cli
