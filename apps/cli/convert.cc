// darkroom convert: a model becomes another folder with its weights in other numbers.
#include <fmt/format.h>

#include <utility>

#include "command.h"
#include "engine.h"
#include "failure.h"
#include "interrupt.h"
#include "model_choice.h"
#include "output_name.h"
#include "progress.h"
#include "text.h"

namespace cli {
namespace {

struct ConvertOptions {
  std::optional<std::string> in, out, dummy, weights, text_weights, shard_size;
  EngineOptions engine;
  bool quiet = false;
};

void add_flags(Arguments& arguments, ConvertOptions& options) {
  arguments.add_text({"in", "IN", "A FLUX.1 folder in diffusers layout, or an installed model's name"},
                     options.in);
  arguments.add_text({"out", "OUT", "The new folder; it must not exist"}, options.out);
  arguments.add_text({"--dummy", "NAME", "Instead of IN, weights from a formula: tiny, dev or schnell"},
                     options.dummy);
  arguments.add_text({"--weights", "KIND", "Of the transformer: bf16, fp8, fp8-scaled or int8"},
                     options.weights);
  arguments.add_text({"--text-weights", "KIND", "Of the text encoders; the same kinds", "bf16"},
                     options.text_weights);
  arguments.add_text({"--shard-size", "SIZE", "At most so much in a file, such as 2GiB", "5GB"},
                     options.shard_size);
  arguments.add_switch("-q,--quiet", options.quiet, "Nothing on standard error but errors");
  add_threads_flag(arguments, options.engine);
  arguments.footer("Standard output gets the name of the new folder. docs/CLI.md has the details.");
}

// Puts the names where they belong: with --dummy there is no IN.
void settle(ConvertOptions& options) {
  if (options.dummy) {
    if (options.in && options.out)
      fail(DARKROOM_USAGE, "{} and --dummy are both given; leave one out", *options.in);
    options.out = std::exchange(options.in, std::nullopt);
  }
  if (!options.in && !options.dummy) fail(DARKROOM_USAGE, "there is no model to convert; pass IN and OUT");
  if (!options.out) fail(DARKROOM_USAGE, "there is no name for the new folder; pass OUT after the model");
  require_file_name("OUT", *options.out);
  if (!options.weights) {
    fail(DARKROOM_USAGE, "there is no kind of weights; pass --weights bf16, fp8, fp8-scaled or int8");
  }
}

// What the callbacks need.
struct Screen {
  Progress progress;
  CallbackProblem problem = {};
  darkroom_convert_progress last{};
};

void show(Screen& screen, const darkroom_convert_progress& event) {
  screen.last = event;
  screen.last.part = nullptr;  // valid during the callback only
  if (event.finished) {
    return screen.progress.line(fmt::format("{}: {} in {} file{}", event.part, bytes_text(event.part_bytes),
                                            event.files, event.files == 1 ? "" : "s"));
  }
  const double left = event.bytes_written == 0
                          ? 0
                          : event.seconds * static_cast<double>(event.bytes_all - event.bytes_written) /
                                static_cast<double>(event.bytes_written);
  screen.progress.live(fmt::format("{}  {} of {}  ETA {}", event.part, bytes_text(event.bytes_written),
                                   bytes_text(event.bytes_all), clock_text(left)));
}

int on_progress(const darkroom_convert_progress* event, void* user) {
  Screen& screen = *static_cast<Screen*>(user);
  return screen.problem.guard([&] {
    show(screen, *event);
    return 0;
  });
}

void on_note(const char* text, void* user) {
  Screen& screen = *static_cast<Screen*>(user);
  screen.problem.guard([&] { return screen.progress.note(text), 0; });
}

}  // namespace

void run_convert(const Command& self, const std::vector<std::string>& arguments) {
  ConvertOptions options;
  Arguments parser(self);
  add_flags(parser, options);
  if (!parser.parse(arguments)) return;
  settle(options);
  require_stdout();
  const Engine engine(options.engine);
  const ModelHandle model = open_model(engine, {.model = options.in, .dummy = options.dummy});
  Screen screen{.progress = Progress(progress_style(options.quiet))};
  darkroom_conversion conversion;
  darkroom_conversion_init(&conversion);
  conversion.out = options.out->c_str();
  conversion.weights = options.weights->c_str();
  if (options.text_weights) conversion.text_weights = options.text_weights->c_str();
  if (options.shard_size) conversion.shard_size = options.shard_size->c_str();
  conversion.on_progress = on_progress;
  conversion.on_note = on_note;
  conversion.user = &screen;
  const darkroom_status status =
      cancellable(engine.get(), [&] { return darkroom_convert(engine.get(), model.get(), &conversion); });
  screen.problem.rethrow();
  engine.check(status);
  screen.progress.line(fmt::format("all: {}, {}, peak {}", bytes_text(screen.last.bytes_written),
                                   seconds_text(screen.last.seconds), bytes_text(screen.last.peak_bytes)));
  write_stdout(*options.out + "\n");
}

}  // namespace cli
