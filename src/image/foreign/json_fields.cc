#include "image/foreign/json_fields.h"

#include <cmath>
#include <limits>
#include <vector>

#include "base/error.h"
#include "base/json.h"
#include "base/number_text.h"
#include "image/foreign/names.h"
#include "image/text.h"

namespace darkroom {
namespace {

using nlohmann::json;

constexpr int kMaxInteger = 1 << 20;
constexpr double kMaxScale = 1e6;

std::string_view trimmed(std::string_view text) {
  const std::size_t first = text.find_first_not_of(" \t\r\n");
  if (first == std::string_view::npos) return {};
  return text.substr(first, text.find_last_not_of(" \t\r\n") - first + 1);
}

std::optional<double> number_of(const json& value) {
  if (value.is_number()) return value.get<double>();
  if (!value.is_string()) return std::nullopt;
  return number_in(trimmed(value.get_ref<const std::string&>()), -1e300, 1e300);
}

// Replaces the bare words that Python's json.dumps writes and JSON lacks; texts in quotes stay.
std::string without_nan(std::string_view text) {
  std::string out;
  out.reserve(text.size());
  bool quoted = false;
  for (std::size_t i = 0; i < text.size(); ++i) {
    if (quoted && text[i] == '\\' && i + 1 < text.size()) {
      out += text[i++];
    } else if (text[i] == '"') {
      quoted = !quoted;
    } else if (!quoted && (text[i] == 'N' || text[i] == 'I' || text[i] == '-')) {
      bool replaced = false;
      for (const std::string_view word : {"NaN", "Infinity", "-Infinity"}) {
        if (!text.substr(i).starts_with(word)) continue;
        out += "null";
        i += word.size() - 1;
        replaced = true;
        break;
      }
      if (replaced) continue;
    }
    out += text[i];
  }
  return out;
}

}  // namespace

std::optional<json> json_in(std::string_view text) {
  text = trimmed(text);
  if (!text.starts_with('{') && !text.starts_with('[')) return std::nullopt;
  try {
    return parse_json(without_nan(text), "");
  } catch (const Error&) {
    return std::nullopt;
  }
}

std::string value_text(const json& value) {
  if (value.is_string()) return value.get<std::string>();
  return value.dump(-1, ' ', false, json::error_handler_t::replace);
}

bool says_nothing(const json& value) {
  if (value.is_null() || (value.is_structured() && value.empty())) return true;
  if (value.is_boolean()) return !value.get<bool>();
  if (value.is_number()) return value.get<double>() == 0;
  if (!value.is_string()) return false;
  const std::string text = lower_case(trimmed(value.get_ref<const std::string&>()));
  return text.empty() || text == "none" || text == "false" || text == "[]" || text == "null";
}

void store_seed(std::string_view name, const json& value, FoundRecipe& found) {
  std::optional<uint64_t> seed;
  if (value.is_number_unsigned()) seed = value.get<uint64_t>();
  if (value.is_string()) {
    seed = number_in(trimmed(value.get_ref<const std::string&>()), uint64_t{0},
                     std::numeric_limits<uint64_t>::max());
  }
  if (value.is_number_float()) {
    const double number = value.get<double>();
    if (number >= 0 && number < 9e15 && number == std::floor(number)) seed = static_cast<uint64_t>(number);
  }
  if (seed) {
    found.recipe.seed = seed;
  } else {
    const std::string text = value_text(value);
    add_not_repeated(found, name, text, text == "-1" ? "it means any" : "no whole number from 0 to 2^64 - 1");
  }
}

void store_count(std::string_view name, const json& value, std::optional<int64_t>& out, FoundRecipe& found) {
  const double number = number_of(value).value_or(-1);
  if (number >= 1 && number <= kMaxInteger && number == std::floor(number)) {
    out = static_cast<int64_t>(number);
  } else {
    add_not_repeated(found, name, value_text(value), "no whole number from 1 up");
  }
}

void store_number(std::string_view name, const json& value, std::optional<double>& out, FoundRecipe& found) {
  const std::optional<double> number = number_of(value);
  if (number && std::abs(*number) <= kMaxScale) {
    out = number;
  } else {
    add_not_repeated(found, name, value_text(value), "no number");
  }
}

void store_size(std::string_view name, const std::string& value, FoundRecipe& found) {
  std::vector<int> sides;
  int side = 0;
  bool has_digits = false;
  for (const char c : value + ' ') {
    if (c >= '0' && c <= '9') {
      side = std::min(side * 10 + (c - '0'), kMaxInteger);
      has_digits = true;
    } else if (has_digits) {
      sides.push_back(side);
      side = 0;
      has_digits = false;
    }
  }
  const bool good = sides.size() == 2 && sides[0] > 0 && sides[1] > 0 && value.find('-') == std::string::npos;
  if (!good) return add_not_repeated(found, name, value, "no size");
  found.recipe.width = sides[0];
  found.recipe.height = sides[1];
}

const json* ForeignFields::take(Names names) {
  const json* value = nullptr;
  for (const char* name : names) {
    taken_.insert(name);
    const auto at = object_.find(name);
    if (value || at == object_.end() || at->is_null()) continue;
    value = &*at;
    last_ = name;
  }
  return value;
}

std::string ForeignFields::text(Names names) {
  std::string out;
  text(names, out);
  return out;
}

void ForeignFields::text(Names names, std::string& out) {
  const json* value = take(names);
  if (value && value->is_string()) out = clean_utf8(value->get_ref<const std::string&>());
  if (value && !value->is_string()) name_bad(last_, *value, "no text");
}

void ForeignFields::text(Names names, std::optional<std::string>& out) {
  if (const std::string found = text(names); !found.empty()) out = found;
}

void ForeignFields::count(Names names, std::optional<int64_t>& out) {
  if (const json* value = take(names)) store_count(last_, *value, out, found_);
}

void ForeignFields::number(Names names, std::optional<double>& out) {
  if (const json* value = take(names)) store_number(last_, *value, out, found_);
}

void ForeignFields::seed(Names names) {
  if (const json* value = take(names)) store_seed(last_, *value, found_);
}

void ForeignFields::sampler(Names names) {
  const std::string name = text(names);
  read_sampler(last_, name, found_);
}

void ForeignFields::spacing(Names names) {
  const std::string name = text(names);
  read_spacing(last_, name, found_);
}

void ForeignFields::model(Names names) {
  const json* value = take(names);
  if (!value) return;
  if (value->is_object()) {
    for (const char* name : {"name", "model_name"}) {
      const auto at = value->find(name);
      if (at != value->end() && at->is_string())
        found_.recipe.model = base_name(clean_utf8(at->get<std::string>()));
    }
  } else if (value->is_string()) {
    found_.recipe.model = base_name(clean_utf8(value->get<std::string>()));
  }
}

void ForeignFields::skip(Names names) { taken_.insert(names.begin(), names.end()); }

void ForeignFields::name_rest() {
  for (const auto& [name, value] : object_.items()) {
    if (!taken_.contains(name) && !says_nothing(value)) add_not_repeated(found_, name, value_text(value));
  }
}

void ForeignFields::name_bad(std::string_view name, const json& value, std::string_view expected) {
  add_not_repeated(found_, name, value_text(value), expected);
}

}  // namespace darkroom
