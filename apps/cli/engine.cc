#include "engine.h"

#include <cstdlib>

#include "failure.h"
#include "interrupt.h"

namespace cli {
namespace {

constexpr IntegerRange kThreads = {0, 1024};

std::optional<std::string> environment(const char* name) {
  const char* value = std::getenv(name);
  return value && *value ? std::optional<std::string>(value) : std::nullopt;
}

}  // namespace

void add_engine_flags(Arguments& arguments, EngineOptions& options) {
  arguments.group("Machine");
  arguments.add_integer({"-t,--threads", "N", "0 (default): one per processor; else $DARKROOM_THREADS"},
                        options.threads, kThreads);
  arguments.add_text({"--isa", "NAME", "Force an instruction set (default auto); else $DARKROOM_ISA"},
                     options.isa);
  arguments.add_text({"--backend", "NAME", "cpu (default) or reference (slow, for checking)"},
                     options.backend);
}

Engine::Engine(const EngineOptions& options) {
  darkroom_options c;
  darkroom_options_init(&c);
  if (options.threads) {
    c.threads = *options.threads;
  } else if (const auto threads = environment("DARKROOM_THREADS")) {
    c.threads = static_cast<int>(parse_integer("DARKROOM_THREADS", *threads, kThreads));
  }
  const std::optional<std::string> isa = options.isa ? options.isa : environment("DARKROOM_ISA");
  if (isa) c.isa = isa->c_str();
  if (options.backend) c.backend = options.backend->c_str();
  const darkroom_status status = darkroom_create(&c, &engine_);
  try {
    check(status);
  } catch (...) {
    darkroom_destroy(engine_);
    throw;
  }
  interrupt_cancels(engine_);
}

Engine::~Engine() {
  interrupt_cancels(nullptr);
  darkroom_destroy(engine_);
}

void Engine::check(darkroom_status status) const {
  if (status == DARKROOM_OK) return;
  const std::string message = engine_ ? darkroom_last_error(engine_) : "the system ran out of memory";
  throw Failure(status, message.empty() ? "failed without a message" : message);
}

}  // namespace cli
