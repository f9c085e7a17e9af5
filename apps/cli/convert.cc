// darkroom convert: a model becomes another folder or file, in another layout, with its weights in other numbers.
#include <fmt/format.h>

#include <utility>

#include "command.h"
#include "engine.h"
#include "failure.h"
#include "interrupt.h"
#include "model_choice.h"
#include "output_name.h"
#include "progress.h"
#include "request_flags.h"
#include "text.h"

namespace cli {
namespace {

struct ConvertOptions {
  ModelOptions model;
  std::optional<std::string> out, layout, parts, weights, text_weights, shard_size, smooth;
  Settings settings = Settings::object();  // its LoRAs
  EngineOptions engine;
  bool quiet = false;
};

void add_flags(Arguments& arguments, ConvertOptions& options) {
  arguments.add_text({"in", "IN", "A FLUX.1 model: a folder, a file, or an installed model's name"},
                     options.model.model);
  arguments.add_text({"out", "OUT", "The new folder or file; it must not exist"}, options.out);
  arguments.add_text({"--clip", "PATH", "CLIP-L from this file or folder"}, options.model.clip);
  arguments.add_text({"--t5", "PATH", "T5 from this file or folder"}, options.model.t5);
  arguments.add_text({"--vae", "PATH", "The VAE from this file or folder"}, options.model.vae);
  arguments.add_text({"--dummy", "NAME", "Instead of IN, weights from a formula: tiny, dev or schnell"},
                     options.model.dummy);
  arguments.add_text(
      {"--layout", "LAYOUT", "diffusers (a folder), single (one .safetensors) or gguf", "diffusers"},
      options.layout);
  arguments.add_text({"--parts", "LIST", "Only some of transformer,clip,t5,vae", "all"}, options.parts);
  arguments.add_text(
      {"--weights", "KIND",
       "Of the transformer: as-stored, bf16, f16, fp8, fp8-scaled, int8; for gguf also q8_0, q6_k, "
       "q5_k, q4_k, q3_k, q2_k, q5_1, q5_0, q4_1, q4_0",
       "as-stored where another flag says what changes"},
      options.weights);
  arguments.add_text(
      {"--text-weights", "KIND", "Of the text encoders; the same kinds", "bf16; as-stored if --weights is"},
      options.text_weights);
  arguments.add_repeated(
      {"--lora", "FILE[:S]", "Add this LoRA, S times, to the weights; may be repeated", "S 1"},
      option_reader(options.settings, "loras"));
  arguments.add_text(
      {"--smooth", "FILE",
       "With --weights int8: divide the weights by these factors of 'darkroom calibrate', which "
       "are written beside them"},
      options.smooth);
  arguments.add_text({"--shard-size", "SIZE", "At most so much in a file of a folder, such as 2GiB", "5GB"},
                     options.shard_size);
  arguments.add_switch("-q,--quiet", options.quiet, "Nothing on standard error but errors");
  add_threads_flag(arguments, options.engine);
  arguments.footer("Standard output gets OUT. docs/CLI.md has the details.");
}

// Puts the names where they belong: with --dummy there is no IN.
void settle(ConvertOptions& options) {
  std::optional<std::string>& in = options.model.model;
  if (options.model.dummy) {
    if (in && options.out) fail(DARKROOM_USAGE, "{} and --dummy are both given; leave one out", *in);
    options.out = std::exchange(in, std::nullopt);
  }
  if (!in && !options.model.dummy) fail(DARKROOM_USAGE, "there is no model to convert; pass IN and OUT");
  if (!options.out)
    fail(DARKROOM_USAGE, "there is no name for the new folder or file; pass OUT after the model");
  require_file_name("OUT", *options.out);
  const bool changes = options.layout || options.parts || options.text_weights || !options.settings.empty();
  if (!options.weights && !changes) {
    fail(DARKROOM_USAGE, "there is no kind of weights; pass --weights as-stored, bf16, fp8, int8 or another");
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

}  // namespace

void run_convert(const Command& self, const std::vector<std::string>& arguments) {
  ConvertOptions options;
  Arguments parser(self);
  add_flags(parser, options);
  if (!parser.parse(arguments)) return;
  settle(options);
  require_stdout();
  const Engine engine(options.engine);
  const ModelHandle model = open_model(engine, options.model);
  Screen screen{.progress = Progress(progress_style(options.quiet))};
  darkroom_conversion conversion;
  darkroom_conversion_init(&conversion);
  conversion.out = options.out->c_str();
  const std::string weights = options.weights.value_or("as-stored"),
                    loras = options.settings.value("loras", Settings::array()).dump();
  conversion.weights = weights.c_str();
  conversion.loras = loras.c_str();
  if (options.layout) conversion.layout = options.layout->c_str();
  if (options.parts) conversion.parts = options.parts->c_str();
  if (options.text_weights) conversion.text_weights = options.text_weights->c_str();
  if (options.smooth) conversion.smooth = options.smooth->c_str();
  if (options.shard_size) conversion.shard_size = options.shard_size->c_str();
  conversion.on_progress = show_event<darkroom_convert_progress, Screen, show>;
  conversion.on_note = show_note<Screen>;
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
