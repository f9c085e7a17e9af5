#include "image/recipe.h"

#include <cmath>
#include <limits>
#include <nlohmann/json.hpp>

#include "base/json.h"
#include "image/picture_file.h"
#include "image/text.h"
#include "options/limits.h"
#include "options/request_json.h"

namespace darkroom {
namespace {

using nlohmann::json;

// The format of the JSON; grows when a reader of the older one would draw another picture. 2: sampler,
// spacing and what steers guidance. 3: a picture to start from. 4: LoRAs. A recipe is written in the oldest
// format that says it all.
constexpr int64_t kFormat = 4;
constexpr int64_t kMaxPasses = 1 << 20;

// Whether a reader of the first format knows all of it.
bool is_plain(const Recipe& recipe) {
  for (const char* name :
       {"sampler", "spacing", "guidance_schedule", "guidance_interval", "cfg_method", "threshold", "cache"}) {
    if (!is_own(*find_option(name), recipe)) return false;
  }
  return true;
}

int64_t format_of(const Recipe& recipe) {
  if (!recipe.loras.empty()) return 4;
  if (!recipe.init_path.empty()) return 3;
  return is_plain(recipe) ? 1 : 2;
}

// All seeds, for people and other programs; darkroom reads the first seed and the number of pictures.
std::vector<uint64_t> seeds_of(const Recipe& recipe) {
  std::vector<uint64_t> seeds;
  for (int64_t i = 0; i < *recipe.count; ++i) seeds.push_back(*recipe.seed + static_cast<uint64_t>(i));
  return seeds;
}

// A contact sheet's own keys: its count is spelled "pictures".
void set_sheet(const Recipe& recipe, json& object) {
  if (!recipe.count) return;
  object["pictures"] = *recipe.count;
  if (recipe.sheet_columns) object["columns"] = *recipe.sheet_columns;
  if (recipe.seed) object["seeds"] = seeds_of(recipe);
}

std::optional<int64_t> read_count(const JsonFields& fields, const char* name, int64_t most) {
  const int64_t count = fields.integer(name, 0, 0, most);
  return count == 0 ? std::nullopt : std::optional(count);
}

Recipe with_bare_names(Recipe recipe) {
  for (std::filesystem::path Request::*file :
       {&Request::noise_path, &Request::init_path, &Request::mask_path}) {
    recipe.*file = base_name((recipe.*file).string());
  }
  for (LoraChoice& lora : recipe.loras) lora.path = base_name(lora.path.string());
  recipe.model = base_name(recipe.model);
  return recipe;
}

}  // namespace

std::string base_name(std::string_view path) {
  const std::size_t end = path.find_last_not_of("/\\");
  if (end == std::string_view::npos) return {};
  path = path.substr(0, end + 1);
  const std::size_t separator = path.find_last_of("/\\");
  return std::string(separator == std::string_view::npos ? path : path.substr(separator + 1));
}

std::string to_json(const Recipe& given) {
  const Recipe recipe = with_bare_names(given);
  json object = {{"format", format_of(recipe)}};
  for (const Option& option : options()) {
    const bool stated = option.in_recipe == InRecipe::kAlways ||
                        (option.in_recipe == InRecipe::kUnlessOwn && !is_own(option, recipe));
    if (stated) store_option(option, recipe, object);
  }
  if (recipe.passes != 0) object["passes"] = recipe.passes;
  if (recipe.skipped_passes != 0) object["skipped_passes"] = recipe.skipped_passes;
  set_sheet(recipe, object);
  if (!recipe.model.empty()) object["model"] = recipe.model;
  if (!recipe.engine.empty()) object["engine"] = recipe.engine;
  return object.dump(-1, ' ', true, json::error_handler_t::replace);
}

Recipe from_json(std::string_view text, const std::string& where) {
  return with_picture_errors([&] {
    require(text.size() <= kMaxTextBytes, ErrorCode::kFailure, "{}: {} bytes of JSON, at most {} are read",
            where, text.size(), kMaxTextBytes);
    const json object = parse_json(text, where);
    const JsonFields fields(object, where);
    const int64_t format = fields.required_integer("format", 1, std::numeric_limits<int64_t>::max());
    require(format <= kFormat, ErrorCode::kFailure,
            "{}: the recipe has format {}, this program reads up to {}: use a newer one", where, format,
            kFormat);
    Recipe recipe;
    for (const Option& option : options()) {
      if (option.in_recipe == InRecipe::kNo || !fields.has(std::string(option.name))) continue;
      load_option(option, object.at(std::string(option.name)), recipe, where);
    }
    recipe.passes = static_cast<int>(fields.integer("passes", 0, 0, kMaxPasses));
    recipe.skipped_passes = static_cast<int>(fields.integer("skipped_passes", 0, 0, kMaxPasses));
    recipe.count = read_count(fields, "pictures", kMaxCount);
    recipe.sheet_columns = read_count(fields, "columns", kMaxCount);
    recipe.model = fields.text("model", "");
    recipe.engine = fields.text("engine", "");
    return with_bare_names(std::move(recipe));
  });
}

std::vector<PngText> recipe_texts(const Recipe& recipe) {
  return {{"parameters", to_a1111_text(recipe)}, {"darkroom", to_json(recipe)}};
}

}  // namespace darkroom
