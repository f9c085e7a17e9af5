#include <algorithm>
#include <cmath>
#include <limits>
#include <nlohmann/json.hpp>
#include <utility>

#include "base/error.h"
#include "base/number_text.h"
#include "base/printable.h"
#include "image/foreign/a1111_line.h"
#include "image/foreign/readers.h"
#include "image/found_recipe.h"
#include "image/recipe.h"
#include "image/text.h"

// The `parameters` text of AUTOMATIC1111: prompt lines, negative lines, and a last line of "Key: value"
// pairs.

namespace darkroom {
namespace {

constexpr std::string_view kNegativeMark = "Negative prompt:";
constexpr const char *kInitKey = "Init image", *kStrengthKey = "Denoising strength";
constexpr std::string_view kBlanks = " \t\r\n\v\f";
constexpr std::size_t kMostTextBytes = std::size_t{8} << 20;

std::string_view trimmed(std::string_view text) {
  const std::size_t first = text.find_first_not_of(kBlanks);
  if (first == std::string_view::npos) return {};
  return text.substr(first, text.find_last_not_of(kBlanks) - first + 1);
}

// A value that a reader would cut at a comma or take for another key is written as a JSON string.
std::string quote_value(const std::string& value) {
  const bool plain = value.find_first_of(",:\n\"") == std::string::npos && trimmed(value) == value;
  if (plain) return value;
  return nlohmann::json(value).dump(-1, ' ', false, nlohmann::json::error_handler_t::replace);
}

std::string unquote_value(std::string_view value) {
  if (value.size() >= 2 && value.front() == '"' && value.back() == '"') {
    const nlohmann::json parsed = nlohmann::json::parse(value, nullptr, false);
    if (parsed.is_string()) return parsed.get<std::string>();
  }
  return std::string(value);
}

bool is_word(char c) {  // a letter, digit or underscore; every character beyond ASCII counts as a letter
  const bool letter = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z');
  return letter || (c >= '0' && c <= '9') || c == '_' || static_cast<uint8_t>(c) >= 0x80;
}

bool is_key_character(char c) { return is_word(c) || c == ' ' || c == '-' || c == '/'; }

// Length of a quoted string at the start of `text` that is followed by a comma or the end; 0 if there is
// none.
std::size_t quoted_length(std::string_view text) {
  if (text.empty() || text[0] != '"') return 0;
  for (std::size_t i = 1; i < text.size(); ++i) {
    if (text[i] == '\\') {
      ++i;
    } else if (text[i] == '"') {
      const bool ended = i + 1 == text.size() || text[i + 1] == ',';
      return i > 1 && ended ? i + 1 : 0;
    }
  }
  return 0;
}

// Length of a list or an object at the start of `text`, with all that is between its brackets; 0 if there is
// none that ends and is followed by a comma or the end. Looks at `budget` bytes at most, and takes them off.
std::size_t bracketed_length(std::string_view text, std::size_t& budget) {
  if (!text.starts_with('[') && !text.starts_with('{')) return 0;
  int depth = 0;
  bool quoted = false;
  for (std::size_t i = 0; i < text.size() && budget > 0; ++i, --budget) {
    if (text[i] == '"') quoted = !quoted;
    if (quoted && text[i] == '\\') ++i;
    if (quoted) continue;
    depth += (text[i] == '[' || text[i] == '{') - (text[i] == ']' || text[i] == '}');
    if (depth == 0) return i + 1 == text.size() || text[i + 1] == ',' ? i + 1 : 0;
  }
  return 0;
}

// All "Key: value" pairs of a line, wherever they stand. A key is a word character and at least one more
// character that keys may have; a value ends at a comma unless it is quoted or in brackets. What is no pair
// is passed over.
Pairs read_pairs(std::string_view line) {
  Pairs pairs;
  std::size_t budget = 4 * line.size();  // for brackets that do not end
  std::size_t i = 0;
  while (i < line.size()) {
    if (!is_word(line[i])) {
      ++i;
      continue;
    }
    std::size_t end = i;
    while (end < line.size() && is_key_character(line[end])) ++end;
    if (end == line.size() || line[end] != ':' || end - i < 2) {
      i = end + 1;  // no key starts inside this run either: it would end at the same place
      continue;
    }
    std::size_t first = line.find_first_not_of(kBlanks, end + 1);
    if (first == std::string_view::npos) first = line.size();
    std::size_t length = quoted_length(line.substr(first));
    if (length == 0) length = bracketed_length(line.substr(first), budget);
    if (length == 0) length = std::min(line.find(',', first), line.size()) - first;
    pairs.emplace_back(line.substr(i, end - i), unquote_value(line.substr(first, length)));
    i = first + length + 1;  // past the comma
  }
  return pairs;
}

template <typename Number>
Number parse_number(std::string_view text, std::string_view key, Number low, Number high,
                    const std::string& where) {
  const std::optional<Number> value = number_in(trimmed(text), low, high);
  require(value.has_value(), ErrorCode::kFailure, "{}: '{}' is '{}', expected a number from {} to {}", where,
          key, clean_utf8(text.substr(0, 40)), low, high);
  return *value;
}

void read_size(std::string_view text, Recipe* recipe, const std::string& where) {
  const std::size_t cross = text.find('x');
  require(cross != std::string_view::npos, ErrorCode::kFailure, "{}: 'Size' is '{}', expected WIDTHxHEIGHT",
          where, clean_utf8(text.substr(0, 40)));
  recipe->width = parse_number(text.substr(0, cross), "Size", 1, 1 << 20, where);
  recipe->height = parse_number(text.substr(cross + 1), "Size", 1, 1 << 20, where);
}

std::vector<double> read_list(std::string_view text, const std::string& where) {
  std::vector<double> values;
  for (;;) {
    const std::size_t comma = text.find(',');
    values.push_back(parse_number(text.substr(0, comma), "Sigmas", -1e6, 1e6, where));
    require(values.size() <= 1000, ErrorCode::kFailure, "{}: 'Sigmas' has more than 1000 numbers", where);
    if (comma == std::string_view::npos) return values;
    text.remove_prefix(comma + 1);
  }
}

// The generator named by `value`, or nothing when it is one that we do not have.
std::string read_rng(std::string value) {
  std::transform(value.begin(), value.end(), value.begin(),
                 [](char c) { return c >= 'A' && c <= 'Z' ? static_cast<char>(c - 'A' + 'a') : c; });
  if (value == "cpu") return "torch-cpu";
  return value == "gpu" || value == "nv" || value == "cuda" ? "torch-cuda" : "";
}

// Our names and that program's; ours is empty for what a recipe does not state.
struct Name {
  std::string_view ours, theirs;
};
constexpr Name kSamplers[] = {
    {"", "Euler"}, {"heun", "Heun"}, {"dpm++2m", "DPM++ 2M"}, {"ipndm", "iPNDM"}, {"euler-a", "Euler a"}};
constexpr Name kSpacings[] = {{"", "Simple"}, {"beta", "Beta"}, {"karras", "Karras"}};

template <std::size_t kCount>
bool read_name(const Name (&names)[kCount], std::string_view theirs, std::string* ours) {
  for (const Name& name : names) {
    if (name.theirs == theirs) {
      *ours = name.ours;
      return true;
    }
  }
  return false;
}

template <std::size_t kCount>
std::string written_name(const Name (&names)[kCount], const std::string& ours) {
  for (const Name& name : names) {
    if (name.ours == ours) return std::string(name.theirs);
  }
  return ours;
}

// Stores one pair; false when it has no place in a recipe.
bool store_pair(const std::string& key, const std::string& value, Recipe* recipe, const std::string& where) {
  const auto count = [&] { return parse_number(value, key, 0, 1 << 20, where); };
  const auto scale = [&] { return parse_number(value, key, -1e6, 1e6, where); };
  if (key == "Steps") {
    recipe->steps = count();
  } else if (key == "Size") {
    read_size(value, recipe, where);
  } else if (key == "Seed") {
    recipe->seed = parse_number(value, key, uint64_t{0}, std::numeric_limits<uint64_t>::max(), where);
  } else if (key == "CFG scale") {
    recipe->cfg = scale();
  } else if (key == "Distilled CFG Scale" || key == "Guidance") {
    recipe->guidance = scale();
  } else if (key == "Guidance schedule") {
    recipe->guidance_schedule = value;
  } else if (key == "Guidance interval") {
    recipe->guidance_interval = value;
  } else if (key == "CFG method") {
    recipe->cfg_method = value;
  } else if (key == "Threshold") {
    recipe->threshold = value;
  } else if (key == "Step cache") {
    recipe->cache = value;
  } else if (key == "Passes") {
    recipe->passes = count();
  } else if (key == "Skipped passes") {
    recipe->skipped_passes = count();
  } else if (key == "Sigmas") {
    recipe->sigmas = read_list(value, where);
  } else if (key == "Max text tokens") {
    recipe->max_text_tokens = count();
  } else if (key == kStrengthKey) {
    recipe->strength = parse_number(value, key, 0.0, 1.0, where);
  } else if (key == kInitKey) {
    recipe->init = base_name(value);
  } else if (key == "Mask image") {
    recipe->mask = base_name(value);
  } else if (key == "Noise file") {
    recipe->noise = base_name(value);
  } else if (key == "Pictures") {
    recipe->pictures = parse_number(value, key, 0, 1000, where);
  } else if (key == "Columns") {
    recipe->columns = parse_number(value, key, 0, 1000, where);
  } else if (key == "Precision") {
    recipe->precision = value;
  } else if (key == "Weights") {
    recipe->weights = value;
  } else if (key == "Model") {
    recipe->model = base_name(value);
  } else if (key == "Version") {
    recipe->engine = value;
  } else if (key == "RNG") {
    recipe->rng = read_rng(value);
    return !recipe->rng.empty();
  } else if (key == "Sampler") {
    return read_name(kSamplers, value, &recipe->sampler);
  } else if (key == "Schedule type") {
    return read_name(kSpacings, value, &recipe->spacing);
  } else {
    return false;
  }
  return true;
}

// Prompt and negative prompt from the lines above the parameters.
void read_prompts(std::string_view text, Recipe* recipe) {
  std::string* prompt = &recipe->prompt;
  for (bool more = true; more;) {
    const std::size_t newline = text.find('\n');
    std::string_view line = trimmed(text.substr(0, newline));
    more = newline != std::string_view::npos;
    if (more) text.remove_prefix(newline + 1);
    if (line.starts_with(kNegativeMark)) {
      prompt = &recipe->negative;
      line = trimmed(line.substr(kNegativeMark.size()));
    }
    if (!prompt->empty()) *prompt += '\n';
    *prompt += line;
  }
}

// A text in its three parts.
struct Parts {
  std::string_view above = {};
  Pairs pairs = {};  // of the line of parameters, empty if there is none
  std::string_view below = {};
};

// Of several such lines the last one counts. Without one, all is above.
Parts find_parameters(std::string_view text) {
  for (std::size_t end = text.size();;) {
    const std::size_t newline = end == 0 ? std::string_view::npos : text.rfind('\n', end - 1);
    const std::size_t first = newline == std::string_view::npos ? 0 : newline + 1;
    Pairs pairs = read_pairs(trimmed(text.substr(first, end - first)));
    if (are_parameters(pairs)) {
      return {text.substr(0, first == 0 ? 0 : newline), std::move(pairs), text.substr(end)};
    }
    if (newline == std::string_view::npos) return {text};
    end = newline;
  }
}

void store_pairs(const Pairs& pairs, FoundRecipe& found, const std::string& where) {
  // Other programs write a strength also where no picture is named, or none was there (upscaling).
  const bool has_init =
      std::ranges::any_of(pairs, [](const auto& pair) { return known_key(pair.first) == kInitKey; });
  std::string generator;
  for (const auto& [key, value] : pairs) {
    const std::string_view known = known_key(key);
    const std::string name(known.empty() ? std::string_view(key) : known);
    if (name == "RNG") generator = value;
    try {
      const bool has_place = has_init || name != kStrengthKey;
      if (read_foreign_pair(name, value, found)) continue;
      if (!has_place || name == "RNG" || !store_pair(name, value, &found.recipe, where)) {
        if (name != "RNG") name_pair(name, value, found);
      }
    } catch (const Error&) {  // of a value that is none: the rest still counts
      add_not_repeated(found, name, value.empty() ? "''" : value, "not understood");
    }
  }
  // At last: it says more than the name of the program.
  if (generator.empty() || store_pair("RNG", generator, &found.recipe, where)) return;
  add_not_repeated(found, "RNG", generator, "torch-cpu instead");
}

}  // namespace

std::string to_a1111_text(const Recipe& recipe) {
  std::string text = recipe.prompt;
  if (!recipe.negative.empty()) text += fmt::format("\n{} {}", kNegativeMark, recipe.negative);
  Pairs pairs;
  const auto add = [&](const char* key, const std::string& value) {
    if (!value.empty()) pairs.emplace_back(key, value);
  };
  if (recipe.steps != 0) add("Steps", fmt::format("{}", recipe.steps));
  add("Sampler", written_name(kSamplers, recipe.sampler));
  if (recipe.sigmas.empty() || !recipe.spacing.empty())
    add("Schedule type", written_name(kSpacings, recipe.spacing));
  add("CFG scale", fmt::format("{}", recipe.cfg.value_or(1.0)));
  if (recipe.guidance) add("Distilled CFG Scale", fmt::format("{}", *recipe.guidance));
  add("Guidance schedule", recipe.guidance_schedule);
  add("Guidance interval", recipe.guidance_interval);
  add("CFG method", recipe.cfg_method);
  add("Threshold", recipe.threshold);
  add("Step cache", recipe.cache);
  if (recipe.passes != 0) add("Passes", fmt::format("{}", recipe.passes));
  if (recipe.skipped_passes != 0) add("Skipped passes", fmt::format("{}", recipe.skipped_passes));
  if (recipe.seed) add("Seed", fmt::format("{}", *recipe.seed));
  if (recipe.width != 0) add("Size", fmt::format("{}x{}", recipe.width, recipe.height));
  add("Model", base_name(recipe.model));
  add("RNG", recipe.rng == "torch-cpu" ? "CPU" : recipe.rng == "torch-cuda" ? "NV" : recipe.rng);
  add("Noise file", base_name(recipe.noise));
  if (recipe.strength) add(kStrengthKey, fmt::format("{}", *recipe.strength));
  add(kInitKey, base_name(recipe.init));
  add("Mask image", base_name(recipe.mask));
  if (recipe.pictures != 0) add("Pictures", fmt::format("{}", recipe.pictures));
  if (recipe.columns != 0) add("Columns", fmt::format("{}", recipe.columns));
  if (recipe.max_text_tokens != 0) add("Max text tokens", fmt::format("{}", recipe.max_text_tokens));
  add("Precision", recipe.precision);
  add("Weights", recipe.weights);
  if (!recipe.sigmas.empty()) add("Sigmas", fmt::format("{}", fmt::join(recipe.sigmas, ", ")));
  add("Version", recipe.engine);
  text += '\n';
  for (std::size_t i = 0; i < pairs.size(); ++i) {
    text += fmt::format("{}{}: {}", i == 0 ? "" : ", ", pairs[i].first, quote_value(pairs[i].second));
  }
  return text;
}

FoundRecipe from_a1111_text(std::string_view text, const std::string& where) {
  require(text.size() <= kMostTextBytes, ErrorCode::kFailure, "{}: {} bytes of text, at most {} are read",
          where, text.size(), kMostTextBytes);
  FoundRecipe found{.source = RecipeSource::kA1111};
  text = trimmed(text);
  const Parts parts = find_parameters(text);
  read_prompts(parts.above, &found.recipe);
  name_prompt_syntax(found);
  if (parts.pairs.empty()) return found;
  if (!trimmed(parts.below).empty()) {
    found.notes.push_back(fmt::format("what follows the line of parameters is left out: '{}'",
                                      printable(trimmed(parts.below), 60)));
  }
  found.recipe.rng = "torch-cuda";
  store_pairs(parts.pairs, found, where);
  return found;
}

bool has_a1111_parameters(std::string_view text) { return !find_parameters(trimmed(text)).pairs.empty(); }

}  // namespace darkroom
