// The C API: the only place that turns exceptions into status codes. Each function checks its arguments,
// calls the room that does the work, and reports.
#include <algorithm>
#include <atomic>
#include <chrono>
#include <cmath>
#include <cstdlib>
#include <cstring>
#include <new>
#include <nlohmann/json.hpp>
#include <string>
#include <string_view>

#include "api/structs.h"
#include "backends/registry.h"
#include "backends/vulkan/vulkan.h"
#include "base/error.h"
#include "base/json.h"
#include "base/threads.h"
#include "bench/bench.h"
#include "calibrate/calibrate.h"
#include "convert/convert.h"
#include "darkroom/darkroom.h"
#include "image/found_recipe.h"
#include "image/png.h"
#include "image/recipe.h"
#include "memory/budget.h"
#include "memory/peak.h"
#include "options/request_json.h"
#include "pipeline/inspect.h"
#include "pipeline/latents_file.h"
#include "pipeline/pipeline.h"
#include "pipeline/plan.h"
#include "selftest/self_test.h"

using darkroom::Error;
using darkroom::ErrorCode;
using darkroom::fail;
using darkroom::require;
using darkroom::ThreadPool;
using darkroom::api::whole;

struct darkroom_model {
  darkroom::Checkpoint model;
  std::string folder;  // where it was opened; empty for a dummy
};

struct darkroom_engine {
  darkroom::BackendOptions backend_options;
  darkroom::EmbedCacheOptions embeddings;
  std::unique_ptr<darkroom::Backend> backend;
  bool automatic_backend = false;  // the cpu takes over where the card cannot
  std::string last_error;
  std::atomic<bool> cancel{false};
  bool working = false;  // in a call that darkroom_cancel() stops
};

namespace {

darkroom_phase phase_of(darkroom::Phase phase) {
  switch (phase) {
    case darkroom::Phase::kEncodePicture:
      return DARKROOM_ENCODE_PICTURE;
    case darkroom::Phase::kEncodeClip:
    case darkroom::Phase::kEncodeT5:
      return DARKROOM_ENCODE_TEXT;
    case darkroom::Phase::kModulate:
      return DARKROOM_MODULATE;
    case darkroom::Phase::kDenoise:
      return DARKROOM_DENOISE;
    case darkroom::Phase::kDecode:
      break;
  }
  return DARKROOM_DECODE;
}
static_assert(std::atomic<bool>::is_always_lock_free, "darkroom_cancel() must be async-signal-safe");

// Runs one API call: clears the error, turns what `body` throws into a status.
template <typename Body>
darkroom_status guarded(darkroom_engine* engine, Body body) noexcept {
  if (!engine) return DARKROOM_USAGE;
  try {
    engine->last_error.clear();
    body();
    engine->last_error.clear();  // of a call in a callback
    return DARKROOM_OK;
  } catch (const Error& e) {
    engine->last_error = e.what();
    return static_cast<darkroom_status>(e.code());
  } catch (const std::bad_alloc&) {
    engine->last_error = "the system ran out of memory";
    return DARKROOM_OUT_OF_MEMORY;
  } catch (const std::exception& e) {
    engine->last_error = std::string("unexpected: ") + e.what();
    return DARKROOM_FAILURE;
  }
}

void stop_if(bool stop) {
  if (stop) fail(ErrorCode::kCancelled, "stopped on request");
}

// Marks an engine as busy while it lives. Its callbacks may not begin a second such call.
class Working {
 public:
  explicit Working(darkroom_engine& engine) : engine_(engine) {
    require(!engine.working, ErrorCode::kUsage,
            "this engine is in the middle of a call; a callback that draws, converts or measures needs an "
            "engine of its own");
    engine.working = true;
  }
  ~Working() { engine_.working = false; }
  Working(const Working&) = delete;
  Working& operator=(const Working&) = delete;

 private:
  darkroom_engine& engine_;
};

// Runs one API call that darkroom_cancel() stops. A cancel waits until such a call ends with
// DARKROOM_CANCELLED, and goes with it.
template <typename Body>
darkroom_status cancellable(darkroom_engine* engine, Body body) noexcept {
  const darkroom_status status = guarded(engine, [&] {
    const Working working(*engine);
    stop_if(engine->cancel);
    body();
  });
  if (status == DARKROOM_CANCELLED) engine->cancel = false;
  return status;
}

void require_argument(bool given, const char* what) {
  require(given, ErrorCode::kUsage, "{} is missing (a null pointer or an unfilled struct)", what);
}

const char* or_else(const char* text, const char* fallback) { return text ? text : fallback; }

void hand_out(const nlohmann::json& json, char** text) {
  require_argument(text != nullptr, "the place for the answer");
  // Names in files may be any bytes; what is not UTF-8 becomes U+FFFD.
  const std::string dump = json.dump(-1, ' ', false, nlohmann::json::error_handler_t::replace);
  char* copy = static_cast<char*>(std::malloc(dump.size() + 1));
  if (!copy) throw std::bad_alloc();
  std::memcpy(copy, dump.c_str(), dump.size() + 1);
  *text = copy;
}

template <typename T>
std::optional<T> unless_zero(T value) {
  return value == 0 ? std::nullopt : std::optional<T>(value);
}

// JSON that a caller passed; `name` is that of the argument.
nlohmann::json json_argument(const char* text, const char* name) {
  try {
    return darkroom::parse_json(text, name);
  } catch (const Error& e) {
    throw Error(ErrorCode::kUsage, e.what());
  }
}

darkroom::Request to_request(const darkroom_request& r) {
  require_argument(r.prompt || r.settings, "the prompt");
  require_argument(r.sigma_count >= 0 && (r.sigma_count == 0 || r.sigmas), "the list of sigmas");
  darkroom::Request out;
  out.prompt = or_else(r.prompt, "");
  if (r.negative) out.negative = r.negative;
  out.cfg = unless_zero(r.cfg);
  if (!(r.guidance < 0)) out.guidance = r.guidance;  // also NaN, which is then refused with its value
  out.width = unless_zero<int64_t>(r.width);
  out.height = unless_zero<int64_t>(r.height);
  out.steps = unless_zero<int64_t>(r.steps);
  if (r.sigma_count > 0) out.sigmas.assign(r.sigmas, r.sigmas + r.sigma_count);
  out.max_text_tokens = unless_zero<int64_t>(r.max_text_tokens);
  if (r.has_seed) out.seed = r.seed;
  out.count = r.count;
  out.precision = or_else(r.precision, "auto");
  out.budget = or_else(r.budget, "auto");
  out.scratch_folder = or_else(r.scratch, out.scratch_folder.c_str());
  out.weights = or_else(r.weights, "as-stored");
  out.sampler = or_else(r.sampler, out.sampler.c_str());
  out.spacing = or_else(r.spacing, out.spacing.c_str());
  out.cache = or_else(r.cache, out.cache.c_str());
  out.guidance_schedule = or_else(r.guidance_schedule, out.guidance_schedule.c_str());
  out.guidance_interval = or_else(r.guidance_interval, out.guidance_interval.c_str());
  out.cfg_method = or_else(r.cfg_method, out.cfg_method.c_str());
  out.threshold = or_else(r.threshold, out.threshold.c_str());
  out.rng = or_else(r.rng, "torch-cpu");
  out.noise_path = or_else(r.noise_path, "");
  out.init_path = or_else(r.init_path, "");
  out.mask_path = or_else(r.mask_path, "");
  if (!(r.strength < 0)) out.strength = r.strength;
  out.sheet_columns = unless_zero<int64_t>(r.sheet_columns);
  if (r.settings) load_request(json_argument(r.settings, "settings"), out, "settings");
  out.sheet = r.on_sheet != nullptr;
  return out;
}

void hand_over(const darkroom::Picture& p, darkroom_picture_fn take, void* user) {
  if (!take) return;
  const std::string recipe = darkroom::to_json(p.recipe);
  const darkroom_picture picture{.struct_size = sizeof(darkroom_picture),
                                 .index = p.index,
                                 .width = p.image.width,
                                 .height = p.image.height,
                                 .rgb = p.image.rgb.data(),
                                 .seed = p.recipe.seed.value_or(0),
                                 .recipe = recipe.c_str(),
                                 .latents = p.latents.empty() ? nullptr : p.latents.data(),
                                 .latent_tokens = p.latent_tokens,
                                 .latent_channels = p.latent_channels};
  stop_if(take(&picture, user) != 0);
}

void hand_over(const darkroom::Preview& p, darkroom_preview_fn take, void* user) {
  const darkroom_preview preview{.struct_size = sizeof(darkroom_preview),
                                 .picture = p.picture,
                                 .step = p.step,
                                 .steps = p.steps,
                                 .width = p.image.width,
                                 .height = p.image.height,
                                 .rgb = p.image.rgb.data()};
  stop_if(take(&preview, user) != 0);
}

darkroom_progress event_of(const darkroom::Progress& p) {
  return {.struct_size = sizeof(darkroom_progress),
          .phase = phase_of(p.phase),
          .finished = p.finished,
          .picture = p.picture,
          .pictures = p.pictures,
          .step = p.step,
          .steps = p.steps,
          .block = p.block,
          .blocks = p.blocks,
          .phase_seconds = p.phase_seconds,
          .peak_bytes = p.peak_bytes,
          .phase_peak_bytes = p.phase_peak_bytes,
          .planned_bytes = p.planned_bytes,
          .bytes_read = p.bytes_read,
          .wait_seconds = p.wait_seconds,
          .prompts = p.prompts,
          .cached_prompts = p.cached_prompts,
          .passes = p.passes,
          .skipped_passes = p.skipped_passes};
}

darkroom::Listeners listeners_of(const darkroom_request& r) {
  require(r.preview_every >= 0, ErrorCode::kUsage,
          "preview_every is {}, allowed are 0 (every step) and above", r.preview_every);
  darkroom::Listeners listeners;
  listeners.on_progress = [&r](const darkroom::Progress& p) {
    if (!r.on_progress) return;
    const darkroom_progress event = event_of(p);
    stop_if(r.on_progress(&event, r.user) != 0);
  };
  listeners.on_picture = [&r](const darkroom::Picture& p) { hand_over(p, r.on_picture, r.user); };
  listeners.on_sheet = [&r](const darkroom::Picture& p) { hand_over(p, r.on_sheet, r.user); };
  listeners.on_note = [&r](const std::string& note) {
    if (r.on_note) r.on_note(note.c_str(), r.user);
  };
  if (r.on_preview) {
    listeners.on_preview = [&r](const darkroom::Preview& p) { hand_over(p, r.on_preview, r.user); };
    listeners.preview_every = std::max(r.preview_every, 1);
  }
  return listeners;
}

std::vector<darkroom::LoraChoice> parse_loras(const char* text) {
  darkroom::Request request;
  load_request({{"loras", json_argument(text, "loras")}}, request, "loras");
  return request.loras;
}

darkroom::ConvertOptions to_options(const darkroom_conversion& c, int threads) {
  require_argument(c.out && c.weights, "the new folder or the kind of weights");
  darkroom::ConvertOptions options{.out = c.out, .weights = c.weights, .threads = threads};
  if (c.text_weights) options.text_weights = c.text_weights;
  if (c.layout) options.layout = c.layout;
  if (c.parts) options.parts = c.parts;
  if (c.loras) options.loras = parse_loras(c.loras);
  if (c.smooth) options.smooth = c.smooth;
  if (c.shard_size) {
    const std::optional<std::size_t> bytes = darkroom::memory::parse_bytes(c.shard_size);
    require(bytes.has_value(), ErrorCode::kUsage,
            "the size of a file is '{}'; expected an amount such as 5GB or 2GiB", c.shard_size);
    options.shard_bytes = *bytes;
  }
  return options;
}

darkroom::ConvertListeners listeners_of(const darkroom_conversion& c) {
  darkroom::ConvertListeners listeners;
  const auto begin = std::chrono::steady_clock::now();
  darkroom::memory::PeakWatch peak;
  peak.begin();
  listeners.on_progress = [&c, begin, peak](const darkroom::ConvertProgress& p) mutable {
    peak.look();
    if (!c.on_progress) return;
    const std::string part(part_folder(p.part));
    const std::chrono::duration<double> passed = std::chrono::steady_clock::now() - begin;
    const darkroom_convert_progress event{.struct_size = sizeof(darkroom_convert_progress),
                                          .part = part.c_str(),
                                          .finished = p.finished,
                                          .files = static_cast<int>(p.files),
                                          .part_bytes = p.part_bytes,
                                          .bytes_written = p.bytes_written,
                                          .bytes_all = p.bytes_all,
                                          .seconds = passed.count(),
                                          .peak_bytes = peak.bytes()};
    stop_if(c.on_progress(&event, c.user) != 0);
  };
  listeners.on_note = [&c](const std::string& note) {
    if (c.on_note) c.on_note(note.c_str(), c.user);
  };
  return listeners;
}

darkroom::CalibrateOptions to_options(const darkroom_calibration& c) {
  require_argument(c.request && c.out && *c.out, "the request or the name of the file");
  darkroom_request request = whole(c.request, "darkroom_request");
  if (!request.prompt) request.prompt = "";
  darkroom::CalibrateOptions options{.out = c.out, .request = to_request(request)};
  if (c.method) options.method = darkroom::parse_smooth_method(c.method);
  if (c.alpha != 0) options.alpha = c.alpha;
  if (c.prompts) {
    const nlohmann::json list = json_argument(c.prompts, "prompts");
    require(list.is_array() && std::ranges::all_of(list, [](const auto& each) { return each.is_string(); }),
            ErrorCode::kUsage, "prompts: not a JSON list of texts");
    options.prompts = list.get<std::vector<std::string>>();
  }
  return options;
}

darkroom::CalibrateListeners calibrate_listeners_of(const darkroom_request& r) {
  darkroom::CalibrateListeners listeners;
  listeners.on_progress = [&r](int picture, int pictures, const darkroom::Progress& p) {
    if (!r.on_progress) return;
    darkroom_progress event = event_of(p);
    event.picture = picture;
    event.pictures = pictures;
    stop_if(r.on_progress(&event, r.user) != 0);
  };
  listeners.on_note = [&r](const std::string& note) {
    if (r.on_note) r.on_note(note.c_str(), r.user);
  };
  return listeners;
}

darkroom::SelfTestOptions to_options(const darkroom_self_test_options& o, const std::atomic<bool>& cancel) {
  darkroom::SelfTestOptions options{.quick = o.quick != 0, .cancel = &cancel};
  if (!o.on_progress) return options;
  options.on_case = [&o](const std::string& op, std::size_t finished, std::size_t cases) {
    const darkroom_self_test_progress event{.struct_size = sizeof(darkroom_self_test_progress),
                                            .op = op.c_str(),
                                            .finished = static_cast<int>(finished),
                                            .cases = static_cast<int>(cases)};
    stop_if(o.on_progress(&event, o.user) != 0);
  };
  return options;
}

constexpr bool is_version(std::string_view text, int major, int minor, int patch) {
  const int numbers[] = {major, minor, patch};
  for (const int number : numbers) {
    int read = 0;
    for (; !text.empty() && text[0] >= '0' && text[0] <= '9'; text.remove_prefix(1)) {
      read = 10 * read + (text[0] - '0');
    }
    if (read != number) return false;
    if (text.starts_with('.')) text.remove_prefix(1);
  }
  return text.empty();
}
static_assert(is_version(DARKROOM_VERSION, DARKROOM_VERSION_MAJOR, DARKROOM_VERSION_MINOR,
                         DARKROOM_VERSION_PATCH),
              "darkroom.h and CMakeLists.txt give different versions");

void make_backend_of(darkroom_engine& engine) {
  darkroom::BackendOptions& options = engine.backend_options;
  engine.automatic_backend = options.name == "auto";
  if (engine.automatic_backend) options.name = darkroom::automatic_backend();
  try {
    engine.backend = darkroom::make_backend(options);
  } catch (const Error& e) {
    if (!engine.automatic_backend || options.name == "cpu") throw;
    options.name = "cpu";
    engine.backend = darkroom::make_backend(options);
    if (e.code() == ErrorCode::kDevice)
      engine.backend->set_note(fmt::format("the cpu draws instead: {}", e.what()));
  }
}

// Draws on the engine's backend; with "auto" the cpu takes over what a card has no room for, or lost before the
// first picture was there.
void draw(darkroom_engine& engine, const darkroom::Checkpoint& model, const darkroom::Request& request,
          darkroom::Listeners listeners) {
  const auto on = [&](darkroom::Backend& backend) {
    const darkroom::Decision decision = decide(request, model, machine_of(backend));
    generate(model, backend, decision, listeners, engine.cancel, engine.embeddings);
  };
  if (!engine.automatic_backend || !engine.backend->device_memory()) return on(*engine.backend);
  const auto note = [&](const std::string& text) {
    if (listeners.on_note) listeners.on_note(text);
  };
  bool handed_over = false;
  if (const auto on_picture = listeners.on_picture) {
    listeners.on_picture = [&handed_over, on_picture](const darkroom::Picture& picture) {
      handed_over = true;
      on_picture(picture);
    };
  }
  note(fmt::format("drawing on {}", engine.backend->name()));
  try {
    return on(*engine.backend);
  } catch (const Error& e) {
    const bool of_device = e.code() == ErrorCode::kOutOfMemory || e.code() == ErrorCode::kDevice;
    if (!of_device || handed_over) throw;
    note(fmt::format("the cpu draws instead: {}", e.what()));
  }
  engine.backend_options.name = "cpu";
  engine.backend = darkroom::make_backend(engine.backend_options);
  on(*engine.backend);
}

}  // namespace

extern "C" {

const char* darkroom_version(void) { return DARKROOM_VERSION; }

int darkroom_version_number(void) { return DARKROOM_VERSION_NUMBER; }

darkroom_status darkroom_create(const darkroom_options* options, darkroom_engine** engine) {
  if (!engine) return DARKROOM_USAGE;
  *engine = new (std::nothrow) darkroom_engine;
  if (!*engine) return DARKROOM_OUT_OF_MEMORY;
  return guarded(*engine, [&] {
    if (options) {
      const darkroom_options o = whole(options, "darkroom_options");
      require(o.threads >= 0 && o.threads <= ThreadPool::kMaxThreads, ErrorCode::kUsage,
              "threads is {}, allowed are 0 (all) to {}", o.threads, ThreadPool::kMaxThreads);
      (*engine)->backend_options = {.name = or_else(o.backend, "cpu"),
                                    .isa = or_else(o.isa, "auto"),
                                    .threads = o.threads,
                                    .shader_cache = or_else(o.shader_cache, "")};
      (*engine)->embeddings =
          darkroom::embed_cache_options(or_else(o.embed_cache, ""), or_else(o.embed_cache_size, "256MiB"));
    }
    make_backend_of(**engine);
  });
}

void darkroom_destroy(darkroom_engine* engine) { delete engine; }

const char* darkroom_last_error(const darkroom_engine* engine) {
  return engine ? engine->last_error.c_str() : "there is no engine";
}

void darkroom_cancel(darkroom_engine* engine) {
  if (engine) engine->cancel.store(true, std::memory_order_relaxed);
}

int darkroom_clear_cancel(darkroom_engine* engine) {
  return engine && engine->cancel.exchange(false, std::memory_order_relaxed) ? 1 : 0;
}

void darkroom_free(char* text) { std::free(text); }

darkroom_status darkroom_open_files(darkroom_engine* engine, const darkroom_model_files* files,
                                    darkroom_model** model) {
  return guarded(engine, [&] {
    require_argument(model, "the place for the model");
    *model = nullptr;
    const darkroom_model_files given = whole(files, "darkroom_model_files");
    require_argument(given.model, "the path of the model");
    const auto path = [](const char* text) {
      return text ? std::optional<std::filesystem::path>(text) : std::nullopt;
    };
    *model = new darkroom_model{
        darkroom::Checkpoint::open({given.model, path(given.clip), path(given.t5), path(given.vae),
                                    given.hub_cache ? given.hub_cache : ""}),
        given.model};
  });
}

darkroom_status darkroom_open(darkroom_engine* engine, const char* path, darkroom_model** model) {
  darkroom_model_files files;
  darkroom_model_files_init(&files);
  files.model = path;
  return darkroom_open_files(engine, &files, model);
}

darkroom_status darkroom_open_dummy(darkroom_engine* engine, const char* name, darkroom_model** model) {
  return guarded(engine, [&] {
    require_argument(name && model, "the name or the place for the model");
    *model = nullptr;
    *model = new darkroom_model{darkroom::Checkpoint::dummy(name), {}};
  });
}

void darkroom_close(darkroom_model* model) { delete model; }

const char* darkroom_model_name(const darkroom_model* model) {
  return model ? model->model.name().c_str() : "";
}

darkroom_status darkroom_model_settings(darkroom_engine* engine, darkroom_model* model, char** text) {
  return guarded(engine, [&] {
    require_argument(model != nullptr, "the model");
    hand_out(darkroom::to_json(model->model.settings()), text);
  });
}

darkroom_status darkroom_generate(darkroom_engine* engine, darkroom_model* model,
                                  const darkroom_request* request) {
  return cancellable(engine, [&] {
    require_argument(model && request, "the model or the request");
    require_argument(engine->backend != nullptr, "the backend: darkroom_create() failed");
    const darkroom_request r = whole(request, "darkroom_request");
    draw(*engine, model->model, to_request(r), listeners_of(r));
  });
}

darkroom_status darkroom_save_png(darkroom_engine* engine, const darkroom_picture* picture, const char* path,
                                  int metadata, int overwrite) {
  return guarded(engine, [&] {
    require_argument(path && *path, "the path");
    const darkroom_picture p = whole(picture, "darkroom_picture");
    require_argument(p.rgb != nullptr, "the picture's rgb");
    require_argument(!metadata || p.recipe, "the picture's recipe");
    require(p.width > 0 && p.height > 0, ErrorCode::kUsage, "the picture is {}x{} pixels", p.width, p.height);
    darkroom::Image image{p.width, p.height, {}};
    image.rgb.assign(p.rgb,
                     p.rgb + static_cast<std::size_t>(p.width) * static_cast<std::size_t>(p.height) * 3);
    darkroom::PngOptions png{.overwrite = overwrite != 0};
    if (metadata) png.texts = recipe_texts(darkroom::from_json(p.recipe, "the picture's recipe"));
    write_png(image, path, png);
  });
}

darkroom_status darkroom_save_latents(darkroom_engine* engine, const darkroom_picture* picture,
                                      const char* path, int overwrite) {
  return guarded(engine, [&] {
    require_argument(path && *path, "the path");
    const darkroom_picture p = whole(picture, "darkroom_picture");
    require(p.latents != nullptr, ErrorCode::kUsage, "a sheet has no latents; save those of its pictures");
    require(p.latent_tokens > 0 && p.latent_channels > 0, ErrorCode::kUsage,
            "the picture's latents are {} tokens of {} channels", p.latent_tokens, p.latent_channels);
    const std::size_t count = static_cast<std::size_t>(p.latent_tokens * p.latent_channels);
    darkroom::write_latents(path, {p.latents, count}, p.latent_tokens, p.latent_channels, overwrite != 0);
  });
}

darkroom_status darkroom_convert(darkroom_engine* engine, darkroom_model* model,
                                 const darkroom_conversion* conversion) {
  return cancellable(engine, [&] {
    require_argument(model && conversion, "the model or the conversion");
    const darkroom_conversion c = whole(conversion, "darkroom_conversion");
    convert(model->model, to_options(c, engine->backend_options.threads), listeners_of(c), engine->cancel);
  });
}

darkroom_status darkroom_calibrate(darkroom_engine* engine, darkroom_model* model,
                                   const darkroom_calibration* calibration) {
  return cancellable(engine, [&] {
    require_argument(model && calibration, "the model or the calibration");
    require_argument(engine->backend != nullptr, "the backend: darkroom_create() failed");
    const darkroom_calibration c = whole(calibration, "darkroom_calibration");
    const darkroom::CalibrateOptions options = to_options(c);
    const darkroom_request r = whole(c.request, "darkroom_request");
    calibrate(model->model, *engine->backend, options, calibrate_listeners_of(r), engine->cancel,
              engine->embeddings);
  });
}

darkroom_status darkroom_info(darkroom_engine* engine, const char* path, char** text) {
  return guarded(engine, [&] {
    require_argument(path != nullptr, "the path");
    hand_out(darkroom::inspect(path), text);
  });
}

darkroom_status darkroom_plan(darkroom_engine* engine, darkroom_model* model, const darkroom_request* request,
                              char** text) {
  return guarded(engine, [&] {
    require_argument(model && request, "the model or the request");
    require_argument(engine->backend != nullptr, "the backend: darkroom_create() failed");
    const auto [job, plan] =
        decide(to_request(whole(request, "darkroom_request")), model->model, machine_of(*engine->backend));
    hand_out(to_json(model->model, job, plan), text);
  });
}

darkroom_status darkroom_tokenize(darkroom_engine* engine, darkroom_model* model, const char* prompt,
                                  int max_text_tokens, char** text) {
  return guarded(engine, [&] {
    require_argument(model && prompt, "the model or the prompt");
    darkroom::Request request;
    request.prompt = prompt;
    request.max_text_tokens = unless_zero<int64_t>(max_text_tokens);
    const int64_t tokens = decide_text_tokens(request, model->model);
    hand_out(darkroom::to_json(model->model.tokenize(prompt, tokens)), text);
  });
}

darkroom_status darkroom_read_recipe(darkroom_engine* engine, const char* path, char** text) {
  return guarded(engine, [&] {
    require_argument(path != nullptr, "the path");
    hand_out(darkroom::parse_json(to_json(darkroom::read_recipe(path).recipe), path), text);
  });
}

darkroom_status darkroom_request_schema(char** text) {
  try {
    hand_out(darkroom::request_schema(), text);
    return DARKROOM_OK;
  } catch (const Error& e) {
    return static_cast<darkroom_status>(e.code());
  } catch (const std::bad_alloc&) {
    return DARKROOM_OUT_OF_MEMORY;
  }
}

darkroom_status darkroom_with_recipe(darkroom_engine* engine, const char* settings, const char* recipe,
                                     char** text) {
  return guarded(engine, [&] {
    require_argument(recipe != nullptr, "the recipe");
    // Both are read in full first, so that only good values are put together.
    const nlohmann::json given = json_argument(or_else(settings, "{}"), "settings");
    darkroom::Request checked;
    load_request(given, checked, "settings");
    const nlohmann::json stated =
        json_argument(to_json(darkroom::from_json(recipe, "recipe")).c_str(), "recipe");
    hand_out(darkroom::with_recipe(given, stated), text);
  });
}

darkroom_status darkroom_describe_cpu(darkroom_engine* engine, char** text) {
  return guarded(engine, [&] {
    hand_out({{"name", darkroom::processor_name()},
              {"backend", engine->backend ? engine->backend->name() : ""},
              {"supported", darkroom::supported_isa_names()}},
             text);
  });
}

darkroom_status darkroom_describe_devices(darkroom_engine* engine, char** text) {
  return guarded(engine, [&] {
    const darkroom::VulkanDevices found = darkroom::vulkan_devices();
    nlohmann::json devices = nlohmann::json::array();
    for (const darkroom::VulkanDevice& device : found.devices) {
      devices.push_back({{"name", device.name},
                         {"driver", device.driver},
                         {"kind", device.kind},
                         {"class", device.device_class},
                         {"reason", device.reason},
                         {"memory_bytes", device.memory},
                         {"free_bytes", device.budget}});
    }
    hand_out({{"devices", devices}, {"reason", found.reason}}, text);
  });
}

darkroom_status darkroom_bench(darkroom_engine* engine, const darkroom_bench_options* options, char** text) {
  return cancellable(engine, [&] {
    require(engine->backend_options.name != "reference", ErrorCode::kUsage,
            "the bench measures the backend cpu or a graphics card, this engine has reference");
    darkroom::BenchOptions bench{.threads = engine->backend_options.threads,
                                 .device = engine->backend_options.name,
                                 .shader_cache = engine->backend_options.shader_cache,
                                 .isa = engine->backend_options.isa,
                                 .cancel = &engine->cancel};
    if (options) {
      const darkroom_bench_options o = whole(options, "darkroom_bench_options");
      bench.quick = o.quick != 0;
      if (o.budget) bench.budget = o.budget;
      if (o.model) bench.model = &o.model->model;
      if (o.weights) bench.weights = o.weights;
    }
    hand_out(darkroom::run_bench(bench), text);
  });
}

darkroom_status darkroom_self_test(darkroom_engine* engine, const darkroom_self_test_options* options,
                                   char** text) {
  return cancellable(engine, [&] {
    const darkroom_self_test_options o = options ? whole(options, "darkroom_self_test_options")
                                                 : darkroom::api::defaults<darkroom_self_test_options>();
    darkroom::BackendOptions tested = engine->backend_options;
    if (o.device) tested.name = o.device;
    if (tested.name == "auto") tested.name = darkroom::automatic_backend();
    tested.check_kernels = false;  // it is the check
    const std::unique_ptr<darkroom::Backend> backend = darkroom::make_backend(tested);
    hand_out(darkroom::run_self_test(*backend, to_options(o, engine->cancel)), text);
  });
}

}  // extern "C"
