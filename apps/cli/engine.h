// The C API with owners and exceptions: what main.cc and the sub-commands call instead of bare handles.
#pragma once

#include <memory>
#include <nlohmann/json.hpp>
#include <optional>
#include <string>

#include "arguments.h"
#include "darkroom/darkroom.h"

namespace cli {

// The machine's side of a request. Where a flag is absent, its environment variable counts.
struct EngineOptions {
  std::optional<int> threads;         // else DARKROOM_THREADS
  std::optional<std::string> isa;     // else DARKROOM_ISA
  std::optional<std::string> device;  // else DARKROOM_DEVICE
  // Where embeddings are kept; unset: nowhere. add_embed_cache_flags() and find_embed_cache() set it.
  std::optional<std::string> embed_cache, embed_cache_size;
  bool no_embed_cache = false;
};

// -t; with --isa; with --device.
void add_threads_flag(Arguments& arguments, EngineOptions& options);
void add_cpu_flags(Arguments& arguments, EngineOptions& options);
void add_engine_flags(Arguments& arguments, EngineOptions& options);
// What the flag says, else the environment, else "cpu".
std::string chosen_device(const EngineOptions& options);
void add_embed_cache_flags(Arguments& arguments, EngineOptions& options);
// The folder of the flags, else that of the environment: $XDG_CACHE_HOME/darkroom/embeddings, else
// ~/.cache/darkroom/embeddings, else none; relative paths in the environment do not count. Errors:
// DARKROOM_USAGE for flags that contradict.
void find_embed_cache(EngineOptions& options);

// Owns a darkroom_engine. While it works in a call that can be cancelled, there is a CancelOnInterrupt.
class Engine {
 public:
  explicit Engine(const EngineOptions& options = {});
  ~Engine();
  Engine(const Engine&) = delete;
  Engine& operator=(const Engine&) = delete;

  darkroom_engine* get() const { return engine_; }
  // Throws Failure with the engine's last error unless `status` is DARKROOM_OK.
  void check(darkroom_status status) const;

 private:
  darkroom_engine* engine_ = nullptr;
};

struct ModelCloser {
  void operator()(darkroom_model* model) const { darkroom_close(model); }
};
using ModelHandle = std::unique_ptr<darkroom_model, ModelCloser>;

// Runs call(&text), checks its status and returns the JSON text that it hands out.
template <typename Call>
std::string take_text(const Engine& engine, Call call) {
  char* text = nullptr;
  const darkroom_status status = call(&text);
  const std::unique_ptr<char, void (*)(char*)> owner(text, darkroom_free);
  engine.check(status);
  return text ? text : "";
}

}  // namespace cli
