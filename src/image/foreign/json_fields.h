// The fields of a JSON object that another program wrote: taken by name, and what is left is named in the
// end. Used inside this room only.
#pragma once

#include <cstdint>
#include <initializer_list>
#include <nlohmann/json.hpp>
#include <optional>
#include <set>
#include <string>
#include <string_view>

#include "image/found_recipe.h"

namespace darkroom {

// The JSON value that the whole text is, also with the bare NaN and Infinity that Python writes (null then);
// nothing when it is no JSON or deeper than 64 levels.
std::optional<nlohmann::json> json_in(std::string_view text);

// A value in one line: texts as they are, all others as JSON.
std::string value_text(const nlohmann::json& value);

// Whether it states that something is off: null, false, 0, "", "none", [], {}.
bool says_nothing(const nlohmann::json& value);

// Programs write numbers also as texts, and whole ones as 20.0. A value that is none is left out of the
// recipe and named. Of several names the first that is there counts, and all are taken.
class ForeignFields {
 public:
  using Names = std::initializer_list<const char*>;

  // Keeps references to both; `object` must be an object.
  ForeignFields(const nlohmann::json& object, FoundRecipe& found) : object_(object), found_(found) {}

  const nlohmann::json* take(Names names);  // null when none is there, or it says nothing
  std::string text(Names names);
  void text(Names names, std::string& out);
  void text(Names names, std::optional<std::string>& out);  // an empty text says nothing
  void count(Names names, std::optional<int64_t>& out);
  void number(Names names, std::optional<double>& out);
  void seed(Names names);
  void sampler(Names names);
  void spacing(Names names);
  void model(Names names);  // a path, or an object with a name in it
  // Fields that change no picture.
  void skip(Names names);
  // Every field that was not taken and says something.
  void name_rest();

 private:
  void name_bad(std::string_view name, const nlohmann::json& value, std::string_view expected);

  const nlohmann::json& object_;
  FoundRecipe& found_;
  std::set<std::string, std::less<>> taken_ = {};
  std::string last_ = {};  // the name under which take() found
};

// The same of one value without an object: stores it, or names it as bad.
void store_seed(std::string_view name, const nlohmann::json& value, FoundRecipe& found);
void store_count(std::string_view name, const nlohmann::json& value, std::optional<int64_t>& out,
                 FoundRecipe& found);
void store_number(std::string_view name, const nlohmann::json& value, std::optional<double>& out,
                  FoundRecipe& found);

// Reads "(1024, 768)", "1024x768" or "1024×768" into the recipe's size.
void store_size(std::string_view name, const std::string& value, FoundRecipe& found);

}  // namespace darkroom
