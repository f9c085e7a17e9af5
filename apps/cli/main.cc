// The program: picks the sub-command, and turns whatever it throws into one line and an exit code.
#include <fcntl.h>
#include <signal.h>
#include <unistd.h>

#include <cstdio>
#include <new>
#include <string>
#include <vector>

#include "command.h"
#include "failure.h"
#include "interrupt.h"
#include "text.h"

namespace cli {
namespace {

constexpr Command kCommands[] = {
    {"generate", "Draw pictures from a prompt", run_generate},
    {"info", "Say what a model, a .safetensors file or a picture is", run_info},
    {"plan", "Say what a picture would cost in memory and work, without drawing it", run_plan},
    {"tokenize", "Print the token ids of a prompt", run_tokenize},
    {"convert", "Write a model again with weights of fewer bits", run_convert},
    {"words", "Say which prompts a model understands", run_words},
    {"options", "List all that can be said of a picture, also as a JSON Schema", run_options},
    {"bench", "Measure this machine", run_bench},
    {"manual", "Print the manual page, or completions for bash or zsh", run_manual},
};

std::string help() {
  std::string out =
      "darkroom: FLUX.1 pictures from text\n"
      "Usage: darkroom COMMAND [OPTIONS]\n\n"
      "Commands:\n";
  for (const Command& command : kCommands) out += fmt::format("  {:<10} {}\n", command.name, command.summary);
  out +=
      "\n  -h,--help     Print this and exit; 'darkroom COMMAND --help' says more\n"
      "  -V,--version  Print the version and exit\n\n"
      "Try: darkroom generate \"a red star above a blue ring on a yellow background\"\n";
  return out;
}

void run(const std::vector<std::string>& arguments) {
  std::vector<std::string> names;
  for (const Command& command : kCommands) names.emplace_back(command.name);
  if (arguments.empty()) fail(DARKROOM_USAGE, "there is no command; there are {}", shown_list(names));
  const std::string& name = arguments.front();
  if (name == "-h" || name == "--help") return write_stdout(help());
  if (name == "-V" || name == "--version")
    return write_stdout(fmt::format("darkroom {}\n", darkroom_version()));
  for (const Command& command : kCommands) {
    if (name == command.name) return command.run(command, {arguments.begin() + 1, arguments.end()});
  }
  if (name.starts_with('-')) {
    fail(DARKROOM_USAGE, "'{}' stands before the command; the commands are {}", name, shown_list(names));
  }
  const std::optional<std::string> meant = closest(name, names);
  if (meant) fail(DARKROOM_USAGE, "there is no command '{}'; did you mean {}?", name, *meant);
  fail(DARKROOM_USAGE, "there is no command '{}'; there are {}", name, shown_list(names));
}

// With a standard stream closed, the next file opened would take its number and get its text.
void open_standard_streams() {
  for (const int stream : {STDIN_FILENO, STDOUT_FILENO, STDERR_FILENO}) {
    if (fcntl(stream, F_GETFD) < 0 && open("/dev/null", O_RDWR) < 0) _exit(DARKROOM_FAILURE);
  }
}

int report(darkroom_status status, const std::string& message) {
  fmt::print(stderr, "darkroom: {}\n", printable(message));
  return status;
}

}  // namespace

std::span<const Command> commands() { return kCommands; }

}  // namespace cli

int main(int argc, char** argv) {
  cli::open_standard_streams();
  cli::install_interrupt_handlers();
  signal(SIGXFSZ, SIG_IGN);  // a file that may not grow further is an error like a full disk
  try {
    cli::run({argv + (argc > 0 ? 1 : 0), argv + argc});
    return DARKROOM_OK;
  } catch (const cli::Failure& e) {
    return cli::report(e.status(), e.what());
  } catch (const std::bad_alloc&) {
    return cli::report(DARKROOM_OUT_OF_MEMORY, "the system ran out of memory");
  } catch (const std::exception& e) {
    return cli::report(DARKROOM_FAILURE, std::string("unexpected: ") + e.what());
  }
}
