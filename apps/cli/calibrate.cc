// darkroom calibrate: smoothing factors for a model that multiplies in 8 bits.
#include <fmt/format.h>

#include <nlohmann/json.hpp>

#include "command.h"
#include "engine.h"
#include "failure.h"
#include "interrupt.h"
#include "model_choice.h"
#include "output_name.h"
#include "progress.h"
#include "request_flags.h"
#include "text.h"
#include "text_file.h"

namespace cli {
namespace {

struct CalibrateOptions {
  ModelOptions model;
  std::optional<std::string> out, prompts, method;
  std::optional<double> alpha;
  Settings settings = Settings::object();
  EngineOptions engine;
  bool quiet = false;
};

// Of the options of a picture those that change what its values are, or what it costs.
constexpr const char* kOptions[] = {"width", "height",          "steps",     "guidance",
                                    "seed",  "max_text_tokens", "precision", "budget"};

void add_flags(Arguments& arguments, CalibrateOptions& options) {
  add_model_flags(arguments, options.model);
  arguments.group("Calibration");
  arguments.add_text(
      {"-o,--output", "FILE.safetensors", "The factors; a calibration that was stopped goes on"},
      options.out);
  arguments.add_text(
      {"--prompts", "FILE", "A prompt on each line; - is standard input", "some of the model's own, or 8"},
      options.prompts);
  arguments.add_text(
      {"--method", "NAME", "rms, smoothquant, ptq4dit, or weights, which draws nothing", "rms"},
      options.method);
  arguments.add_real(
      {"--alpha", "A", "How much of the values' salience moves into the weights, above 0 to 1", "0.5"},
      options.alpha, {1e-3, 1});
  for (const char* name : kOptions) add_request_flag(arguments, options.settings, name);
  arguments.add_switch("-q,--quiet", options.quiet, "Nothing on standard error but errors");
  add_embed_cache_flags(arguments, options.engine);
  add_engine_flags(arguments, options.engine);
  arguments.footer("Standard output gets FILE, for --smooth. docs/CLI.md has the details.");
}

// A JSON list of the lines that are not empty.
std::string prompts_of(const std::string& path) {
  constexpr std::size_t kMaxBytes = 16 << 20;
  const std::string text = read_text_file("--prompts", path, kMaxBytes);
  nlohmann::json lines = nlohmann::json::array();
  for (std::size_t first = 0; first < text.size();) {
    const std::size_t end = std::min(text.find('\n', first), text.size());
    const std::string line = text.substr(first, end - first);
    if (line.find_first_not_of(" \t\r") != std::string::npos) lines.push_back(line);
    first = end + 1;
  }
  if (lines.empty()) fail(DARKROOM_USAGE, "--prompts: {} has no prompt", path);
  return lines.dump();
}

// What the callbacks need.
struct Screen {
  Progress progress;
  CallbackProblem problem = {};
};

void show(Screen& screen, const darkroom_progress& event) {
  if (event.phase != DARKROOM_DENOISE) return;
  if (event.finished) {
    return screen.progress.line(
        fmt::format("picture {} of {}: {} steps, {}, {} of {} planned", event.picture + 1, event.pictures,
                    event.steps, seconds_text(event.phase_seconds), bytes_text(event.phase_peak_bytes),
                    bytes_text(event.planned_bytes)));
  }
  screen.progress.live(fmt::format("picture {} of {}, step {} of {}", event.picture + 1, event.pictures,
                                   event.step, event.steps));
}

}  // namespace

void run_calibrate(const Command& self, const std::vector<std::string>& arguments) {
  CalibrateOptions options;
  Arguments parser(self);
  add_flags(parser, options);
  if (!parser.parse(arguments)) return;
  if (!options.out) fail(DARKROOM_USAGE, "there is no name for the factors; pass -o FILE.safetensors");
  require_file_name("--output", *options.out);
  require_stdout();
  const std::string prompts = options.prompts ? prompts_of(*options.prompts) : std::string();
  const Engine engine(options.engine);
  const ModelHandle model = open_model(engine, options.model);
  Screen screen{.progress = Progress(progress_style(options.quiet))};
  OwnedRequest request(options.settings);
  request.c.on_progress = show_event<darkroom_progress, Screen, show>;
  request.c.on_note = show_note<Screen>;
  request.c.user = &screen;
  darkroom_calibration calibration;
  darkroom_calibration_init(&calibration);
  calibration.request = &request.c;
  calibration.out = options.out->c_str();
  if (options.prompts) calibration.prompts = prompts.c_str();
  if (options.method) calibration.method = options.method->c_str();
  if (options.alpha) calibration.alpha = *options.alpha;
  const darkroom_status status =
      cancellable(engine.get(), [&] { return darkroom_calibrate(engine.get(), model.get(), &calibration); });
  screen.problem.rethrow();
  engine.check(status);
  write_stdout(*options.out + "\n");
}

}  // namespace cli
