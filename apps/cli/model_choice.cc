#include "model_choice.h"

#include <cstdlib>
#include <vector>

#include "failure.h"
#include "text.h"

namespace cli {
namespace {

namespace fs = std::filesystem;

bool is_model(const fs::path& folder) {
  std::error_code ignored;
  return fs::exists(folder / "model_index.json", ignored);
}

struct Found {
  fs::path folder;
  bool untrained = false;
};

Found find_default() {
  std::vector<fs::path> places;
  const char* assets = std::getenv("DARKROOM_ASSETS");
  if (assets && *assets) places.push_back(fs::path(assets) / "pinhole");
  std::error_code error;
  const fs::path program = fs::read_symlink("/proc/self/exe", error);
  const fs::path beside = program.parent_path().parent_path();
  if (!error) {
    places.push_back(beside / "assets" / "pinhole");
    places.push_back(beside / "share" / "darkroom" / "pinhole");
  }
  for (const fs::path& place : places) {
    if (is_model(place)) return {place};
  }
  const fs::path checkpoint = beside / "tests" / "fixtures" / "pipelines" / "dev_small";
  if (!error && is_model(checkpoint)) return {checkpoint, true};
  fail(DARKROOM_MODEL,
       "no model is given and none is installed; pass --model DIR (a FLUX.1 folder in diffusers layout), or "
       "set "
       "DARKROOM_ASSETS to the folder that holds pinhole/");
}

}  // namespace

void add_model_flags(Arguments& arguments, ModelOptions& options) {
  arguments.group("Model");
  arguments.add_text(
      {"-m,--model", "DIR", "A FLUX.1 folder in diffusers layout (default: the one that is installed)"},
      options.folder);
  arguments.add_text({"--dummy", "NAME", "Weights from a formula, no files: tiny, dev or schnell"},
                     options.dummy);
}

OpenedModel open_model(const Engine& engine, const ModelOptions& options) {
  if (options.folder && options.dummy)
    fail(DARKROOM_USAGE, "--model and --dummy are both given; leave one out");
  darkroom_model* model = nullptr;
  OpenedModel opened;
  if (options.dummy) {
    engine.check(darkroom_open_dummy(engine.get(), options.dummy->c_str(), &model));
  } else {
    const Found found = options.folder ? Found{*options.folder} : find_default();
    engine.check(darkroom_open(engine.get(), found.folder.c_str(), &model));
    opened.untrained = found.untrained;
  }
  opened.handle.reset(model);
  return opened;
}

void note_untrained(const OpenedModel& model, const std::string& what_happens) {
  if (model.untrained) write_note("no trained model is installed: " + what_happens);
}

}  // namespace cli
