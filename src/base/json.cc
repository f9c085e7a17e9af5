#include "base/json.h"

#include <algorithm>
#include <nlohmann/json.hpp>

#include "base/error.h"
#include "base/file_map.h"
#include "base/foreign_file.h"
#include "base/printable.h"

namespace darkroom {

using nlohmann::json;

namespace {

// Configs and tokenizers need about 6; copying and printing a value recurse.
constexpr int64_t kMaxDepth = 64;

// Brackets open at the deepest point, strings left out. Only as right as the text is JSON, which
// the parser decides.
int64_t nesting_depth(std::string_view text) {
  int64_t depth = 0, deepest = 0;
  bool in_string = false;
  for (std::size_t i = 0; i < text.size(); ++i) {
    const char c = text[i];
    if (in_string) {
      if (c == '\\') ++i;
      if (c == '"') in_string = false;
    } else if (c == '"') {
      in_string = true;
    } else if (c == '{' || c == '[') {
      deepest = std::max(deepest, ++depth);
    } else if (c == '}' || c == ']') {
      --depth;
    }
  }
  return deepest;
}

// A value as a message shows it: short, and never the inside of a list or an object.
std::string shown(const json& value) {
  if (value.is_structured()) return value.is_array() ? "a list" : "an object";
  return printable(value.dump(-1, ' ', true, json::error_handler_t::replace), 40);
}

}  // namespace

json parse_json(std::string_view text, const std::string& where) {
  refuse_foreign(text, where);
  // The parser takes a zero byte for the end of the text and would not look at what follows.
  require(text.find('\0') == std::string_view::npos, ErrorCode::kModel,
          "{}: not valid JSON: a zero byte at {}", where, text.find('\0'));
  const int64_t depth = nesting_depth(text);
  require(depth <= kMaxDepth, ErrorCode::kModel, "{}: JSON nested {} deep, at most {} is supported", where,
          depth, kMaxDepth);
  try {
    return json::parse(text);
  } catch (const json::exception& e) {  // its text quotes the input
    fail(ErrorCode::kModel, "{}: not valid JSON: {}", where, printable(e.what(), 200));
  }
}

json read_json_file(const std::filesystem::path& path, std::size_t max_bytes) {
  return parse_json(read_text_file(path, max_bytes), path.string());
}

JsonFields::JsonFields(const json& object, std::string where) : object_(object), where_(std::move(where)) {
  require(object.is_object(), ErrorCode::kModel, "{}: expected a JSON object, found {}", where_,
          object.type_name());
}

const json* JsonFields::find(const std::string& name) const {
  const auto it = object_.find(name);
  return it == object_.end() || it->is_null() ? nullptr : &*it;
}

bool JsonFields::has(const std::string& name) const { return find(name) != nullptr; }

namespace {

int64_t checked_integer(const json& value, const std::string& where, const std::string& name, int64_t low,
                        int64_t high) {
  // An unsigned value above the signed range would wrap in get<int64_t>(): treat it as out of range.
  const bool fits = value.is_number_integer() &&
                    !(value.is_number_unsigned() && value.get<uint64_t>() > static_cast<uint64_t>(INT64_MAX));
  require(fits && value.get<int64_t>() >= low && value.get<int64_t>() <= high, ErrorCode::kModel,
          "{}: '{}' is {}, expected a whole number from {} to {}", where, name, shown(value), low, high);
  return value.get<int64_t>();
}

}  // namespace

int64_t JsonFields::integer(const std::string& name, int64_t fallback, int64_t low, int64_t high) const {
  const json* value = find(name);
  return value ? checked_integer(*value, where_, name, low, high) : fallback;
}

int64_t JsonFields::required_integer(const std::string& name, int64_t low, int64_t high) const {
  const json* value = find(name);
  require(value != nullptr, ErrorCode::kModel, "{}: the field '{}' is missing", where_, name);
  return checked_integer(*value, where_, name, low, high);
}

double JsonFields::number(const std::string& name, double fallback, double low, double high) const {
  const json* value = find(name);
  if (!value) return fallback;
  require(value->is_number() && value->get<double>() >= low && value->get<double>() <= high,
          ErrorCode::kModel, "{}: '{}' is {}, expected a number from {} to {}", where_, name, shown(*value),
          low, high);
  return value->get<double>();
}

bool JsonFields::boolean(const std::string& name, bool fallback) const {
  const json* value = find(name);
  if (!value) return fallback;
  require(value->is_boolean(), ErrorCode::kModel, "{}: '{}' must be true or false, found {}", where_, name,
          value->type_name());
  return value->get<bool>();
}

std::string JsonFields::text(const std::string& name, const std::string& fallback) const {
  const json* value = find(name);
  if (!value) return fallback;
  require(value->is_string(), ErrorCode::kModel, "{}: '{}' must be a string, found {}", where_, name,
          value->type_name());
  return value->get<std::string>();
}

std::vector<int64_t> JsonFields::integers(const std::string& name, const std::vector<int64_t>& fallback,
                                          int64_t low, int64_t high) const {
  const json* value = find(name);
  if (!value) return fallback;
  require(value->is_array() && value->size() <= 64, ErrorCode::kModel,
          "{}: '{}' must be a list of at most 64 whole numbers", where_, name);
  std::vector<int64_t> out;
  for (const json& element : *value) out.push_back(checked_integer(element, where_, name, low, high));
  return out;
}

std::vector<double> JsonFields::numbers(const std::string& name, std::size_t count, double low,
                                        double high) const {
  const json* value = find(name);
  require(value && value->is_array() && value->size() == count, ErrorCode::kModel,
          "{}: '{}' must be a list of {} numbers", where_, name, count);
  std::vector<double> out;
  for (const json& element : *value) {
    require(element.is_number() && element.get<double>() >= low && element.get<double>() <= high,
            ErrorCode::kModel, "{}: '{}' holds {}, expected numbers from {} to {}", where_, name,
            shown(element), low, high);
    out.push_back(element.get<double>());
  }
  return out;
}

std::vector<std::string> JsonFields::texts(const std::string& name, std::size_t max_count,
                                           std::size_t max_bytes) const {
  std::vector<std::string> out;
  const json* value = find(name);
  if (!value) return out;
  require(value->is_array() && value->size() <= max_count, ErrorCode::kModel,
          "{}: '{}' must be a list of at most {} strings", where_, name, max_count);
  for (const json& element : *value) {
    const std::string* text = element.get_ptr<const std::string*>();
    require(text && !text->empty() && text->size() <= max_bytes, ErrorCode::kModel,
            "{}: '{}' holds {}, expected strings of 1 to {} bytes", where_, name, shown(element), max_bytes);
    out.push_back(*text);
  }
  return out;
}

}  // namespace darkroom
