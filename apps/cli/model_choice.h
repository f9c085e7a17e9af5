// Which model: --model, --dummy, or the one that comes with the program.
#pragma once

#include <filesystem>
#include <optional>
#include <string>

#include "engine.h"

namespace cli {

struct ModelOptions {
  std::optional<std::string> model;  // --model: a folder, or the name of one that is installed
  std::optional<std::string> dummy;  // --dummy
};

void add_model_flags(Arguments& arguments, ModelOptions& options);

struct OpenedModel {
  ModelHandle handle;
  bool untrained = false;  // the test checkpoint that stands in for a model
};

// Opens it. Throws Failure; DARKROOM_MODEL, with the places that were searched, when none is found.
OpenedModel open_model(const Engine& engine, const ModelOptions& options);

// Says on standard error that the model is the untrained stand-in, if it is.
void note_untrained(const OpenedModel& model, const std::string& what_happens);

}  // namespace cli
