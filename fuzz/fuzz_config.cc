// libFuzzer target: any bytes as each config of a model (and then the shapes of its tensors, and a schedule),
// as its recommended settings, and as an index of weights.
#include <cstdint>
#include <nlohmann/json.hpp>
#include <string>
#include <string_view>

#include "base/error.h"
#include "base/json.h"
#include "checkpoint/model_settings.h"
#include "checks.h"
#include "models/clip/clip.h"
#include "models/flux/flux.h"
#include "models/t5/t5.h"
#include "models/vae/vae.h"
#include "pipeline/preview.h"
#include "pipeline/prompt_words.h"
#include "sampling/schedule.h"
#include "weights/weight_files.h"

namespace {

using darkroom::JsonFields;

// Runs `work`; an Error must carry one printable line.
template <typename Work>
void attempt(const Work& work) {
  try {
    work();
  } catch (const darkroom::Error& e) {
    darkroom::check_message(e);
  }
}

// Every kind of field once, under a name that configs use for it, so that mutations of a real config reach
// it. More would be slow: an exception takes longer than the rest of a run.
void read_fields(const nlohmann::json& object) {
  const JsonFields fields(object, "input");
  attempt([&] {
    const int64_t value = fields.integer("num_layers", 7, 1, 1000);
    if (value < 1 || value > 1000) __builtin_trap();
  });
  attempt([&] { fields.required_integer("eos_token_id", INT64_MIN, INT64_MAX); });
  attempt([&] {
    const double value = fields.number("scaling_factor", 1, 0, 10);
    if (!(value >= 0 && value <= 10)) __builtin_trap();
  });
  attempt([&] { fields.boolean("guidance_embeds", true); });
  attempt([&] { fields.text("_class_name", ""); });
  attempt([&] {
    if (fields.integers("axes_dims_rope", {}, -5, 5000).size() > 64) __builtin_trap();
  });
}

// Counts what the tensors of an accepted config hold: every shape must be positive, and their sum must not
// overflow.
template <typename Weights, typename Config>
void count_parameters(const Config& config) {
  int64_t parameters = 0;
  Weights().visit(config, [&](const darkroom::Param& param, darkroom::Tensor&) {
    const int64_t count = param.shape.numel();
    if (count <= 0 || __builtin_add_overflow(parameters, count, &parameters)) __builtin_trap();
  });
  if (parameters > INT64_MAX / 4) __builtin_trap();  // they are counted in bytes, too
}

void read_configs(const nlohmann::json& document) {
  attempt([&] {
    const darkroom::flux::Config config = darkroom::flux::config_from_json(document, "input");
    // Many blocks are slow to name, and more of the same.
    if (config.num_blocks() < 5) count_parameters<darkroom::flux::Weights>(config);
  });
  attempt([&] {
    const darkroom::t5::Config config = darkroom::t5::config_from_json(document, "input");
    if (config.num_layers < 5) count_parameters<darkroom::t5::Weights>(config);
    for (const int64_t distance : {-100000, -129, -1, 0, 1, 7, 128, 100000}) {
      const int64_t bucket = darkroom::t5::relative_bucket(config, distance);
      if (bucket < 0 || bucket >= config.num_buckets) __builtin_trap();
    }
  });
  attempt([&] {
    const darkroom::clip::Config config = darkroom::clip::config_from_json(document, "input");
    if (config.num_layers < 5) count_parameters<darkroom::clip::Weights>(config);
  });
  attempt([&] {
    const darkroom::vae::Config config = darkroom::vae::config_from_json(document, "input");
    count_parameters<darkroom::vae::DecoderWeights>(config);
    if (config.upscale() < 1) __builtin_trap();
  });
  attempt([&] {
    const darkroom::SchedulerConfig config = darkroom::read_scheduler_config(document, "input");
    for (const int64_t tokens : {1, 256, 4096, 65536}) {
      attempt([&] {
        const darkroom::Schedule schedule =
            darkroom::make_schedule(config, {.steps = 4, .image_tokens = tokens});
        if (schedule.steps() != 4 || schedule.sigmas.back() != 0) __builtin_trap();
        for (const float sigma : schedule.sigmas) {
          if (!(sigma >= 0 && sigma <= 1)) __builtin_trap();
        }
      });
    }
  });
}

void read_settings(const nlohmann::json& document) {
  constexpr std::size_t kLatentChannels = 2;
  attempt([&] {
    const darkroom::ModelSettings settings =
        darkroom::settings_from_json(document, 16, kLatentChannels, "input");
    if (settings.width.value_or(16) % 16 != 0 || settings.steps.value_or(1) < 1) __builtin_trap();
    if (settings.preview) {
      if (settings.preview->rgb.size() != kLatentChannels) __builtin_trap();
      const std::vector<float> latents(4 * kLatentChannels, 1e30f);
      darkroom::draw_preview(*settings.preview, latents, 1, latents, 1, 1);
    }
    // Any words of a file must do for any prompt.
    darkroom::unknown_words(settings.prompts.about, settings.prompts.words);
    darkroom::to_json(settings).dump();
  });
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, std::size_t size) {
  const std::string_view text(reinterpret_cast<const char*>(data), size);
  attempt([&] {
    const nlohmann::json document = darkroom::parse_json(text, "input");
    read_fields(document);
    read_configs(document);
    read_settings(document);
  });
  attempt([&] {
    const darkroom::WeightIndex index = darkroom::parse_weight_index(text, "input");
    for (const std::string& shard : index.shards) {
      if (shard.find('/') != std::string::npos || shard == "..") __builtin_trap();
    }
  });
  return 0;
}
