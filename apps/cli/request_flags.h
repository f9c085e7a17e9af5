// What to draw: the flags that `generate` and `plan` share. They come from the library's schema of a request,
// so a new option needs no line here.
#pragma once

#include <nlohmann/json.hpp>
#include <string>

#include "arguments.h"
#include "darkroom/darkroom.h"
#include "engine.h"

namespace cli {

// Options by their names in JSON; absent ones are left to the recipe of --like, else to the model.
using Settings = nlohmann::json;

// The library's table of options, as a JSON Schema: darkroom_request_schema().
nlohmann::json request_schema();

// Adds a flag for each option. Values go to `settings`, which must outlive the parse.
void add_request_flags(Arguments& arguments, Settings& settings);

// Reads the texts of one option's flag into `settings`, which must outlive the parse.
Arguments::Read option_reader(Settings& settings, const std::string& name);

// The flag of one option alone, by its name in JSON.
void add_request_flag(Arguments& arguments, Settings& settings, const std::string& name);

// Puts the scales of --guidance-schedule's file in place of its path. Throws Failure (DARKROOM_USAGE) for a
// file that cannot be read, and for texts that are not UTF-8.
void settle_texts(Settings& settings);

// A text option, or "" where it is not set.
std::string text_of(const Settings& settings, const char* name);

// Fills what is absent from a recipe's JSON (darkroom_read_recipe()), by darkroom_with_recipe().
void fill_from_recipe(const Engine& engine, Settings& settings, const std::string& recipe);

// A request with these settings; callbacks are unset. Paths may be any bytes, which JSON may not, so they
// have fields of their own.
class OwnedRequest {
 public:
  explicit OwnedRequest(const Settings& settings);
  OwnedRequest(const OwnedRequest&) = delete;
  OwnedRequest& operator=(const OwnedRequest&) = delete;

  // Points into this.
  darkroom_request c;

 private:
  std::string text_, noise_, init_, mask_, scratch_;
};

// Throws Failure (DARKROOM_USAGE) unless `text` is UTF-8 without zero bytes; `what` names it.
void require_text(const std::string& what, const std::string& text);

}  // namespace cli
