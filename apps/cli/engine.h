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
  std::optional<int> threads;      // else DARKROOM_THREADS
  std::optional<std::string> isa;  // else DARKROOM_ISA
  std::optional<std::string> backend;
};

void add_engine_flags(Arguments& arguments, EngineOptions& options);

// Owns a darkroom_engine. Ctrl-C reaches the engine that was made last, while it lives.
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
