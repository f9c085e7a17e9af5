// The program: picks the sub-command, and turns whatever it throws into one line and an exit code.
#include <signal.h>

#include <new>
#include <string>
#include <vector>

#include "command.h"
#include "failure.h"
#include "interrupt.h"
#include "streams.h"
#include "text.h"

namespace cli {
namespace {

constexpr Command kCommands[] = {
    {"generate", "Draw pictures from a prompt", run_generate},
    {"words", "Say which prompts a small model understands", run_words},
    {"info", "Say what a picture, a model or a .safetensors file holds", run_info},
    {"plan", "Say what a picture would cost in memory and work", run_plan},
    {"convert", "Write a model again with weights of fewer bits", run_convert},
    {"calibrate", "Make a model keep more digits with --precision int8", run_calibrate},
    {"options", "List all that can be said of a picture", run_options},
    {"tokenize", "Print the token ids of a prompt", run_tokenize},
    {"devices", "List the graphics cards that darkroom can draw on", run_devices},
    {"self-test", "Check the results of this machine or a graphics card", run_self_test},
    {"bench", "Measure this machine", run_bench},
    {"manual", "Print the manual page, or completions of bash or zsh", run_manual},
};

std::string help() {
  std::string out =
      "darkroom draws pictures from text with FLUX.1, on the CPU or a graphics card.\n\n"
      "Start with the small model that comes with it:\n"
      "  darkroom generate \"a red star above a blue ring on a yellow background\"\n"
      "Then with a FLUX.1 folder in diffusers layout:\n"
      "  darkroom generate -m FLUX.1-schnell \"a lighthouse in a storm\" -o storm.png\n\n"
      "Usage: darkroom COMMAND [OPTIONS]\n";
  for (const Command& command : kCommands) out += fmt::format("  {:<10} {}\n", command.name, command.summary);
  return out +
         "\n  darkroom help COMMAND   The flags of a command\n"
         "  darkroom --version      The version\n"
         "README.md has examples, docs/CLI.md every flag, exit code and file name.\n";
}

const Command& command_named(const std::string& name) {
  std::vector<std::string> names;
  for (const Command& command : kCommands) {
    if (name == command.name) return command;
    names.emplace_back(command.name);
  }
  if (name.starts_with('-')) {
    fail(DARKROOM_USAGE, "'{}' comes before the command; the commands are {}", name, shown_list(names));
  }
  if (name.find(' ') != std::string::npos) {
    fail(DARKROOM_USAGE, "there is no command '{}'; to draw it: darkroom generate \"{}\"", name, name);
  }
  const std::optional<std::string> meant = closest(name, names);
  if (meant) fail(DARKROOM_USAGE, "there is no command '{}'; did you mean {}?", name, *meant);
  fail(DARKROOM_USAGE, "there is no command '{}'; there are {}", name, shown_list(names));
}

// `darkroom help [COMMAND]`
void run_help(const std::vector<std::string>& words) {
  if (words.empty()) return write_stdout(help());
  if (words.size() > 1)
    fail(DARKROOM_USAGE, "'{}' is one argument too many; help takes one COMMAND", words[1]);
  const Command& command = command_named(words.front());
  command.run(command, {"--help"});
}

int run(const std::vector<std::string>& arguments) {
  if (arguments.empty()) {
    write_stderr(help());
    return DARKROOM_USAGE;
  }
  const std::string& name = arguments.front();
  const std::vector<std::string> rest(arguments.begin() + 1, arguments.end());
  if (name == "-h" || name == "--help") {
    write_stdout(help());
  } else if (name == "-V" || name == "--version") {
    write_stdout(fmt::format("darkroom {}\n", darkroom_version()));
  } else if (name == "help") {
    run_help(rest);
  } else {
    const Command& command = command_named(name);
    command.run(command, rest);
  }
  return DARKROOM_OK;
}

int report(darkroom_status status, std::string_view message) noexcept {
  try {
    write_stderr(fmt::format("darkroom: {}\n", printable(message)));
  } catch (...) {  // no memory for the line
    write_stderr("darkroom: the system ran out of memory\n");
  }
  return status;
}

}  // namespace

std::span<const Command> commands() { return kCommands; }

}  // namespace cli

int main(int argc, char** argv) {
  streams::open_standard_streams();
  cli::install_interrupt_handlers();
  signal(SIGXFSZ, SIG_IGN);  // a file that may not grow further is an error like a full disk
  try {
    return cli::run({argv + (argc > 0 ? 1 : 0), argv + argc});
  } catch (const cli::Failure& e) {
    return cli::report(e.status(), e.what());
  } catch (const std::bad_alloc&) {
    return cli::report(DARKROOM_OUT_OF_MEMORY, "the system ran out of memory");
  } catch (const std::exception& e) {
    return cli::report(DARKROOM_FAILURE, e.what());
  } catch (...) {
    return cli::report(DARKROOM_FAILURE, "stopped by something unknown");
  }
}
