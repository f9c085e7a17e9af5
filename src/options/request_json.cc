#include "options/request_json.h"

#include <cmath>
#include <limits>
#include <nlohmann/json.hpp>

#include "base/error.h"
#include "base/printable.h"
#include "options/limits.h"

namespace darkroom {
namespace {

using nlohmann::json;

constexpr uint64_t kMaxInteger = 1 << 20;
constexpr double kMaxReal = 1e6;

struct Store {
  const Request& request;
  json& value;

  void operator()(std::filesystem::path Request::*field) const {
    if (!(request.*field).empty()) value = (request.*field).string();
  }
  void operator()(std::vector<double> Request::*field) const {
    if (!(request.*field).empty()) value = request.*field;
  }
  void operator()(std::vector<LoraChoice> Request::*field) const {
    for (const LoraChoice& lora : request.*field) {
      json one = {{"path", lora.path.string()}, {"strength", lora.strength}};
      if (!lora.sha256.empty()) one["sha256"] = lora.sha256;
      value.push_back(std::move(one));
    }
  }
  void operator()(std::string Request::*field) const { value = request.*field; }
  void operator()(bool Request::*field) const { value = request.*field; }
  template <typename T>
  void operator()(std::optional<T> Request::*field) const {
    if (request.*field) value = *(request.*field);
  }
};

class Load {
 public:
  Load(const Option& option, const json& value, Request& request, const std::string& where)
      : option_(option), value_(value), request_(request), where_(where) {}

  void operator()(std::string Request::*field) const { request_.*field = text(); }
  void operator()(std::optional<std::string> Request::*field) const { request_.*field = text(); }
  void operator()(std::filesystem::path Request::*field) const { request_.*field = text(); }
  void operator()(bool Request::*field) const {
    check(value_.is_boolean(), "true or false");
    request_.*field = value_.get<bool>();
  }
  void operator()(std::optional<int64_t> Request::*field) const {
    // The JSON library keeps a whole number as signed or unsigned, whatever its size.
    const bool good_sign =
        value_.is_number_unsigned() || (value_.is_number_integer() && value_.get<int64_t>() >= 0);
    check(good_sign && value_.get<uint64_t>() <= kMaxInteger,
          fmt::format("a whole number from 0 to {}", kMaxInteger));
    request_.*field = value_.get<int64_t>();
  }
  void operator()(std::optional<uint64_t> Request::*field) const {
    check(value_.is_number_unsigned(),
          fmt::format("a whole number from 0 to {}", std::numeric_limits<uint64_t>::max()));
    request_.*field = value_.get<uint64_t>();
  }
  void operator()(std::optional<double> Request::*field) const { request_.*field = real(value_); }
  void operator()(std::vector<double> Request::*field) const {
    check(value_.is_array() && std::ssize(value_) <= kMaxSteps,
          fmt::format("a list of at most {} numbers", kMaxSteps));
    std::vector<double> values;
    for (const json& value : value_) values.push_back(real(value));
    request_.*field = values;
  }

  void operator()(std::vector<LoraChoice> Request::*field) const {
    check(value_.is_array() && value_.size() <= kMaxLoras,
          fmt::format("a list of at most {} LoRAs", kMaxLoras));
    std::vector<LoraChoice> loras;
    for (const json& one : value_) loras.push_back(lora(one));
    request_.*field = std::move(loras);
  }

 private:
  // {"path": "film.safetensors", "strength": 0.8}, also with the "sha256" of a recipe.
  LoraChoice lora(const json& value) const {
    const std::string expected = "objects with a path, a strength and, of a recipe, a sha256";
    check(value.is_object() && value.contains("path"), expected);
    LoraChoice out;
    for (const auto& [name, each] : value.items()) {
      check(name == "strength" ? each.is_number() : (name == "path" || name == "sha256") && each.is_string(),
            expected);
      if (name == "path") out.path = each.get<std::string>();
      if (name == "strength") out.strength = real(each);
      if (name == "sha256") out.sha256 = each.get<std::string>();
    }
    const bool digits = out.sha256.find_first_not_of("0123456789abcdef") == std::string::npos;
    check(!out.path.empty() && digits && (out.sha256.empty() || out.sha256.size() == 64), expected);
    return out;
  }
  void check(bool good, const std::string& expected) const {
    if (good) return;
    fail(ErrorCode::kUsage, "{}: '{}' is {}, expected {}", where_, option_.name,
         printable(value_.dump(-1, ' ', true, json::error_handler_t::replace), 60), expected);
  }
  std::string text() const {
    check(value_.is_string(), "a text");
    return value_.get<std::string>();
  }
  double real(const json& value) const {
    check(value.is_number() && std::abs(value.get<double>()) <= kMaxReal,
          fmt::format("numbers from {} to {}", -kMaxReal, kMaxReal));
    return value.get<double>();
  }

  const Option& option_;
  const json& value_;
  Request& request_;
  const std::string& where_;
};

struct SchemaType {
  json& schema;
  const Option& option;

  void operator()(std::string Request::*) const { text(); }
  void operator()(std::optional<std::string> Request::*) const { text(); }
  void operator()(std::filesystem::path Request::*) const {
    text();
    schema["format"] = "path";
  }
  void operator()(bool Request::*) const { schema["type"] = "boolean"; }
  void operator()(std::optional<int64_t> Request::*) const {
    schema["type"] = "integer";
    schema["minimum"] = static_cast<int64_t>(option.range->low);
    schema["maximum"] = static_cast<int64_t>(option.range->high);
  }
  void operator()(std::optional<uint64_t> Request::*) const {
    schema["type"] = "integer";
    schema["minimum"] = 0;
    schema["maximum"] = std::numeric_limits<uint64_t>::max();
  }
  void operator()(std::optional<double> Request::*) const { number(schema); }
  void operator()(std::vector<double> Request::*) const {
    schema["type"] = "array";
    schema["maxItems"] = kMaxSteps;
    number(schema["items"]);
  }
  void operator()(std::vector<LoraChoice> Request::*) const {
    schema["type"] = "array";
    schema["maxItems"] = kMaxLoras;
    json& items = schema["items"];
    items = {{"type", "object"},
             {"required", {"path"}},
             {"additionalProperties", false},
             {"properties",
              {{"path", {{"type", "string"}, {"format", "path"}}},
               {"strength", {{"default", 1}}},
               {"sha256", {{"type", "string"}, {"pattern", "^[0-9a-f]{64}$"}}}}}};
    number(items["properties"]["strength"]);
  }

 private:
  void number(json& place) const {
    place["type"] = "number";
    place[option.range->above ? "exclusiveMinimum" : "minimum"] = option.range->low;
    place["maximum"] = option.range->high;
  }
  void text() const {
    schema["type"] = "string";
    if (option.choices.empty()) return;
    // Where other texts are allowed, the names are examples.
    json& names = schema[option.more_forms ? "examples" : "enum"] = json::array();
    for (const OptionChoice& choice : option.choices) names.push_back(choice.name);
  }
};

json schema_of(const Option& option) {
  json schema = {{"description", option.help}};
  std::visit(SchemaType{schema, option}, option.field);
  schema["x-flag"] = option.flag;
  schema["x-group"] = option.group;
  const auto set = [&](const char* name, std::string_view text) {
    if (!text.empty()) schema[name] = text;
  };
  set("x-value", option.value_name);
  set("x-otherwise", option.otherwise);
  set("x-unit", option.unit);
  set("x-a1111", option.a1111);
  schema["x-in-recipe"] = option.in_recipe != InRecipe::kNo;
  return schema;
}

}  // namespace

void store_option(const Option& option, const Request& request, json& object) {
  json value;
  std::visit(Store{request, value}, option.field);
  if (!value.is_null()) object[std::string(option.name)] = std::move(value);
}

void load_option(const Option& option, const json& value, Request& request, const std::string& where) {
  std::visit(Load(option, value, request, where), option.field);
}

void load_request(const json& object, Request& request, const std::string& where) {
  require(object.is_object(), ErrorCode::kUsage, "{}: expected a JSON object", where);
  for (const auto& [name, value] : object.items()) {
    const Option* option = find_option(name);
    if (!option) fail(ErrorCode::kUsage, "{}: there is no option '{}'", where, printable(name));
    if (!value.is_null()) load_option(*option, value, request, where);
  }
}

json with_recipe(json settings, const json& recipe) {
  const json given = settings;
  const double old_cfg = recipe.value("cfg", 1.0), cfg = given.value("cfg", old_cfg);
  const bool same_guide = (old_cfg > 1) == (cfg > 1);
  const bool own_steps = given.contains("steps") || given.contains("sigmas");
  const auto in_8_bits = [&](const char* name) {
    const std::string precision = given.value(name, recipe.value(name, ""));
    return precision == "int8" || precision == "int7";
  };
  const auto belongs = [&](const std::string& name) {
    if (name == "steps") return !own_steps && (given.contains("spacing") || !recipe.contains("sigmas"));
    if (name == "sigmas") return !own_steps && !given.contains("spacing");
    if (name == "spacing") return !given.contains("sigmas");
    if (name == "guidance_schedule" || name == "guidance_interval") return same_guide;
    if (name == "strength") return given.contains("init");
    if (name == "int8_group") return in_8_bits("precision") || in_8_bits("text_precision");
    if (name == "smooth") return recipe.value(name, json()) == "off" && in_8_bits("precision");
    return name != "noise" && name != "init" &&
           name != "mask";  // files, of which a recipe has only the names
  };
  for (const Option& option : options()) {
    const std::string name(option.name);
    if (option.in_recipe == InRecipe::kNo || given.contains(name) || !belongs(name)) continue;
    const auto found = recipe.find(name);
    if (found != recipe.end() && !found->is_null()) settings[name] = *found;
  }
  if (!settings.contains("negative") && old_cfg > 1) settings["negative"] = "";
  if (!settings.contains("prompt")) settings["prompt"] = "";  // an empty one is a prompt, too
  if (recipe.value("pictures", 0) > 1) {
    settings["sheet"] = true;
    if (!given.contains("count")) {
      settings["count"] = recipe["pictures"];
      if (!given.contains("columns") && recipe.contains("columns")) settings["columns"] = recipe["columns"];
    }
  }
  return settings;
}

json request_schema() {
  json properties = json::object();
  json order = json::array();
  for (const Option& option : options()) {
    properties[std::string(option.name)] = schema_of(option);
    order.push_back(option.name);
  }
  return {{"$schema", "https://json-schema.org/draft/2020-12/schema"},
          {"title", "What darkroom draws"},
          {"type", "object"},
          {"properties", properties},
          {"additionalProperties", false},
          {"x-order", order}};
}

}  // namespace darkroom
