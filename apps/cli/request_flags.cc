#include "request_flags.h"

#include <fmt/ranges.h>

#include <algorithm>
#include <filesystem>

#include "failure.h"
#include "text.h"
#include "text_file.h"

namespace cli {
namespace {

using nlohmann::json;

constexpr const char* kPaths[] = {"noise", "init", "mask", "scratch"};

RealRange range_of(const json& schema) {
  const bool above = schema.contains("exclusiveMinimum");
  return {schema.at(above ? "exclusiveMinimum" : "minimum").get<double>(),
          schema.at("maximum").get<double>()};
}

bool is_list_of_files(const json& schema) {
  return schema.at("type") == "array" && schema.at("items").at("type") == "object";
}

// "FILE[:STRENGTH]" as the library's JSON has it. A colon that no number follows belongs to the file's name.
json parse_lora(const std::string& what, const std::string& text, RealRange range) {
  const std::size_t colon = text.rfind(':');
  const bool has_strength = colon != std::string::npos && colon + 1 < text.size() &&
                            text.find_first_not_of("0123456789.eE+-", colon + 1) == std::string::npos;
  if (!has_strength) return {{"path", text}};
  return {{"path", text.substr(0, colon)},
          {"strength", parse_real("the strength of " + what, text.substr(colon + 1), range)}};
}

// How a value of this option is read from its text.
Arguments::Read reader_of(const json& schema, const std::string& name, Settings& settings) {
  const std::string type = schema.at("type");
  if (type == "integer" && schema.at("maximum") == UINT64_MAX) {
    return [&settings, name](const std::string& what, const std::string& text) {
      settings[name] = parse_seed(what, text);
    };
  }
  if (type == "integer") {
    const IntegerRange range{schema.at("minimum").get<int64_t>(), schema.at("maximum").get<int64_t>()};
    return [&settings, name, range](const std::string& what, const std::string& text) {
      settings[name] = parse_integer(what, text, range);
    };
  }
  if (type == "number") {
    return [&settings, name, range = range_of(schema)](const std::string& what, const std::string& text) {
      settings[name] = parse_real(what, text, range);
    };
  }
  if (is_list_of_files(schema)) {
    return [&settings, name, range = range_of(schema.at("items").at("properties").at("strength"))](
               const std::string& what, const std::string& text) {
      require_text(what, text);
      settings[name].push_back(parse_lora(what, text, range));
    };
  }
  if (type == "array") {
    return [&settings, name, range = range_of(schema.at("items"))](const std::string& what,
                                                                   const std::string& text) {
      settings[name] = parse_reals(what, text, range);
    };
  }
  return [&settings, name](const std::string&, const std::string& text) { settings[name] = text; };
}

void add_option(Arguments& arguments, const std::string& name, const json& schema, Settings& settings) {
  arguments.group(schema.at("x-group"));
  const Flag flag{.names = schema.at("x-flag"),
                  .value_name = schema.value("x-value", ""),
                  .help = schema.at("description"),
                  .otherwise = schema.value("x-otherwise", "")};
  if (is_list_of_files(schema)) {
    arguments.add_repeated(flag, reader_of(schema, name, settings));
  } else if (schema.at("type") == "boolean") {
    arguments.add_switch(flag, [&settings, name] { settings[name] = true; });
  } else {
    arguments.add(flag, reader_of(schema, name, settings));
  }
}

// Whether the text is a list of scales, which the library reads.
bool is_list(const std::string& text) {
  return text.find_first_not_of("0123456789.,e+ \t\r\n") == std::string::npos;
}

void read_schedule_file(Settings& settings) {
  constexpr std::size_t kMaxBytes = 64 << 10;
  const std::string path = text_of(settings, "guidance_schedule");
  if (is_list(path)) return;
  const std::vector<std::string> curves =
      request_schema().at("properties").at("guidance_schedule").at("examples");
  if (std::ranges::find(curves, path) != curves.end()) return;
  std::error_code unreadable;
  if (!std::filesystem::exists(path, unreadable)) {
    fail(DARKROOM_USAGE,
         "--guidance-schedule is '{}': no such file; there are {}, scales as 1,4.5,1, and files of them",
         printable(path), fmt::join(curves, ", "));
  }
  settings["guidance_schedule"] = read_text_file("--guidance-schedule", path, kMaxBytes);
  require_text("--guidance-schedule " + path, text_of(settings, "guidance_schedule"));
}

}  // namespace

json request_schema() {
  char* text = nullptr;
  if (const darkroom_status status = darkroom_request_schema(&text)) {
    fail(status, "the system ran out of memory");
  }
  const std::unique_ptr<char, void (*)(char*)> owner(text, darkroom_free);
  return json::parse(text);
}

void add_request_flags(Arguments& arguments, Settings& settings) {
  const json schema = request_schema();
  for (const json& name : schema.at("x-order")) {
    add_option(arguments, name, schema.at("properties").at(name.get<std::string>()), settings);
  }
}

Arguments::Read option_reader(Settings& settings, const std::string& name) {
  return reader_of(request_schema().at("properties").at(name), name, settings);
}

void add_request_flag(Arguments& arguments, Settings& settings, const std::string& name) {
  add_option(arguments, name, request_schema().at("properties").at(name), settings);
}

void settle_texts(Settings& settings) {
  read_schedule_file(settings);
  require_text("the prompt", text_of(settings, "prompt"));
  require_text("the negative prompt", text_of(settings, "negative"));
  for (const auto& [name, value] : settings.items()) {
    const bool is_path = std::ranges::find(kPaths, name) != std::end(kPaths);
    if (value.is_string() && !is_path) require_text("--" + name, value.get<std::string>());
  }
}

std::string text_of(const Settings& settings, const char* name) { return settings.value(name, ""); }

void fill_from_recipe(const Engine& engine, Settings& settings, const std::string& recipe) {
  const std::string given = settings.dump(-1, ' ', true, json::error_handler_t::replace);
  Settings filled = json::parse(take_text(engine, [&](char** text) {
    return darkroom_with_recipe(engine.get(), given.c_str(), recipe.c_str(), text);
  }));
  for (const char* path : kPaths) {
    if (settings.contains(path)) filled[path] = settings[path];
  }
  settings = std::move(filled);
}

OwnedRequest::OwnedRequest(const Settings& settings)
    : noise_(text_of(settings, "noise")),
      init_(text_of(settings, "init")),
      mask_(text_of(settings, "mask")),
      scratch_(text_of(settings, "scratch")) {
  Settings rest = settings;
  for (const char* path : kPaths) rest.erase(path);
  text_ = rest.dump();
  darkroom_request_init(&c);
  c.settings = text_.c_str();
  c.noise_path = noise_.c_str();
  c.init_path = init_.c_str();
  c.mask_path = mask_.c_str();
  if (!scratch_.empty()) c.scratch = scratch_.c_str();
}

void require_text(const std::string& what, const std::string& text) {
  if (const auto at = first_invalid_utf8(text)) {
    fail(DARKROOM_USAGE, "{} is not UTF-8: byte 0x{:02x} at offset {}", what,
         static_cast<unsigned char>(text[*at]), *at);
  }
  const std::size_t zero = text.find('\0');
  if (zero != std::string::npos) fail(DARKROOM_USAGE, "{} holds a zero byte at offset {}", what, zero);
}

}  // namespace cli
