#include "draw_options.h"

#include <fmt/ranges.h>

#include <algorithm>
#include <filesystem>
#include <nlohmann/json.hpp>

#include "failure.h"
#include "text.h"
#include "text_file.h"

namespace cli {
namespace {

using nlohmann::json;

// Takes json[key] unless the option is set or the recipe says nothing: no key, null, an empty text or list.
template <typename T>
void fill(std::optional<T>& option, const json& recipe, const char* key) {
  const auto found = recipe.find(key);
  if (option || found == recipe.end() || found->is_null() || found->empty()) return;
  if (found->is_string() && found->get_ref<const std::string&>().empty()) return;
  option = found->get<T>();
}

}  // namespace

void add_size_flags(Arguments& arguments, DrawOptions& options) {
  arguments.group("Picture");
  arguments.add_integer(
      {"-W,--width", "N", "Pixels, a multiple of 16 (default: the model's own; FLUX.1 1024)"}, options.width,
      {1, 65536});
  arguments.add_integer({"-H,--height", "N", "Pixels, likewise"}, options.height, {1, 65536});
  arguments.add_integer({"--steps", "N", "Default: the model's own; schnell 4, dev 28"}, options.steps,
                        {1, 1000});
  arguments.add_reals({"--sigmas", "A,B,..", "Noise levels, falling, instead of --steps"}, options.sigmas,
                      {0, 1});
  arguments.add_text({"--init", "FILE.png", "Start from this picture, under noise"}, options.init);
  arguments.add_text({"--mask", "FILE.png", "White: draw anew; black: keep what --init has"}, options.mask);
  arguments.add_real(
      {"--strength", "S", "Part of the steps taken from --init on, above 0 to 1 (default 0.6)"},
      options.strength, {0, 1});
  arguments.add_text({"--sampler", "NAME", "euler (default), heun, dpm++2m, ipndm or euler-a"},
                     options.sampler);
  arguments.add_text({"--spacing", "NAME", "Of the noise levels: simple (default), beta or karras"},
                     options.spacing);
  arguments.add_text(
      {"--cache", "NAME",
       "Steps that change little leave blocks out: off (default), light, balanced, fast, fbcache:T, .."},
      options.cache);
  arguments.add_real(
      {"-g,--guidance", "G", "Distilled guidance (default: the model's own; dev 3.5, schnell has none)"},
      options.guidance, {0, 1000});
  arguments.add_text({"--negative", "TEXT", "What not to draw; needs a cfg above 1"}, options.negative);
  arguments.add_real(
      {"--cfg", "S",
       "True classifier-free guidance, twice the work; 1: off (default: the model's own; FLUX.1 1)"},
      options.cfg, {1, 100});
  arguments.add_text(
      {"--guidance-schedule", "NAME",
       "Guidance over the steps: constant, triangle, cosine, linear, scales as 1,4.5,1, or a file of them"},
      options.guidance_schedule);
  arguments.add_text({"--guidance-interval", "A,B",
                      "Guided part of the steps, as 0.1,0.8, or of the noise levels, as sigma:0.3,0.9"},
                     options.guidance_interval);
  arguments.add_text(
      {"--cfg-method", "NAME", "plain (default), rescale[:SHARE], zero-star or apg[:PARALLEL[,MOMENTUM]]"},
      options.cfg_method);
  arguments.add_text(
      {"--threshold", "P", "Dynamic thresholding under cfg: [all:]PERCENTILE[,MIMIC], as 99.5 (default off)"},
      options.threshold);
  arguments.add_integer({"--max-text-tokens", "N",
                         "Length the prompt is cut to (default: the model's own; schnell 256, dev 512)"},
                        options.max_text_tokens, {1, 4096});
  arguments.add_text({"--precision", "NAME", "auto (default: as the weights are stored), f32 or bf16"},
                     options.precision);
  arguments.add_text(
      {"--weights", "NAME",
       "auto, or what the transformer's matrices become: bf16, fp8, fp8-scaled, int8 (default as-stored)"},
      options.weights);
  arguments.add_text(
      {"--budget", "SIZE", "Memory to stay within: 12GiB, 8G, 6000MiB (default auto: what is free)"},
      options.budget);
}

void read_schedule_file(DrawOptions& options) {
  constexpr std::string_view kCurves[] = {"constant", "triangle", "cosine", "linear"};
  constexpr std::size_t kMaxBytes = 64 << 10;
  if (!options.guidance_schedule) return;
  std::string& schedule = *options.guidance_schedule;
  const bool is_list = schedule.find_first_not_of("0123456789.,e+ \t\r\n") == std::string::npos;
  if (is_list || std::ranges::find(kCurves, schedule) != std::end(kCurves)) return;
  std::error_code unreadable;
  if (!std::filesystem::exists(schedule, unreadable)) {
    fail(DARKROOM_USAGE,
         "--guidance-schedule is '{}': no such file; there are {}, scales as 1,4.5,1, and files of them",
         printable(schedule), fmt::join(kCurves, ", "));
  }
  const std::string path = schedule;
  schedule = read_text_file("--guidance-schedule", path, kMaxBytes);
  require_text("--guidance-schedule " + path, schedule);
}

darkroom_request to_request(const DrawOptions& options) {
  darkroom_request request;
  darkroom_request_init(&request);
  const auto text = [](const std::optional<std::string>& option) {
    return option ? option->c_str() : nullptr;
  };
  request.prompt = options.prompt ? options.prompt->c_str() : "";
  request.negative = text(options.negative);
  request.cfg = options.cfg.value_or(request.cfg);
  request.guidance = options.guidance.value_or(request.guidance);
  request.sampler = text(options.sampler);
  request.spacing = text(options.spacing);
  request.cache = text(options.cache);
  request.guidance_schedule = text(options.guidance_schedule);
  request.guidance_interval = text(options.guidance_interval);
  request.cfg_method = text(options.cfg_method);
  request.threshold = text(options.threshold);
  request.width = options.width.value_or(request.width);
  request.height = options.height.value_or(request.height);
  request.steps = options.steps.value_or(request.steps);
  if (options.sigmas) {
    request.sigmas = options.sigmas->data();
    request.sigma_count = static_cast<int>(options.sigmas->size());
  }
  request.max_text_tokens = options.max_text_tokens.value_or(request.max_text_tokens);
  request.has_seed = options.seed ? 1 : 0;
  request.seed = options.seed.value_or(0);
  request.count = options.count.value_or(request.count);
  request.precision = text(options.precision);
  request.weights = text(options.weights);
  request.budget = text(options.budget);
  request.scratch = text(options.scratch);
  request.rng = text(options.rng);
  request.noise_path = text(options.noise);
  request.init_path = text(options.init);
  request.mask_path = text(options.mask);
  request.strength = options.strength.value_or(request.strength);
  request.sheet_columns = options.columns.value_or(request.sheet_columns);
  return request;
}

void require_text(const std::string& what, const std::string& text) {
  if (const auto at = first_invalid_utf8(text)) {
    fail(DARKROOM_USAGE, "{} is not UTF-8: byte 0x{:02x} at offset {}", what,
         static_cast<unsigned char>(text[*at]), *at);
  }
  const std::size_t zero = text.find('\0');
  if (zero != std::string::npos) fail(DARKROOM_USAGE, "{} holds a zero byte at offset {}", what, zero);
}

void fill_from_recipe(DrawOptions& options, const std::string& recipe, const std::string& where) {
  try {
    const json object = json::parse(recipe);
    // Steps, spacing and sigmas say the same thing twice: what the user gives drops those of the recipe.
    if (!options.sigmas && !options.steps) {
      if (!options.spacing) fill(options.sigmas, object, "sigmas");
      if (!options.sigmas) fill(options.steps, object, "steps");
    }
    fill(options.prompt, object, "prompt");
    fill(options.negative, object, "negative");
    // Recipes leave empty texts out. With cfg above 1 there was a negative prompt, if an empty one.
    if (!options.negative && object.value("cfg", 1.0) > 1) options.negative = "";
    fill(options.cfg, object, "cfg");
    fill(options.guidance, object, "guidance");
    fill(options.sampler, object, "sampler");
    fill(options.cache, object, "cache");
    if (!options.sigmas) fill(options.spacing, object, "spacing");
    // They belong to true CFG where that ran; not to what is left when the user turns it on or off.
    if ((object.value("cfg", 1.0) > 1) == (options.cfg.value_or(1) > 1)) {
      fill(options.guidance_schedule, object, "guidance_schedule");
      fill(options.guidance_interval, object, "guidance_interval");
    }
    fill(options.cfg_method, object, "cfg_method");
    fill(options.threshold, object, "threshold");
    // It belongs to the picture that the recipe started from, which is no part of it.
    if (options.init) fill(options.strength, object, "strength");
    fill(options.width, object, "width");
    fill(options.height, object, "height");
    fill(options.max_text_tokens, object, "max_text_tokens");
    fill(options.precision, object, "precision");
    fill(options.weights, object, "weights");
    fill(options.rng, object, "rng");
    fill(options.seed, object, "seed");
    if (object.value("pictures", 0) > 1) {
      options.sheet = true;
      // Columns that suited the sheet need not suit another number of pictures.
      if (!options.count) fill(options.columns, object, "columns");
      fill(options.count, object, "pictures");
    }
    // An empty prompt is a prompt, too.
    if (!options.prompt) options.prompt = "";
  } catch (const json::exception& e) {
    fail(DARKROOM_FAILURE, "{}: the recipe cannot be read: {}", where, e.what());
  }
}

}  // namespace cli
