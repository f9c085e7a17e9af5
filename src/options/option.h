// The table of options: each option once, with everything that anyone wants to know of it.
//
// From it come the flags, their help, the tables of docs/CLI.md, the man page and the completions (through
// the schema), the reading and writing of requests and recipes as JSON, the keys of A1111's text, and the
// limits. A new option is a field of Request, a row here, and the code that obeys it.
#pragma once

#include <cstdint>
#include <filesystem>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

#include "options/request.h"

namespace darkroom {

// The field of a request; its type is the option's type.
using OptionField =
    std::variant<std::string Request::*, std::optional<std::string> Request::*,
                 std::filesystem::path Request::*, std::optional<int64_t> Request::*,
                 std::optional<uint64_t> Request::*, std::optional<double> Request::*,
                 std::vector<double> Request::*, std::vector<LoraChoice> Request::*, bool Request::*>;

// Numbers that are allowed, both ends included unless `above` says that the low one is not.
struct OptionRange {
  double low = 0, high = 0;
  bool above = false;
};

// A name that the option may have, and how A1111's text spells it ("" where it does not).
struct OptionChoice {
  std::string_view name, a1111 = {};
};

// Whether a picture's recipe states the option.
enum class InRecipe {
  kNo,         // it changes no byte of the picture, or the run it belongs to
  kUnlessOwn,  // unless it is what a request says that does not mention it
  kAlways,
};

struct Option {
  std::string_view name;  // in JSON
  OptionField field;
  std::string_view flag;            // "-W,--width"; a short one first; "prompt" besides: also without a flag
  std::string_view value_name;      // "N"; "" for a switch
  std::string_view group;           // the heading in the help
  std::string_view help;            // a sentence without its dot, for the help, the manual and the schema
  std::string_view otherwise = {};  // what holds when it is not given, in words
  std::optional<OptionRange> range = {};
  std::string_view unit = {};
  std::span<const OptionChoice> choices = {};  // empty: any text
  bool more_forms = false;                     // choices take parameters, or are not the only texts
  InRecipe in_recipe = InRecipe::kUnlessOwn;
  std::string_view a1111 = {};  // the key in A1111's text; "" where that has none of its own
};

// All options, in the order of the help and of A1111's text.
std::span<const Option> options();

// The option with this name in JSON; null if there is none.
const Option* find_option(std::string_view name);

// Whether the request says of this option what a request says that does not mention it.
bool is_own(const Option& option, const Request& request);

// Checks every number's range and every name among those that are all there are. Errors: kUsage: "steps is 0,
// allowed are 1 to 1000".
void check_ranges(const Request& request);

}  // namespace darkroom
