// A small run with the CPU backend, and what came of it.
#pragma once

#include <atomic>
#include <string>
#include <vector>

#include "backends/registry.h"
#include "pipeline/decide.h"
#include "pipeline/pipeline.h"

namespace darkroom {

inline Request small_request(const std::string& weights = "as-stored") {
  Request request;
  request.prompt = "a red circle on the left";
  request.width = request.height = 64;
  request.steps = 3;
  request.seed = 9;
  request.max_text_tokens = 12;
  request.precision = "f32";  // nothing but the weights differs
  request.weights = weights;
  return request;
}

struct Drawn {
  Picture picture;
  std::vector<std::string> notes;
};

inline Drawn draw(const Checkpoint& model, const Request& request, Backend& backend) {
  const std::atomic<bool> cancel{false};
  Drawn drawn;
  Listeners listeners;
  listeners.on_picture = [&](const Picture& picture) { drawn.picture = picture; };
  listeners.on_note = [&](const std::string& note) { drawn.notes.push_back(note); };
  generate(model, backend, decide(request, model, machine_of(backend)), listeners, cancel);
  return drawn;
}

inline Drawn draw(const Checkpoint& model, const Request& request) {
  return draw(model, request, *make_backend({.name = "cpu", .isa = "auto", .threads = 2}));
}

}  // namespace darkroom
