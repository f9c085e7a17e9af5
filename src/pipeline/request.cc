#include "pipeline/request.h"

#include <algorithm>
#include <cmath>
#include <random>

#include "base/error.h"
#include "base/utf8.h"
#include "memory/budget.h"
#include "ops/backend.h"
#include "options/limits.h"
#include "options/option.h"
#include "pipeline/prompt_words.h"
#include "pipeline/source_picture.h"
#include "sampling/guidance_text.h"

namespace darkroom {
namespace {

int64_t decide_edge(const char* name, const std::optional<int64_t>& given, int64_t multiple,
                    int64_t fallback) {
  const int64_t edge = given.value_or(fallback);
  const int64_t below = edge / multiple * multiple;
  require(edge >= multiple && edge <= kMaxEdge, ErrorCode::kUsage, "{} is {}, allowed are {} to {} pixels",
          name, edge, multiple, kMaxEdge);
  require(edge == below, ErrorCode::kUsage,
          "{} is {}, which is not a multiple of {}; the nearest are {} and {}", name, edge, multiple,
          std::max(below, multiple), below + multiple);
  return edge;
}

struct Size {
  int64_t width = 0, height = 0;
};

// The size of a run that starts from `image`: the picture's own, smaller where it has more than twice
// the pixels of the model's; with one edge given, the other in proportion. Multiples of `multiple`,
// which may be too large.
Size size_from_picture(const PictureSize& image, const Request& request, const Size& own, int64_t multiple) {
  const double across = image.width, down = image.height;
  const double most = static_cast<double>(std::min(2 * own.width * own.height, kMaxPixels));
  const auto edge = [&](double pixels) {
    return std::max(multiple, static_cast<int64_t>(pixels / static_cast<double>(multiple)) * multiple);
  };
  const double half = static_cast<double>(multiple) / 2;  // to the nearest, where one edge was asked for
  if (request.width)
    return {*request.width, edge(down * static_cast<double>(*request.width) / across + half)};
  if (request.height)
    return {edge(across * static_cast<double>(*request.height) / down + half), *request.height};
  const double factor = std::min(1.0, std::sqrt(most / (across * down)));
  return {edge(across * factor), edge(down * factor)};
}

void decide_size(const Request& request, const Checkpoint& model, Job& job) {
  const ModelConfig& config = model.config();
  const ModelSettings& own = model.settings();
  const int64_t pixels = config.token_pixels();
  // FLUX.1 was trained around one megapixel. A small VAE belongs to a test model: keep its
  // picture small, too.
  const int64_t fallback = config.has_flux_width() ? 1024 : 16 * pixels;
  Size size{own.width.value_or(fallback), own.height.value_or(fallback)};
  const bool has_source = !request.init_path.empty();
  require(has_source || request.mask_path.empty(), ErrorCode::kUsage,
          "mask: there is no picture that '{}' could be the mask of; pass one as init",
          request.mask_path.string());
  if (has_source) {
    size = size_from_picture(source_size(request.init_path, request.mask_path), request, size, pixels);
  }
  job.width = decide_edge("width", request.width, pixels, size.width);
  job.height = decide_edge("height", request.height, pixels, size.height);
  require(job.width * job.height <= kMaxPixels, ErrorCode::kUsage,
          "{}x{} is {} pixels, at most {} are allowed", job.width, job.height, job.width * job.height,
          kMaxPixels);
  job.token_cols = job.width / pixels;
  job.token_rows = job.height / pixels;
  job.init_path = request.init_path;
  job.mask_path = request.mask_path;
}

// With a source picture the first steps are left out, as diffusers counts them.
void decide_strength(const Request& request, Job& job) {
  job.asked_steps = job.steps();
  const double strength = request.strength.value_or(kDefaultStrength);
  if (!job.starts_from_picture()) {
    if (request.strength) job.notes.emplace_back("strength has no effect without a picture to start from");
    return;
  }
  const double all = static_cast<double>(job.steps());
  const int64_t left_out = static_cast<int64_t>(std::max(all - all * strength, 0.0));
  require(left_out < job.steps(), ErrorCode::kUsage,
          "strength {} of {} steps leaves none to take; use a larger one, or more steps", strength,
          job.steps());
  const auto cut = [left_out](std::vector<float>& values) {
    values.erase(values.begin(), values.begin() + static_cast<std::ptrdiff_t>(left_out));
  };
  cut(job.schedule.sigmas);
  cut(job.schedule.timesteps);
  cut(job.schedule.model_times);
  job.strength = strength;
}

// Lists from other programs name the 0 after the last step, too.
std::vector<double> without_closing_zero(std::vector<double> sigmas) {
  if (sigmas.size() > 1 && sigmas.back() == 0) sigmas.pop_back();
  return sigmas;
}

void decide_schedule(const Request& request, const Checkpoint& model, Job& job) {
  const ModelConfig& config = model.config();
  const int64_t own_steps = model.settings().steps.value_or(config.is_dev() ? 28 : 4);
  const int64_t steps = request.steps.value_or(own_steps);
  const std::vector<double> sigmas = without_closing_zero(request.sigmas);
  require(sigmas.size() <= static_cast<std::size_t>(kMaxSteps), ErrorCode::kUsage,
          "{} sigmas, at most {} are allowed", sigmas.size(), kMaxSteps);
  double above = 1.0 + 1e-9;
  for (const double sigma : sigmas) {
    require(sigma > 0 && sigma < above, ErrorCode::kUsage,
            "sigmas must fall from at most 1 and stay above 0, found {} after {}", sigma, above);
    above = sigma;
  }
  if (!sigmas.empty() && request.steps && static_cast<std::size_t>(steps) != sigmas.size()) {
    fail(ErrorCode::kUsage, "{} sigmas and {} steps were given; leave one of them out", sigmas.size(), steps);
  }
  job.custom_sigmas = sigmas;
  job.sampler = parse_sampler(request.sampler);
  job.cache = parse_cache(request.cache);
  require(job.cache.method == CacheMethod::kOff || job.sampler != SamplerKind::kHeun, ErrorCode::kUsage,
          "the step cache does not go with the sampler heun, which looks at each noise level twice");
  job.spacing = parse_sigma_spacing(request.spacing);
  job.schedule = make_schedule(config.scheduler, {.steps = sigmas.empty() ? steps : 0,
                                                  .image_tokens = job.image_tokens(),
                                                  .sigmas = sigmas,
                                                  .spacing = job.spacing});
}

// As in diffusers, true CFG runs when cfg is above 1 and there is a negative prompt. A model whose own
// cfg is above 1 is meant to run with it, so there the negative prompt is "" when none is given, whatever
// cfg the request has.
void decide_cfg(const Request& request, const ModelSettings& own, Job& job) {
  const double own_cfg = own.cfg.value_or(1);
  const double cfg = request.cfg.value_or(own_cfg);
  const bool has_negative = request.negative || own_cfg > 1;
  job.true_cfg = static_cast<float>(cfg) > 1 && has_negative;
  job.cfg = job.true_cfg ? static_cast<float>(cfg) : 1.0f;
  if (cfg > 1 && !has_negative) {
    job.notes.emplace_back(
        "cfg has no effect without a negative prompt (use --negative \"\" for an empty one)");
  }
  if (cfg <= 1 && request.negative) {
    job.notes.emplace_back("the negative prompt has no effect without cfg above 1");
  }
}

void decide_guidance(const Request& request, const Checkpoint& model, Job& job) {
  const double guidance = request.guidance.value_or(model.settings().guidance.value_or(3.5));
  if (model.config().is_dev()) {
    job.guidance = static_cast<float>(guidance);
  } else if (request.guidance) {
    job.notes.emplace_back("guidance has no effect: this model embeds none (schnell)");
  }
}

// What true CFG does if it runs, else the distilled guidance, in each step.
void decide_guided_steps(const Request& request, Job& job) {
  parse_guidance_schedule(request.guidance_schedule, job.guidance_schedule);
  job.guidance_schedule.interval = parse_guidance_interval(request.guidance_interval);
  parse_guidance_method(request.cfg_method, job.cfg_rule);
  parse_guidance_threshold(request.threshold, job.cfg_rule);
  const std::vector<float>& sigmas = job.schedule.sigmas;
  if (job.guidance) job.guidances.assign(sigmas.size() - 1, *job.guidance);
  if (job.true_cfg || job.guidance) {
    std::vector<float>& scales = job.true_cfg ? job.cfg_scales : job.guidances;
    const float scale = job.true_cfg ? job.cfg : *job.guidance;
    scales = guidance_scales(job.guidance_schedule, scale, 1, sigmas);
    if (std::ranges::all_of(scales, [](float each) { return each == 1; }) && scale != 1) {
      job.notes.push_back(fmt::format(
          "no step is guided: the guidance interval {} holds none of the {} steps, or its scales are 1",
          guidance_interval_text(job.guidance_schedule.interval), job.steps()));
    }
    if (!job.guidance_schedule.points.empty() &&
        (job.true_cfg ? request.cfg.has_value() : request.guidance.has_value())) {
      job.notes.push_back(fmt::format("the guidance schedule's scales count, not {} {}",
                                      job.true_cfg ? "cfg" : "guidance", scale));
    }
  } else if (job.guidance_schedule != GuidanceSchedule{}) {
    job.notes.emplace_back(
        "the guidance schedule and interval have no effect: this model embeds no guidance and true CFG is "
        "off");
  }
  if (!job.true_cfg && job.cfg_rule != GuidanceRule{}) {
    job.notes.emplace_back("the ways of combining (cfg-method, threshold) have no effect without true CFG");
  }
}

void decide_text_length(const Request& request, const Checkpoint& model, Job& job) {
  const int64_t own = model.settings().max_text_tokens.value_or(model.config().is_dev() ? 512 : 256);
  job.max_text_tokens = request.max_text_tokens.value_or(own);
}

void decide_sheet(const Request& request, Job& job) {
  if (!request.sheet) return;
  const int64_t columns = request.sheet_columns.value_or(0);
  job.sheet = make_sheet_layout(
      {.pictures = job.count, .columns = columns, .picture_width = job.width, .picture_height = job.height});
  require_sheet_fits(*job.sheet);
}

// A word on one line of a note: not a whole prompt that has no spaces.
std::string short_word(const std::string& word) {
  constexpr std::size_t kMaxCharacters = 24;
  const std::u32string codes = to_code_points(word);
  return codes.size() <= kMaxCharacters ? word : to_utf8(codes.substr(0, kMaxCharacters)) + "...";
}

void note_unknown_words(const ModelSettings& own, Job& job) {
  constexpr std::size_t kMaxShown = 8;
  if (own.prompts.words.empty()) return;
  const std::string text = job.true_cfg ? job.prompt + "\n" + job.negative : job.prompt;
  const std::vector<std::string> unknown = unknown_words(text, own.prompts.words);
  if (unknown.empty()) return;
  std::string shown;
  for (std::size_t i = 0; i < std::min(unknown.size(), kMaxShown); ++i) {
    shown += (i == 0 ? "" : ", ") + short_word(unknown[i]);
  }
  if (unknown.size() > kMaxShown) shown += fmt::format(" and {} more", unknown.size() - kMaxShown);
  job.notes.push_back(
      fmt::format("the model does not know the word{} {}; 'darkroom words' lists those it knows",
                  unknown.size() == 1 ? "" : "s:", shown));
}

constexpr const char *kInt8 = "int8", *kInt7 = "int7";
constexpr const char *kAuto = "auto", *kOff = "off";

// int8 and int7 are bf16 with products in 8 bits, of so many levels.
std::optional<Int8Products> products_named(const std::string& name, std::optional<int64_t> group) {
  if (name != kInt8 && name != kInt7) return std::nullopt;
  return Int8Products{group.value_or(0), name == kInt7 ? kInt7Levels : kInt8Levels};
}

const char* name_of(const Int8Products& products) { return products.levels == kInt7Levels ? kInt7 : kInt8; }

bool has_int8_weights(const Checkpoint& model, Part part) {
  const std::unique_ptr<WeightSource> source = model.weights_for_planning(part);
  bool any = false;
  model.visit(part, [&](const Param& param, Tensor&) {
    if (param.quantizable() && param.unit.stage == Stage::kBlock)
      any = any || source->describe(param).dtype == DType::kI8;
  });
  return any;
}

// int8 weights have lost what int7 would have kept of exact ones.
void note_rounded_again(const Checkpoint& model, Part part, const std::optional<Int8Products>& products,
                        Job& job) {
  if (!products || products->levels == kInt8Levels || !has_int8_weights(model, part)) return;
  job.notes.push_back(fmt::format(
      "int7: {} weights are int8 in the files and are rounded again, to 7 bits, as they are read; "
      "from bf16 less is lost",
      part == Part::kT5 ? "T5's" : "the transformer's"));
}

void decide_precision(const Request& request, const Checkpoint& model, Job& job) {
  const std::string& name = request.precision;
  const bool stored_as_f32 = model.part_dtype(Part::kTransformer) == DType::kF32;
  job.precision = name == "f32" || (name == kAuto && stored_as_f32) ? DType::kF32 : DType::kBF16;
  const std::string& text = request.text_precision;
  job.text_precision = text == kAuto ? job.precision : text == "f32" ? DType::kF32 : DType::kBF16;
  job.int8 = products_named(name, request.int8_group);
  job.text_int8 = products_named(text, request.int8_group);
  if (request.int8_group && !job.int8 && !job.text_int8) {
    job.notes.emplace_back(
        "int8-group has no effect without int8 or int7 as --precision or --text-precision");
  }
  note_rounded_again(model, Part::kTransformer, job.int8, job);
  note_rounded_again(model, Part::kT5, job.text_int8, job);
}

// Whole differences would have to be divided by the factors, too.
void require_low_rank_loras(const Checkpoint& model, const Job& job) {
  model.visit(Part::kTransformer, [&](const Param& param, Tensor&) {
    for (const JobLora& lora : job.loras) {
      const Lora::Change* const change = lora.use.lora->find(Part::kTransformer, param.name);
      require(
          !has_smoothed_input(param) || !change || change->dense.empty(), ErrorCode::kUsage,
          "{}: changes '{}' as a whole (LoKr, LoHa or a difference), which weights with smoothing factors do "
          "not take; put it on the model before it is smoothed",
          lora.path.string(), param.name);
    }
  });
}

// "auto" means the factors that the model has, which come with its weights.
void decide_smoothing(const Request& request, const Checkpoint& model, Job& job) {
  if (model.is_smoothed()) require_low_rank_loras(model, job);
  if (model.is_smoothed() && !job.int8) {
    job.notes.push_back(fmt::format(
        "the model's weights are made for --precision int8; in {} its factors are multiplied back, and its "
        "blocks "
        "are {} in memory",
        dtype_name(job.precision), job.weights == WeightStorage::kAsStored ? "bf16" : "what --weights says"));
  }
  if (!request.smooth) return;
  if (!job.int8) {
    job.notes.emplace_back("smooth has no effect without --precision int8 or int7");
    return;
  }
  if (*request.smooth == kAuto) return;
  require(
      !model.is_smoothed(), ErrorCode::kUsage,
      "smooth: the weights of {} are smoothed already, by factors that lie beside them; leave --smooth out",
      model.name());
  if (*request.smooth == kOff) return;
  job.smoothing = std::make_shared<Smoothing>(
      *request.smooth, [&](const VisitFn& visit) { model.visit(Part::kTransformer, visit); });
}

void decide_attention(const Request& request, const Checkpoint& model, Job& job) {
  const int64_t head_dim = model.config().transformer.head_dim;
  job.int8_attention = request.attention == kInt8 && head_dim <= kMaxInt8HeadDim;
  if (request.attention != kInt8 || job.int8_attention) return;
  job.notes.push_back(
      fmt::format("attention: int8 has no effect, the model's heads have {} columns and {} are the most",
                  head_dim, kMaxInt8HeadDim));
}

void decide_weights(const std::string& name, Job& job) {
  if (name != kAuto) job.weights = parse_storage(name).value();
  if (!job.int8 || name == storage_name(WeightStorage::kAsStored)) return;
  const std::string_view products = name_of(*job.int8);
  if (name == products) return;
  job.notes.push_back(
      fmt::format("weights: the blocks' are {0}, as --precision {0} multiplies; the others are {1}", products,
                  name == kAuto ? "as stored" : name));
}

void take_texts(const Request& request, Job& job) {
  job.prompt = request.prompt;
  job.negative = request.negative.value_or("");
  for (const std::string* text : {&job.prompt, &job.negative}) {
    require(text->size() <= kMaxPromptBytes, ErrorCode::kUsage,
            "the prompt has {} bytes, at most {} are allowed", text->size(), kMaxPromptBytes);
    require(is_valid_utf8(*text), ErrorCode::kUsage,
            "the prompt is not UTF-8 text; check the terminal's or the file's encoding");
  }
}

// Which thread draws which number depends on how many a card has; see CudaGeometry.
void note_cards(Job& job, int64_t numbers) {
  const bool any_card = job.noise.kind == NoiseKind::kTorchCuda && job.noise.cuda == CudaGeometry{};
  if (!any_card || numbers <= fewest_cuda_threads() || !job.noise_path.empty()) return;
  job.notes.push_back(
      fmt::format("rng: torch-cuda draws the {} numbers as a GPU with as many threads does (H100: 270336); "
                  "for the noise of "
                  "another card name it, as in torch-cuda:rtx4090",
                  numbers));
}

// Options without effect are as if nobody had set them, so that a recipe does not state them.
void drop_idle_guidance(const Job& job, Request& out) {
  const Request own;
  if (!job.true_cfg && !job.guidance) {
    out.guidance_schedule = own.guidance_schedule;
    out.guidance_interval = own.guidance_interval;
  }
  if (job.true_cfg) return;
  out.cfg_method = own.cfg_method;
  out.threshold = own.threshold;
}

// The request with every value that was decided, in its usual spelling. An option that is not mentioned here
// is stated as it was given.
Request settled(const Request& request, const Job& job) {
  Request out = request;
  out.prompt = job.prompt;
  out.loras.clear();
  for (const JobLora& lora : job.loras) out.loras.push_back({lora.path.filename(), lora.use.strength});
  if (job.negative.empty()) out.negative.reset();
  out.width = job.width;
  out.height = job.height;
  out.steps = job.asked_steps;
  out.sigmas = job.custom_sigmas;
  out.cfg = job.cfg;
  out.guidance = job.guidance ? std::optional<double>(*job.guidance) : std::nullopt;
  out.guidance_schedule = guidance_schedule_text(job.guidance_schedule);
  out.guidance_interval = guidance_interval_text(job.guidance_schedule.interval);
  out.cfg_method = guidance_method_text(job.cfg_rule);
  out.threshold = job.cfg_rule.percentile ? guidance_threshold_text(job.cfg_rule) : "off";
  drop_idle_guidance(job, out);
  out.cache = cache_text(job.cache);
  out.max_text_tokens = job.max_text_tokens;
  out.precision = job.int8 ? name_of(*job.int8) : dtype_name(job.precision);
  out.int8_group.reset();
  if (job.int8 || job.text_int8) out.int8_group = (job.int8 ? job.int8 : job.text_int8)->group;
  if (!job.int8) out.smooth.reset();
  if (job.smoothing) out.smooth = std::filesystem::path(*request.smooth).filename().string();
  out.attention = job.int8_attention ? kInt8 : Request().attention;
  out.rng = noise_source_text(job.noise);
  out.strength = job.starts_from_picture() ? std::optional(job.strength) : std::nullopt;
  out.seed = job.seed;
  out.count.reset();
  out.sheet_columns.reset();
  return out;
}

}  // namespace

std::optional<std::size_t> decide_budget(const std::string& text, const char* name) {
  if (text == "auto") return std::nullopt;
  const std::optional<std::size_t> bytes = memory::parse_bytes(text);
  require(bytes.has_value(), ErrorCode::kUsage,
          "{} is '{}'; expected auto or an amount of memory such as 12GiB, 8G or 6000MiB", name, text);
  return bytes;
}

int64_t decide_text_tokens(const Request& request, const Checkpoint& model) {
  check_ranges(request);
  Job job;
  take_texts(request, job);
  decide_text_length(request, model, job);
  return job.max_text_tokens;
}

Job decide_values(const Request& request, const Checkpoint& model) {
  check_ranges(request);
  Job job;
  job.notes = model.notes();
  take_texts(request, job);
  job.loras = decide_loras(request, model, job.prompt, job.notes);
  decide_size(request, model, job);
  decide_schedule(request, model, job);
  decide_strength(request, job);
  decide_cfg(request, model.settings(), job);
  decide_guidance(request, model, job);
  decide_guided_steps(request, job);
  decide_text_length(request, model, job);
  note_unknown_words(model.settings(), job);
  job.count = request.count.value_or(1);
  decide_sheet(request, job);
  decide_precision(request, model, job);
  decide_attention(request, model, job);
  decide_weights(request.weights, job);
  decide_smoothing(request, model, job);
  job.budget_bytes = decide_budget(request.budget);
  job.ram_budget_bytes = decide_budget(request.ram_budget, "ram_budget");
  job.scratch_folder = request.scratch_folder;
  job.noise = parse_noise_source(request.rng);
  job.noise_path = request.noise_path;
  note_cards(job, job.image_tokens() * 4 * model.config().vae.latent_channels);
  // Nothing is drawn but the noise itself: -n pictures from given noise are all the same.
  if (!job.noise_path.empty() && job.count > 1 && job.sampler != SamplerKind::kAncestral &&
      !job.starts_from_picture()) {
    job.notes.push_back(fmt::format(
        "all {} pictures will be the same: they start from the given noise, and the sampler draws none",
        job.count));
  }
  // 32 bits are easy to retype, and all that torch's CPU generator looks at.
  job.seed = request.seed ? *request.seed : std::random_device{}();
  job.settled = settled(request, job);
  return job;
}

}  // namespace darkroom
