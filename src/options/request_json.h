// Requests as JSON objects: {"steps": 20, "seed": 7}, with the names of the table of options.
#pragma once

#include <nlohmann/json_fwd.hpp>
#include <string>

#include "options/option.h"

namespace darkroom {

// Puts the option's value into `object` under its name. An absent value puts nothing.
void store_option(const Option& option, const Request& request, nlohmann::json& object);

// Takes the option from a JSON value of the right type. Numbers are bounded (whole ones by 2^20,
// others by a million in size; a seed has 64 bits), not checked against the option's range. Errors:
// kUsage, `where` in front.
void load_option(const Option& option, const nlohmann::json& value, Request& request,
                 const std::string& where);

// Takes every key of a JSON object; null is as good as absent. Errors: kUsage, `where` in front, for another
// kind of JSON, a key that is no option, or a value of another type.
void load_request(const nlohmann::json& object, Request& request, const std::string& where);

// What is to be drawn when a recipe is repeated: what `settings` says, and where it says nothing, what the
// recipe says (both JSON objects; other keys of a recipe are not options and are left out). Where two options
// contradict, the one in `settings` drops the recipe's:
// - steps or sigmas of one drop both of the other; a spacing drops sigmas;
// - guidance's schedule and interval are repeated only where true CFG still runs, or still does not;
// - int8_group is repeated only where a precision still is int8 or int7;
// - smooth is not, as only the name of the file is known, unless it is off;
// - strength belongs to the recipe's own picture and is repeated only with an init;
// - a sheet's number of pictures and its columns; columns only with that number.
// Recipes leave out what is empty: with cfg above 1 there was a negative prompt, at least an empty one.
nlohmann::json with_recipe(nlohmann::json settings, const nlohmann::json& recipe);

// The options as a JSON Schema (draft 2020-12) of a request: type, range, names, help, unit, flag, heading.
nlohmann::json request_schema();

}  // namespace darkroom
