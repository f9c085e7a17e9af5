#include "engine.h"

#include <cstdlib>

#include "failure.h"

namespace cli {
namespace {

constexpr IntegerRange kThreads = {0, 1024};

std::optional<std::string> environment(const char* name) {
  const char* value = std::getenv(name);
  return value && *value ? std::optional<std::string>(value) : std::nullopt;
}

// The XDG base directory specification: relative paths there are to be ignored. A relative HOME would put the
// cache into whatever folder the program is started in.
std::optional<std::string> cache_folder(const std::string& name) {
  const auto cache = environment("XDG_CACHE_HOME"), home = environment("HOME");
  if (cache && cache->starts_with('/')) return *cache + "/darkroom/" + name;
  if (home && home->starts_with('/')) return *home + "/.cache/darkroom/" + name;
  return std::nullopt;
}

}  // namespace

void add_threads_flag(Arguments& arguments, EngineOptions& options) {
  arguments.add_integer(
      {"-t,--threads", "N", "Threads, 0 to 1024; 0: one per processor", "$DARKROOM_THREADS, else 0"},
      options.threads, kThreads);
}

void add_cpu_flags(Arguments& arguments, EngineOptions& options) {
  arguments.group("Machine");
  add_threads_flag(arguments, options);
  arguments.add_text(
      {"--isa", "NAME", "Instruction set: auto, scalar, sse4, avx2, avx512, avx512bf16, or neon (64-bit ARM)",
       "$DARKROOM_ISA, else auto"},
      options.isa);
}

void add_engine_flags(Arguments& arguments, EngineOptions& options) {
  add_cpu_flags(arguments, options);
  arguments.add_text(
      {"--device,--backend", "NAME",
       "Where to draw: cpu; gpu, the best graphics card; gpu:N or a part of a name of 'darkroom "
       "devices'; auto, a card if there is one with room; reference (slow, for checking)",
       "$DARKROOM_DEVICE, else cpu"},
      options.device);
}

std::string chosen_device(const EngineOptions& options) {
  return options.device ? *options.device : environment("DARKROOM_DEVICE").value_or("cpu");
}

void add_embed_cache_flags(Arguments& arguments, EngineOptions& options) {
  arguments.group("Embedding cache");
  arguments.add_text({"--embed-cache", "FOLDER", "Where texts' embeddings are kept",
                      "$XDG_CACHE_HOME/darkroom/embeddings, else ~/.cache/darkroom/embeddings"},
                     options.embed_cache);
  arguments.add_text({"--embed-cache-size", "SIZE", "At most so much of them", "256MiB"},
                     options.embed_cache_size);
  arguments.add_switch("--no-embed-cache", options.no_embed_cache, "Neither look there nor keep anything");
}

void find_embed_cache(EngineOptions& options) {
  if (options.no_embed_cache) {
    if (options.embed_cache)
      fail(DARKROOM_USAGE, "--embed-cache and --no-embed-cache are both given; leave one out");
    return;
  }
  if (!options.embed_cache) options.embed_cache = cache_folder("embeddings");
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
  const std::string device = chosen_device(options);
  c.backend = device.c_str();
  const std::optional<std::string> shaders = cache_folder("shaders");
  if (shaders) c.shader_cache = shaders->c_str();
  if (options.embed_cache) c.embed_cache = options.embed_cache->c_str();
  if (options.embed_cache_size) c.embed_cache_size = options.embed_cache_size->c_str();
  const darkroom_status status = darkroom_create(&c, &engine_);
  try {
    check(status);
  } catch (...) {
    darkroom_destroy(engine_);
    throw;
  }
}

Engine::~Engine() { darkroom_destroy(engine_); }

void Engine::check(darkroom_status status) const {
  if (status == DARKROOM_OK) return;
  const std::string message = engine_ ? darkroom_last_error(engine_) : "the system ran out of memory";
  throw Failure(status, message.empty() ? "failed without a message" : message);
}

}  // namespace cli
