// The command line of one sub-command: CLI11 splits it, and values are read here, strictly. A number is all
// of its text, in range, and finite; a flag that does not exist gets a hint; every error is one line.
#pragma once

#include <CLI/App.hpp>
#include <CLI/Config.hpp>
#include <CLI/Formatter.hpp>
#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "command.h"

namespace cli {

// How a flag looks in the help, the manual and the completions.
struct Flag {
  std::string names;       // CLI11's spelling: "-s,--seed"
  std::string value_name;  // "N"; "" for a switch
  std::string help;
  std::string otherwise = {};  // what holds without it
  std::string group = {};      // the heading it is under
};

// All flags of a command, in the order of its help.
struct Description {
  std::vector<Flag> flags;
  std::string footer;
};

struct IntegerRange {
  int64_t least, most;
};
struct RealRange {
  double least, most;
};

// Read the whole of `text`; `what` names it in errors. Throw Failure (DARKROOM_USAGE).
int64_t parse_integer(const std::string& what, const std::string& text, IntegerRange range);
uint64_t parse_seed(const std::string& what, const std::string& text);
double parse_real(const std::string& what, const std::string& text, RealRange range);
// Numbers with commas between them, and blanks around them.
std::vector<double> parse_reals(const std::string& what, const std::string& text, RealRange range);

// Values go to the places that add_*() were given; a place whose flag is absent is left alone.
class Arguments {
 public:
  explicit Arguments(const Command& command);
  Arguments(const Arguments&) = delete;
  Arguments& operator=(const Arguments&) = delete;

  // The help lists flags added from here on under this heading.
  void group(const std::string& heading) { group_ = heading; }
  void add_text(const Flag& flag, std::optional<std::string>& into);
  void add_integer(const Flag& flag, std::optional<int>& into, IntegerRange range);
  void add_seed(const Flag& flag, std::optional<uint64_t>& into);
  void add_real(const Flag& flag, std::optional<double>& into, RealRange range);
  void add_reals(const Flag& flag, std::optional<std::vector<double>>& into, RealRange range);
  void add_switch(const std::string& names, bool& into, const std::string& help);
  // Any other kind: `read` gets the flag's name and its text, once; `set` is called when the switch is there.
  using Read = std::function<void(const std::string& what, const std::string& text)>;
  void add(const Flag& flag, Read read);
  // The same, once for each time that the flag is there.
  void add_repeated(const Flag& flag, Read read);
  void add_switch(const Flag& flag, std::function<void()> set);
  void footer(const std::string& text);

  // False when help was asked for and printed, or the command is to be described. What comes after "--" is
  // never a flag. Throws Failure (DARKROOM_USAGE).
  bool parse(const std::vector<std::string>& arguments);

 private:
  struct Entry {
    CLI::Option* option;
    Read read;
    bool repeated = false;
  };

  void describe(Flag flag);
  bool takes_value(const std::string& argument) const;
  std::vector<std::string> prepared(const std::vector<std::string>& arguments) const;
  void refuse_rest(std::vector<std::string> rest) const;
  [[noreturn]] void refuse_flag(const std::string& word) const;
  [[noreturn]] void refuse_extra(const std::string& argument) const;

  CLI::App app_;
  std::string name_;
  std::string group_ = "Options";
  std::vector<Entry> values_;
  std::vector<std::pair<CLI::Option*, std::function<void()>>> switches_;
  Description* wanted_;  // null: run
  Description description_;
};

}  // namespace cli
