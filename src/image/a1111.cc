#include <algorithm>
#include <cmath>
#include <limits>
#include <nlohmann/json.hpp>
#include <type_traits>
#include <utility>

#include "base/error.h"
#include "base/number_text.h"
#include "base/printable.h"
#include "image/foreign/a1111_line.h"
#include "image/foreign/readers.h"
#include "image/found_recipe.h"
#include "image/recipe.h"
#include "image/text.h"
#include "options/limits.h"
#include "options/option.h"

// The `parameters` text of AUTOMATIC1111: prompt lines, negative lines, and a last line of
// "Key: value" pairs.

namespace darkroom {
namespace {

constexpr std::string_view kNegativeMark = "Negative prompt:";
constexpr const char *kInitKey = "Init image", *kStrengthKey = "Denoising strength";
constexpr std::string_view kBlanks = " \t\r\n\v\f";

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

// Length of a quoted string at the start of `text` that is followed by a comma or the end;
// 0 if there is none.
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

// All "Key: value" pairs of a line, wherever they are. A key is a word character and at least one more
// character that keys may have; a value ends at a comma unless it is quoted or in brackets. What is no
// pair is passed over.
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
  const auto edge = [&](std::string_view side) {
    return parse_number<int64_t>(side, "Size", 1, 1 << 20, where);
  };
  recipe->width = edge(text.substr(0, cross));
  recipe->height = edge(text.substr(cross + 1));
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

// Only "GPU" means the noise of a card, which the text does not name; "NV" and stable-diffusion.cpp's "cuda"
// have a thread for every number. False for a generator that we do not have.
bool read_rng(std::string value, Recipe& recipe) {
  std::transform(value.begin(), value.end(), value.begin(),
                 [](char c) { return c >= 'A' && c <= 'Z' ? static_cast<char>(c - 'A' + 'a') : c; });
  const bool cpu = value == "cpu", gpu = value == "gpu", nv = value == "nv" || value == "cuda";
  const bool card = value.starts_with("torch-cuda:");
  recipe.rng = card ? value : gpu ? "torch-cuda" : nv ? "torch-cuda:nv" : "torch-cpu";
  return cpu || gpu || nv || card;
}

// Reads the value of an option's key into the recipe; false when it says nothing that a recipe can hold.
class ReadPair {
 public:
  ReadPair(const Option& option, const std::string& value, Recipe& recipe, const std::string& where)
      : option_(option), value_(value), recipe_(recipe), where_(where) {}

  bool operator()(std::string Request::*field) const {
    std::string& text = recipe_.*field;
    if (option_.choices.empty() || option_.choices[0].a1111.empty()) {
      text = value_;
      return true;
    }
    for (const OptionChoice& choice : option_.choices) {
      if (choice.a1111 != value_) continue;
      text = choice.name;
      return true;
    }
    return false;
  }
  bool operator()(std::filesystem::path Request::*field) const {
    recipe_.*field = base_name(value_);
    return true;
  }
  bool operator()(std::optional<int64_t> Request::*field) const {
    const OptionRange& range = *option_.range;
    recipe_.*field = parse_number(value_, option_.a1111, static_cast<int64_t>(range.low),
                                  static_cast<int64_t>(range.high), where_);
    return true;
  }
  bool operator()(std::optional<uint64_t> Request::*field) const {
    recipe_.*field =
        parse_number(value_, option_.a1111, uint64_t{0}, std::numeric_limits<uint64_t>::max(), where_);
    return true;
  }
  bool operator()(std::optional<double> Request::*field) const {
    const OptionRange& range = *option_.range;
    const double low = range.above ? std::nextafter(range.low, range.high) : range.low;
    recipe_.*field = parse_number(value_, option_.a1111, low, range.high, where_);
    return true;
  }
  bool operator()(std::vector<double> Request::*field) const {
    recipe_.*field = read_list(value_, where_);
    return true;
  }
  bool operator()(auto) const { return false; }

 private:
  const Option& option_;
  const std::string& value_;
  Recipe& recipe_;
  const std::string& where_;
};

// Other programs' spellings of a key.
std::string_view usual_key(std::string_view key) { return key == "Guidance" ? "Distilled CFG Scale" : key; }

// Stores one pair; false when it has no place in a recipe.
bool store_pair(const std::string& given_key, const std::string& value, Recipe* recipe,
                const std::string& where) {
  const std::string key(usual_key(given_key));
  for (const Option& option : options()) {
    if (option.a1111.empty() || option.a1111 != key) continue;
    if (key == "RNG") return read_rng(value, *recipe);
    return std::visit(ReadPair(option, value, *recipe, where), option.field);
  }
  const auto count = [&](int64_t most) { return parse_number<int64_t>(value, key, 0, most, where); };
  if (key == "Size") {
    read_size(value, recipe, where);
  } else if (key == "Passes") {
    recipe->passes = static_cast<int>(count(1 << 20));
  } else if (key == "Skipped passes") {
    recipe->skipped_passes = static_cast<int>(count(1 << 20));
  } else if (key == "Pictures") {
    recipe->count = count(kMaxCount);
  } else if (key == "Columns") {
    recipe->sheet_columns = count(kMaxCount);
  } else if (key == "Model") {
    recipe->model = base_name(value);
  } else if (key == "Version") {
    recipe->engine = value;
  } else {
    return false;
  }
  return true;
}

// The value of an option's key; "" where it is not stated.
struct WritePair {
  const Option& option;
  const Recipe& recipe;

  std::string operator()(std::string Request::*field) const {
    const std::string& text = recipe.*field;
    for (const OptionChoice& choice : option.choices) {
      if (choice.name == text && !choice.a1111.empty()) return std::string(choice.a1111);
    }
    return is_own(option, recipe) ? "" : text;
  }
  std::string operator()(std::filesystem::path Request::*field) const {
    return base_name((recipe.*field).string());
  }
  std::string operator()(std::vector<LoraChoice> Request::*) const { return ""; }  // in the prompt
  std::string operator()(std::vector<double> Request::*field) const {
    return fmt::format("{}", fmt::join(recipe.*field, ", "));
  }
  template <typename Number>
  requires std::is_arithmetic_v<Number> std::string operator()(std::optional<Number> Request::*field) const {
    return recipe.*field ? fmt::format("{}", *(recipe.*field)) : "";
  }
  std::string operator()(auto) const { return ""; }
};

Pairs pairs_of(const Recipe& recipe) {
  Pairs pairs;
  const auto add = [&](std::string_view key, const std::string& value) {
    if (!value.empty()) pairs.emplace_back(key, value);
  };
  const auto add_count = [&](std::string_view key, int64_t value) {
    if (value != 0) add(key, fmt::format("{}", value));
  };
  for (const Option& option : options()) {
    std::string value = std::visit(WritePair{option, recipe}, option.field);
    if (option.name == "cfg" && value.empty()) value = "1";
    // With noise levels by hand their spacing says nothing.
    if (option.name == "spacing" && !recipe.sigmas.empty() && is_own(option, recipe)) value = "";
    if (!option.a1111.empty()) add(option.a1111, value);
    if (option.name == "height" && recipe.width) {
      add("Size", fmt::format("{}x{}", *recipe.width, recipe.height.value_or(0)));
    }
  }
  add_count("Passes", recipe.passes);
  add_count("Skipped passes", recipe.skipped_passes);
  add_count("Pictures", recipe.count.value_or(0));
  add_count("Columns", recipe.sheet_columns.value_or(0));
  add("Model", base_name(recipe.model));
  add("Version", recipe.engine);
  return pairs;
}

// Prompt and negative prompt from the lines above the parameters.
void read_prompts(std::string_view text, Recipe* recipe) {
  std::string negative;
  std::string* prompt = &recipe->prompt;
  for (bool more = true; more;) {
    const std::size_t newline = text.find('\n');
    std::string_view line = trimmed(text.substr(0, newline));
    more = newline != std::string_view::npos;
    if (more) text.remove_prefix(newline + 1);
    if (line.starts_with(kNegativeMark)) {
      prompt = &negative;
      line = trimmed(line.substr(kNegativeMark.size()));
    }
    if (!prompt->empty()) *prompt += '\n';
    *prompt += line;
  }
  if (!negative.empty()) recipe->negative = negative;
}

// A text in its three parts.
struct Parts {
  std::string_view above = {};
  Pairs pairs = {};  // of the line of parameters, empty if there is none
  std::string_view below = {};
};

// The last of several such lines counts. Without one, all of the text is above.
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
  for (const LoraChoice& lora : recipe.loras) {
    text += fmt::format(" <lora:{}:{}>", std::filesystem::path(base_name(lora.path.string())).stem().string(),
                        lora.strength);
  }
  if (recipe.negative && !recipe.negative->empty()) {
    text += fmt::format("\n{} {}", kNegativeMark, *recipe.negative);
  }
  const Pairs pairs = pairs_of(recipe);
  text += '\n';
  for (std::size_t i = 0; i < pairs.size(); ++i) {
    text += fmt::format("{}{}: {}", i == 0 ? "" : ", ", pairs[i].first, quote_value(pairs[i].second));
  }
  return text;
}

FoundRecipe from_a1111_text(std::string_view text, const std::string& where) {
  require(text.size() <= kMaxTextBytes, ErrorCode::kFailure, "{}: {} bytes of text, at most {} are read",
          where, text.size(), kMaxTextBytes);
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
