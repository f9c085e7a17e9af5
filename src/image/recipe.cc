#include "image/recipe.h"

#include <cmath>
#include <limits>
#include <nlohmann/json.hpp>

#include "base/json.h"
#include "image/picture_file.h"

namespace darkroom {
namespace {

using nlohmann::json;

// Of the JSON; grows when a reader of the older one would draw another picture. 2: sampler, spacing and what
// steers guidance. 3: a picture to start from. A recipe is written in the oldest format that says it all.
constexpr int64_t kFormat = 3;
constexpr std::size_t kMostTextBytes = std::size_t{8} << 20;
constexpr std::size_t kMostSigmas = 1000;
constexpr int64_t kMostCount = 1 << 20;
constexpr int64_t kMostPictures = 1000;  // their seeds are listed
constexpr double kMostScale = 1e6;

std::optional<double> read_number(const JsonFields& fields, const std::string& name) {
  if (!fields.has(name)) return std::nullopt;
  return fields.number(name, 0.0, -kMostScale, kMostScale);
}

// The seed has 64 unsigned bits, more than JsonFields reads.
std::optional<uint64_t> read_seed(const json& object, const std::string& where) {
  const auto found = object.find("seed");
  if (found == object.end() || found->is_null()) return std::nullopt;
  require(found->is_number_unsigned(), ErrorCode::kFailure, "{}: 'seed' must be a whole number from 0 to {}",
          where, std::numeric_limits<uint64_t>::max());
  return found->get<uint64_t>();
}

std::vector<double> read_sigmas(const json& object, const std::string& where) {
  std::vector<double> sigmas;
  const auto found = object.find("sigmas");
  if (found == object.end() || found->is_null()) return sigmas;
  require(found->is_array() && found->size() <= kMostSigmas, ErrorCode::kFailure,
          "{}: 'sigmas' must be a list of at most {} numbers", where, kMostSigmas);
  for (const json& sigma : *found) {
    require(sigma.is_number() && std::abs(sigma.get<double>()) <= kMostScale, ErrorCode::kFailure,
            "{}: 'sigmas' holds something that is not a number up to {}", where, kMostScale);
    sigmas.push_back(sigma.get<double>());
  }
  return sigmas;
}

// For people and other programs; we read the first seed and the number of pictures.
std::vector<uint64_t> seeds_of(const Recipe& recipe) {
  std::vector<uint64_t> seeds;
  for (int i = 0; i < recipe.pictures; ++i) seeds.push_back(*recipe.seed + static_cast<uint64_t>(i));
  return seeds;
}

}  // namespace

std::string base_name(std::string_view path) {
  const std::size_t end = path.find_last_not_of("/\\");
  if (end == std::string_view::npos) return {};
  path = path.substr(0, end + 1);
  const std::size_t separator = path.find_last_of("/\\");
  return std::string(separator == std::string_view::npos ? path : path.substr(separator + 1));
}

std::string to_json(const Recipe& recipe) {
  const bool is_plain = recipe.sampler.empty() && recipe.spacing.empty() &&
                        recipe.guidance_schedule.empty() && recipe.guidance_interval.empty() &&
                        recipe.cfg_method.empty() && recipe.threshold.empty() && recipe.cache.empty();
  const int64_t format = !recipe.init.empty() ? kFormat : is_plain ? 1 : 2;
  json object = {{"format", format}, {"prompt", recipe.prompt}};
  const auto set_text = [&](const char* name, const std::string& value) {
    if (!value.empty()) object[name] = value;
  };
  const auto set_count = [&](const char* name, int value) {
    if (value != 0) object[name] = value;
  };
  set_text("negative", recipe.negative);
  set_count("width", recipe.width);
  set_count("height", recipe.height);
  set_count("steps", recipe.steps);
  if (recipe.guidance) object["guidance"] = *recipe.guidance;
  if (recipe.cfg) object["cfg"] = *recipe.cfg;
  set_text("guidance_schedule", recipe.guidance_schedule);
  set_text("guidance_interval", recipe.guidance_interval);
  set_text("cfg_method", recipe.cfg_method);
  set_text("threshold", recipe.threshold);
  set_text("cache", recipe.cache);
  set_count("passes", recipe.passes);
  set_count("skipped_passes", recipe.skipped_passes);
  if (recipe.seed) object["seed"] = *recipe.seed;
  set_text("sampler", recipe.sampler);
  set_text("spacing", recipe.spacing);
  if (!recipe.sigmas.empty()) object["sigmas"] = recipe.sigmas;
  set_count("max_text_tokens", recipe.max_text_tokens);
  set_text("precision", recipe.precision);
  set_text("weights", recipe.weights);
  set_text("rng", recipe.rng);
  set_text("noise", base_name(recipe.noise));
  set_text("init", base_name(recipe.init));
  set_text("mask", base_name(recipe.mask));
  if (recipe.strength) object["strength"] = *recipe.strength;
  set_count("pictures", recipe.pictures);
  set_count("columns", recipe.columns);
  if (recipe.pictures > 0 && recipe.seed) object["seeds"] = seeds_of(recipe);
  set_text("model", base_name(recipe.model));
  set_text("engine", recipe.engine);
  return object.dump(-1, ' ', true, json::error_handler_t::replace);
}

Recipe from_json(std::string_view text, const std::string& where) {
  return with_picture_errors([&] {
    require(text.size() <= kMostTextBytes, ErrorCode::kFailure, "{}: {} bytes of JSON, at most {} are read",
            where, text.size(), kMostTextBytes);
    const json object = parse_json(text, where);
    const JsonFields fields(object, where);
    const int64_t format = fields.required_integer("format", 1, std::numeric_limits<int64_t>::max());
    require(format <= kFormat, ErrorCode::kFailure,
            "{}: the recipe has format {}, this program reads up to {}: use a newer one", where, format,
            kFormat);
    const auto count = [&](const char* name) {
      return static_cast<int>(fields.integer(name, 0, 0, kMostCount));
    };
    Recipe recipe;
    recipe.prompt = fields.text("prompt", "");
    recipe.negative = fields.text("negative", "");
    recipe.width = count("width");
    recipe.height = count("height");
    recipe.steps = count("steps");
    recipe.guidance = read_number(fields, "guidance");
    recipe.cfg = read_number(fields, "cfg");
    recipe.guidance_schedule = fields.text("guidance_schedule", "");
    recipe.guidance_interval = fields.text("guidance_interval", "");
    recipe.cfg_method = fields.text("cfg_method", "");
    recipe.threshold = fields.text("threshold", "");
    recipe.cache = fields.text("cache", "");
    recipe.passes = count("passes");
    recipe.skipped_passes = count("skipped_passes");
    recipe.seed = read_seed(object, where);
    recipe.sampler = fields.text("sampler", "");
    recipe.spacing = fields.text("spacing", "");
    recipe.sigmas = read_sigmas(object, where);
    recipe.max_text_tokens = count("max_text_tokens");
    recipe.precision = fields.text("precision", "");
    recipe.weights = fields.text("weights", "");
    recipe.rng = fields.text("rng", "");
    recipe.noise = base_name(fields.text("noise", ""));
    recipe.init = base_name(fields.text("init", ""));
    recipe.mask = base_name(fields.text("mask", ""));
    if (fields.has("strength")) recipe.strength = fields.number("strength", 0, 0, 1);
    recipe.pictures = static_cast<int>(fields.integer("pictures", 0, 0, kMostPictures));
    recipe.columns = static_cast<int>(fields.integer("columns", 0, 0, kMostPictures));
    recipe.model = base_name(fields.text("model", ""));
    recipe.engine = fields.text("engine", "");
    return recipe;
  });
}

std::vector<PngText> recipe_texts(const Recipe& recipe) {
  return {{"parameters", to_a1111_text(recipe)}, {"darkroom", to_json(recipe)}};
}

}  // namespace darkroom
