// darkroom generate: a prompt becomes a PNG.
#include <unistd.h>

#include <cerrno>
#include <chrono>
#include <cstring>
#include <filesystem>
#include <iterator>
#include <nlohmann/json.hpp>

#include "command.h"
#include "engine.h"
#include "failure.h"
#include "interrupt.h"
#include "model_choice.h"
#include "output_name.h"
#include "preview.h"
#include "progress.h"
#include "request_flags.h"
#include "text.h"
#include "text_file.h"

namespace cli {
namespace {

using nlohmann::json;
using Clock = std::chrono::steady_clock;

struct GenerateOptions {
  Settings settings = Settings::object();
  ModelOptions model;
  EngineOptions engine;
  std::optional<std::string> prompt_file, like, output, save_latents, preview;
  std::optional<int> preview_every;
  bool overwrite = false, no_metadata = false, quiet = false;
};

void add_flags(Arguments& arguments, GenerateOptions& options) {
  arguments.group("Prompt");
  arguments.add_text({"--prompt-file", "FILE", "Read the prompt from a file; - is standard input"},
                     options.prompt_file);
  arguments.add_text({"--like", "FILE", "Repeat the recipe of a picture; flags that are given win"},
                     options.like);
  add_model_flags(arguments, options.model);
  add_request_flags(arguments, options.settings);
  arguments.group("Results");
  arguments.add_text({"-o,--output", "FILE.png", "Name or existing folder; {seed} and {index} are replaced",
                      "darkroom-{seed}.png; of a sheet darkroom-{seed}-sheet.png"},
                     options.output);
  arguments.add_text(
      {"--save-latents", "FILE.safetensors", "Also write the final latents; named like the picture"},
      options.save_latents);
  arguments.add_text(
      {"--preview", "TARGET", "Rough pictures while it is drawn: terminal, or the name of a FILE.png"},
      options.preview);
  arguments.add_integer({"--preview-every", "N", "Steps from one preview to the next, 1 to 1000", "1"},
                        options.preview_every, {1, 1000});
  arguments.add_switch("--overwrite", options.overwrite,
                       "Replace existing files instead of adding -2, -3, ..");
  arguments.add_switch("--no-metadata", options.no_metadata, "Leave the recipe out of the PNG");
  arguments.add_switch("-q,--quiet", options.quiet, "Nothing on standard error but errors");
  add_embed_cache_flags(arguments, options.engine);
  add_engine_flags(arguments, options.engine);
  arguments.footer(
      "Standard output gets the paths of the pictures, one a line. docs/CLI.md has the details.");
}

// What another program did, and darkroom cannot.
void note_not_repeated(const json& about, const std::string& path, Progress& progress) {
  for (const json& note : about.value("notes", json::array())) {
    progress.note(path + ": " + note.get<std::string>());
  }
  const auto list = about.value("not_repeated", std::vector<std::string>());
  if (!list.empty()) progress.note(fmt::format("{}: not repeated: {}", path, fmt::join(list, ", ")));
}

// --like: fills the options. Returns the name of the recipe's model, "" if it has none.
std::string repeat_recipe(const Engine& engine, GenerateOptions& options, Progress& progress) {
  const std::string& path = *options.like;
  const std::string recipe =
      take_text(engine, [&](char** text) { return darkroom_read_recipe(engine.get(), path.c_str(), text); });
  fill_from_recipe(engine, options.settings, recipe);
  const json about = json::parse(
      take_text(engine, [&](char** text) { return darkroom_info(engine.get(), path.c_str(), text); }));
  note_not_repeated(about, path, progress);
  const int width = about.value("width", 0), height = about.value("height", 0);
  const int drawn_width = about.value("drawn_width", width),
            drawn_height = about.value("drawn_height", height);
  if (width != drawn_width || height != drawn_height) {
    progress.note(fmt::format("{} is {}x{}, but was drawn as {}x{}: it was resized", path, width, height,
                              drawn_width, drawn_height));
  }
  const json object = json::parse(recipe);
  if (object.contains("noise") && !options.settings.contains("noise")) {
    progress.note(
        fmt::format("{} was drawn from the initial latents in '{}'; without --noise this is another picture",
                    path, object.value("noise", "")));
  }
  const std::string smooth = object.value("smooth", "off");
  if (smooth != "off" && smooth != "auto" && !options.settings.contains("smooth")) {
    progress.note(fmt::format(
        "{} was drawn with the smoothing factors in '{}'; without --smooth this is another picture", path,
        smooth));
  }
  if (object.contains("init") && !options.settings.contains("init")) {
    progress.note(fmt::format("{} was drawn over the picture '{}'; without --init this is another picture",
                              path, object.value("init", "")));
  } else if (object.contains("mask") && !options.settings.contains("mask")) {
    progress.note(fmt::format("{} was drawn within the mask '{}'; without --mask this is another picture",
                              path, object.value("mask", "")));
  }
  return object.value("model", "");
}

void decide_prompt(GenerateOptions& options) {
  if (options.prompt_file) {
    if (options.settings.contains("prompt"))
      fail(DARKROOM_USAGE, "--prompt and --prompt-file are both given; leave one out");
    constexpr std::size_t kMaxPromptBytes = 1 << 20;  // as the library allows
    options.settings["prompt"] = read_text_file("--prompt-file", *options.prompt_file, kMaxPromptBytes);
  }
  if (!options.settings.contains("prompt") && !options.like) {
    fail(DARKROOM_USAGE, "there is no prompt; pass one: darkroom generate -p \"a red circle\"");
  }
}

bool is_sheet(const GenerateOptions& options) { return options.settings.value("sheet", false); }

// One run: the callbacks of the engine and what they need.
class Run {
 public:
  Run(const Engine& engine, const GenerateOptions& options, Progress& progress, Preview& preview)
      : engine_(engine),
        options_(options),
        progress_(progress),
        preview_(preview),
        pictures_("--output", options.output.value_or("./"),
                  is_sheet(options) ? "darkroom-{seed}-sheet.png" : "darkroom-{seed}.png", ".png",
                  options.overwrite) {
    if (options.save_latents) {
      latents_.emplace("--save-latents", *options.save_latents, "darkroom-{seed}.safetensors", ".safetensors",
                       options.overwrite);
    }
  }

  void draw(const ModelHandle& model);

 private:
  void finish_picture(const darkroom_picture& picture);
  void finish_sheet(const darkroom_picture& sheet);
  // Returns the path.
  std::string save_png(const darkroom_picture& picture);
  void save_latents(const darkroom_picture& picture);
  static int on_progress(const darkroom_progress* event, void* self);
  static int on_picture(const darkroom_picture* picture, void* self);
  static int on_sheet(const darkroom_picture* sheet, void* self);
  static int on_preview(const darkroom_preview* preview, void* self);
  static void on_note(const char* text, void* self);

  const Engine& engine_;
  const GenerateOptions& options_;
  Progress& progress_;
  Preview& preview_;
  OutputName pictures_;
  std::optional<OutputName> latents_;
  Clock::time_point start_ = Clock::now(), picture_start_ = Clock::now();
  CallbackProblem problem_;
};

void Run::draw(const ModelHandle& model) {
  OwnedRequest owned(options_.settings);
  darkroom_request& request = owned.c;
  request.on_progress = on_progress;
  request.on_picture = on_picture;
  if (is_sheet(options_)) request.on_sheet = on_sheet;
  if (preview_.is_wanted()) request.on_preview = on_preview;
  request.preview_every = options_.preview_every.value_or(1);
  request.on_note = on_note;
  request.user = this;
  const darkroom_status status =
      cancellable(engine_.get(), [&] { return darkroom_generate(engine_.get(), model.get(), &request); });
  problem_.rethrow();
  engine_.check(status);
  const int count = options_.settings.value("count", 1);
  if (count > 1) {
    const std::chrono::duration<double> seconds = Clock::now() - start_;
    progress_.line(fmt::format("{} pictures, {}, peak {}", count, seconds_text(seconds.count()),
                               bytes_text(progress_.peak_bytes())));
  }
}

void Run::save_latents(const darkroom_picture& picture) {
  darkroom_status status = DARKROOM_OK;
  const std::string path = latents_->save(
      picture.seed, picture.index,
      [&](const std::string& name, int overwrite) {
        return darkroom_save_latents(engine_.get(), &picture, name.c_str(), overwrite);
      },
      &status);
  engine_.check(status);
  progress_.line("latents: " + path);
}

std::string Run::save_png(const darkroom_picture& picture) {
  darkroom_status status = DARKROOM_OK;
  const std::string path = pictures_.save(
      picture.seed, picture.index,
      [&](const std::string& name, int overwrite) {
        return darkroom_save_png(engine_.get(), &picture, name.c_str(), options_.no_metadata ? 0 : 1,
                                 overwrite);
      },
      &status);
  engine_.check(status);
  return path;
}

void Run::finish_picture(const darkroom_picture& picture) {
  if (latents_) save_latents(picture);
  const std::string path = is_sheet(options_) ? "" : save_png(picture);
  const Clock::time_point now = Clock::now();
  const std::chrono::duration<double> seconds = now - picture_start_;
  picture_start_ = now;
  const json recipe = json::parse(picture.recipe);
  const std::string strength =
      recipe.contains("strength") ? fmt::format(", strength {}", recipe.value("strength", 0.0)) : "";
  progress_.line(fmt::format("seed {}, {}x{}, {} steps{}, {}, peak {}", picture.seed, picture.width,
                             picture.height, recipe.value("steps", 0), strength,
                             seconds_text(seconds.count()), bytes_text(progress_.peak_bytes())) +
                 (progress_.text_cached() ? ", text from the cache" : ""));
  if (!path.empty()) write_stdout(path + "\n");
}

void Run::finish_sheet(const darkroom_picture& sheet) {
  const std::string path = save_png(sheet);
  progress_.line(fmt::format("sheet: {}x{}", sheet.width, sheet.height));
  write_stdout(path + "\n");
}

int Run::on_progress(const darkroom_progress* event, void* self) {
  Run& run = *static_cast<Run*>(self);
  return run.problem_.guard([&] {
    run.progress_.on_event(*event);
    return 0;
  });
}

int Run::on_picture(const darkroom_picture* picture, void* self) {
  Run& run = *static_cast<Run*>(self);
  return run.problem_.guard([&] { return run.finish_picture(*picture), 0; });
}

int Run::on_sheet(const darkroom_picture* sheet, void* self) {
  Run& run = *static_cast<Run*>(self);
  return run.problem_.guard([&] { return run.finish_sheet(*sheet), 0; });
}

int Run::on_preview(const darkroom_preview* preview, void* self) {
  Run& run = *static_cast<Run*>(self);
  return run.problem_.guard([&] { return run.preview_.show(*preview, run.engine_), 0; });
}

void Run::on_note(const char* text, void* self) {
  Run& run = *static_cast<Run*>(self);
  run.problem_.guard([&] { return run.progress_.note(text), 0; });
}

void require_readable(const char* flag, const std::optional<std::string>& path, darkroom_status otherwise) {
  if (path && access(path->c_str(), R_OK) != 0) {
    fail(otherwise, "{} {}: {}", flag, printable(*path), std::strerror(errno));
  }
}

// Previews replace their file without asking, so it must not be one that the run reads or writes.
void require_own_file(const std::optional<std::string>& preview, const char* flag,
                      const std::optional<std::string>& path) {
  if (!preview || !path) return;
  std::error_code absent;
  const std::filesystem::path a = *preview, b = *path;
  if (a.lexically_normal() == b.lexically_normal() || std::filesystem::equivalent(a, b, absent)) {
    fail(DARKROOM_USAGE, "--preview and {} are both {}; previews need a file of their own", flag,
         printable(*path));
  }
}

std::optional<std::string> path_of(const GenerateOptions& options, const char* name) {
  if (!options.settings.contains(name)) return std::nullopt;
  return text_of(options.settings, name);
}

void note_other_model(const ModelHandle& model, const std::string& recipe_model, Progress& progress,
                      const std::string& path) {
  const std::string name = darkroom_model_name(model.get());
  if (recipe_model.empty() || recipe_model == name) return;
  progress.note(fmt::format("{} was drawn with the model '{}', this is '{}': expect another picture", path,
                            recipe_model, name));
}

}  // namespace

void run_generate(const Command& self, const std::vector<std::string>& arguments) {
  GenerateOptions options;
  Arguments parser(self);
  add_flags(parser, options);
  if (!parser.parse(arguments)) return;
  const ProgressStyle style = progress_style(options.quiet);
  Progress progress(style);
  decide_prompt(options);
  if (options.preview_every && !options.preview) fail(DARKROOM_USAGE, "--preview-every needs --preview");
  require_own_file(options.preview, "--init", path_of(options, "init"));
  require_own_file(options.preview, "--mask", path_of(options, "mask"));
  require_own_file(options.preview, "--like", options.like);
  require_own_file(options.preview, "--output", options.output);
  settle_texts(options.settings);
  find_embed_cache(options.engine);
  Preview preview(options.preview, style, progress);
  const Engine engine(options.engine);
  const std::string recipe_model = options.like ? repeat_recipe(engine, options, progress) : "";
  if (options.settings.contains("columns") && !is_sheet(options))
    fail(DARKROOM_USAGE, "--columns needs --sheet");
  // Whatever can be wrong without the model is found before the model is read.
  require_stdout();
  Run run(engine, options, progress, preview);
  require_readable("--noise", path_of(options, "noise"), DARKROOM_MODEL);
  require_readable("--init", path_of(options, "init"), DARKROOM_USAGE);
  require_readable("--mask", path_of(options, "mask"), DARKROOM_USAGE);
  const ModelHandle model = open_model(engine, options.model);
  if (options.like) note_other_model(model, recipe_model, progress, *options.like);
  run.draw(model);
}

}  // namespace cli
