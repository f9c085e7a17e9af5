#include "pipeline/request.h"

#include <cmath>
#include <random>

#include "base/error.h"
#include "base/utf8.h"

namespace darkroom {
namespace {

// Beyond these a request is a slip of the keyboard or an attack, not a wish.
constexpr int64_t kMaxPixels = 16 * 1024 * 1024;
constexpr int64_t kMaxEdge = 16384;
constexpr int64_t kMaxSteps = 1000;
constexpr int64_t kMaxCount = 1000;
constexpr int64_t kMaxTextTokens = 4096;
constexpr std::size_t kMaxPromptBytes = 1 << 20;

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

void decide_size(const Request& request, const ModelConfig& config, Job& job) {
  const int64_t pixels = config.token_pixels();
  // FLUX.1 was trained around one megapixel. A small VAE belongs to a test model: keep its picture small,
  // too.
  const int64_t fallback = config.transformer.inner_dim() >= 1024 ? 1024 : 16 * pixels;
  job.width = decide_edge("width", request.width, pixels, fallback);
  job.height = decide_edge("height", request.height, pixels, fallback);
  require(job.width * job.height <= kMaxPixels, ErrorCode::kUsage,
          "{}x{} is {} pixels, at most {} are allowed", job.width, job.height, job.width * job.height,
          kMaxPixels);
  job.token_cols = job.width / pixels;
  job.token_rows = job.height / pixels;
}

void decide_schedule(const Request& request, const ModelConfig& config, Job& job) {
  const int64_t steps = request.steps.value_or(config.is_dev() ? 28 : 4);
  require(steps >= 1 && steps <= kMaxSteps, ErrorCode::kUsage, "steps is {}, allowed are 1 to {}", steps,
          kMaxSteps);
  require(request.sigmas.size() <= static_cast<std::size_t>(kMaxSteps), ErrorCode::kUsage,
          "{} sigmas, at most {} are allowed", request.sigmas.size(), kMaxSteps);
  double above = 1.0 + 1e-9;
  for (const double sigma : request.sigmas) {
    require(sigma > 0 && sigma < above, ErrorCode::kUsage,
            "sigmas must fall from at most 1 and stay above 0, found {} after {}", sigma, above);
    above = sigma;
  }
  if (!request.sigmas.empty() && request.steps && static_cast<std::size_t>(steps) != request.sigmas.size()) {
    fail(ErrorCode::kUsage, "{} sigmas and {} steps were given; leave one of them out", request.sigmas.size(),
         steps);
  }
  job.custom_sigmas = request.sigmas;
  job.schedule = make_schedule(config.scheduler, {.steps = request.sigmas.empty() ? steps : 0,
                                                  .image_tokens = job.image_tokens(),
                                                  .sigmas = request.sigmas});
}

void decide_guidance(const Request& request, const ModelConfig& config, Job& job) {
  require(request.cfg >= 1 && request.cfg <= 100, ErrorCode::kUsage, "cfg is {}, allowed are 1 (off) to 100",
          request.cfg);
  job.true_cfg = request.cfg > 1 && request.negative.has_value();
  job.cfg = job.true_cfg ? static_cast<float>(request.cfg) : 1.0f;
  if (request.cfg > 1 && !request.negative) {
    job.notes.emplace_back(
        "cfg has no effect without a negative prompt (use --negative \"\" for an empty one)");
  }
  if (request.cfg <= 1 && request.negative) {
    job.notes.emplace_back("the negative prompt has no effect without cfg above 1");
  }
  const double guidance = request.guidance.value_or(3.5);
  require(guidance >= 0 && guidance <= 1000, ErrorCode::kUsage, "guidance is {}, allowed are 0 to 1000",
          guidance);
  if (config.is_dev()) {
    job.guidance = static_cast<float>(guidance);
  } else if (request.guidance) {
    job.notes.emplace_back("guidance has no effect: this model embeds none (schnell)");
  }
}

DType decide_precision(const std::string& name, const Model& model) {
  if (name == "f32") return DType::kF32;
  if (name == "bf16") return DType::kBF16;
  require(name == "auto", ErrorCode::kUsage, "precision is '{}'; there are auto, f32 and bf16", name);
  return model.part_dtype(Part::kTransformer) == DType::kF32 ? DType::kF32 : DType::kBF16;
}

}  // namespace

Job decide(const Request& request, const Model& model) {
  const ModelConfig& config = model.config();
  Job job;
  job.prompt = request.prompt;
  job.negative = request.negative.value_or("");
  for (const std::string* text : {&job.prompt, &job.negative}) {
    require(text->size() <= kMaxPromptBytes, ErrorCode::kUsage,
            "the prompt has {} bytes, at most {} are allowed", text->size(), kMaxPromptBytes);
    require(is_valid_utf8(*text), ErrorCode::kUsage,
            "the prompt is not UTF-8 text; check the terminal's or the file's encoding");
  }
  decide_size(request, config, job);
  decide_schedule(request, config, job);
  decide_guidance(request, config, job);
  job.max_text_tokens = request.max_text_tokens.value_or(config.is_dev() ? 512 : 256);
  require(job.max_text_tokens >= 1 && job.max_text_tokens <= kMaxTextTokens, ErrorCode::kUsage,
          "max-text-tokens is {}, allowed are 1 to {}", job.max_text_tokens, kMaxTextTokens);
  job.count = request.count;
  require(job.count >= 1 && job.count <= kMaxCount, ErrorCode::kUsage, "count is {}, allowed are 1 to {}",
          job.count, kMaxCount);
  job.precision = decide_precision(request.precision, model);
  require(request.rng == "torch-cpu" || request.rng == "torch-cuda", ErrorCode::kUsage,
          "rng is '{}'; there are torch-cpu and torch-cuda", request.rng);
  job.noise = request.rng == "torch-cpu" ? NoiseKind::kTorchCpu : NoiseKind::kTorchCuda;
  job.noise_path = request.noise_path;
  // 32 bits are easy to retype, and all that torch's CPU generator looks at.
  job.seed = request.seed ? *request.seed : std::random_device{}();
  return job;
}

}  // namespace darkroom
