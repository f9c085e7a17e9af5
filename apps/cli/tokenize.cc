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
  std::optional<int> max_text_tokens;
  Arguments parser(self);
  parser.group("Prompt");
  parser.add_text({"-p,--prompt,prompt", "TEXT", "The text; -p may be left out"}, prompt);
  parser.add_integer({"--max-text-tokens", "N",
                      "Length it is cut to for T5 (default: the model's own; schnell 256, dev 512)"},
                     max_text_tokens, {1, 4096});
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
                                                    max_text_tokens.value_or(0), text);
                         }) +
               "\n");
}

}  // namespace cli
