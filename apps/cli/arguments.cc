#include "arguments.h"

#include <algorithm>
#include <charconv>
#include <cmath>
#include <limits>
#include <memory>

#include "failure.h"
#include "foreign_flags.h"
#include "text.h"

namespace cli {
namespace {

enum class Kind { kNumber, kOutOfRange, kNoNumber };

// All of `text` or nothing. std::from_chars knows no locale, no leading blanks and no '+'.
template <typename T>
Kind read_number(const std::string& text, T& value) {
  const char* end = text.data() + text.size();
  const auto [stopped, error] = std::from_chars(text.data(), end, value);
  if (stopped != end || error == std::errc::invalid_argument) return Kind::kNoNumber;
  return error == std::errc() ? Kind::kNumber : Kind::kOutOfRange;
}

// A number that did not fit still has its sign.
bool is_integer(const std::string& text) {
  const std::size_t digits = text.starts_with('-') ? 1 : 0;
  return text.size() > digits && text.find_first_not_of("0123456789", digits) == std::string::npos;
}

[[noreturn]] void refuse_range(const std::string& what, const std::string& text, const std::string& least,
                               const std::string& most) {
  fail(DARKROOM_USAGE, "{} is {}, allowed are {} to {}", what, text, least, most);
}

std::string without_blanks(const std::string& text) {
  constexpr const char* kBlanks = " \t\r\n";
  const std::size_t begin = text.find_first_not_of(kBlanks), end = text.find_last_not_of(kBlanks);
  return begin == std::string::npos ? "" : text.substr(begin, end - begin + 1);
}

// "--steps" of "--steps=4".
std::string flag_of(const std::string& argument) { return argument.substr(0, argument.find('=')); }

// CLI11's message for "--steps" at the end of the line is "--steps: 1 required N missing".
std::string translated(const CLI::ParseError& error) {
  const std::string message = error.what();
  const std::size_t missing = message.find(": 1 required");
  if (missing != std::string::npos) return message.substr(0, missing) + " needs a value";
  const std::size_t override = message.find(" was given a disallowed flag override");
  if (override != std::string::npos)
    return "--" + message.substr(0, override) + " takes no value";  // CLI11 drops the dashes
  return message;
}

}  // namespace

int64_t parse_integer(const std::string& what, const std::string& text, IntegerRange range) {
  int64_t value = 0;
  const Kind kind = is_integer(text) ? read_number(text, value) : Kind::kNoNumber;
  if (kind == Kind::kNoNumber) {
    fail(DARKROOM_USAGE, "{} is '{}', which is not a whole number; allowed are {} to {}", what, text,
         range.least, range.most);
  }
  if (kind == Kind::kOutOfRange || value < range.least || value > range.most) {
    refuse_range(what, text, std::to_string(range.least), std::to_string(range.most));
  }
  return value;
}

uint64_t parse_seed(const std::string& what, const std::string& text) {
  uint64_t value = 0;
  if (!is_integer(text)) fail(DARKROOM_USAGE, "{} is '{}', which is not a whole number", what, text);
  if (read_number(text, value) != Kind::kNumber) {
    fail(DARKROOM_USAGE, "{} is {}, allowed are 0 to {}; leave it out and a seed is drawn", what, text,
         std::numeric_limits<uint64_t>::max());
  }
  return value;
}

double parse_real(const std::string& what, const std::string& text, RealRange range) {
  double value = 0;
  const Kind kind = read_number(text, value);
  if (kind == Kind::kNoNumber) {
    fail(DARKROOM_USAGE, "{} is '{}', which is not a number; allowed are {} to {}", what, text, range.least,
         range.most);
  }
  // from_chars reads "nan" and "inf" too; neither is in a range.
  if (kind == Kind::kOutOfRange || !(value >= range.least && value <= range.most)) {
    refuse_range(what, text, fmt::format("{}", range.least), fmt::format("{}", range.most));
  }
  return value;
}

std::vector<double> parse_reals(const std::string& what, const std::string& text, RealRange range) {
  std::vector<double> values;
  std::size_t begin = 0;
  while (begin <= text.size()) {
    const std::size_t comma = std::min(text.find(',', begin), text.size());
    const std::string place = fmt::format("number {} of {}", values.size() + 1, what);
    values.push_back(parse_real(place, without_blanks(text.substr(begin, comma - begin)), range));
    begin = comma + 1;
  }
  return values;
}

Arguments::Arguments(const Command& command)
    : app_(command.summary, "darkroom " + std::string(command.name)),
      name_(app_.get_name()),
      wanted_(command.description) {
  app_.allow_extras();  // refused in refuse_rest(), with a hint
  app_.get_formatter()->column_width(34);
  app_.set_help_flag("-h,--help", "Print this and exit");
}

void Arguments::describe(Flag flag) {
  flag.group = group_;
  description_.flags.push_back(std::move(flag));
}

void Arguments::footer(const std::string& text) {
  app_.footer(text);
  description_.footer = text;
}

void Arguments::add(const Flag& flag, Read read) {
  describe(flag);
  const std::string otherwise = flag.otherwise.empty() ? "" : fmt::format(" (default: {})", flag.otherwise);
  CLI::Option* option = app_.add_option(flag.names, CLI::callback_t{}, flag.help + otherwise);
  // TakeLast only keeps CLI11 from its own message about a flag that is given twice.
  option->type_name(flag.value_name)->group(group_)->multi_option_policy(CLI::MultiOptionPolicy::TakeLast);
  values_.push_back({option, std::move(read)});
}

void Arguments::add_repeated(const Flag& flag, Read read) {
  add(flag, std::move(read));
  values_.back().option->multi_option_policy(CLI::MultiOptionPolicy::TakeAll);
  values_.back().repeated = true;
}

void Arguments::add_text(const Flag& flag, std::optional<std::string>& into) {
  add(flag, [&into](const std::string&, const std::string& text) { into = text; });
}

void Arguments::add_integer(const Flag& flag, std::optional<int>& into, IntegerRange range) {
  add(flag, [&into, range](const std::string& what, const std::string& text) {
    into = static_cast<int>(parse_integer(what, text, range));
  });
}

void Arguments::add_seed(const Flag& flag, std::optional<uint64_t>& into) {
  add(flag, [&into](const std::string& what, const std::string& text) { into = parse_seed(what, text); });
}

void Arguments::add_real(const Flag& flag, std::optional<double>& into, RealRange range) {
  add(flag, [&into, range](const std::string& what, const std::string& text) {
    into = parse_real(what, text, range);
  });
}

void Arguments::add_reals(const Flag& flag, std::optional<std::vector<double>>& into, RealRange range) {
  add(flag, [&into, range](const std::string& what, const std::string& text) {
    into = parse_reals(what, text, range);
  });
}

void Arguments::add_switch(const std::string& names, bool& into, const std::string& help) {
  add_switch({names, "", help}, [&into] { into = true; });
}

void Arguments::add_switch(const Flag& flag, std::function<void()> set) {
  describe(flag);
  CLI::Option* option = app_.add_flag(flag.names, flag.help);
  option->group(group_)->disable_flag_override()->multi_option_policy(CLI::MultiOptionPolicy::TakeLast);
  switches_.emplace_back(option, std::move(set));
}

// Whether `argument` is a flag whose value is the next argument.
bool Arguments::takes_value(const std::string& argument) const {
  const CLI::Option* option = argument.starts_with('-') ? app_.get_option_no_throw(argument) : nullptr;
  return option && option->get_items_expected_max() > 0;
}

// The arguments as CLI11 needs them: it would take the next argument as the value of "--prompt=". Refuses
// "-steps", of which it would make "-s teps".
std::vector<std::string> Arguments::prepared(const std::vector<std::string>& arguments) const {
  std::vector<std::string> out;
  for (std::size_t i = 0; i < arguments.size(); ++i) {
    const std::string& argument = arguments[i];
    if (argument == "--") {
      out.insert(out.end(), arguments.begin() + static_cast<std::ptrdiff_t>(i), arguments.end());
      break;
    }
    const std::string flag = flag_of(argument);
    const bool is_long = argument.starts_with("--");
    if (!is_long && flag.size() > 2 && flag.starts_with('-') && app_.get_option_no_throw("-" + flag)) {
      fail(DARKROOM_USAGE, "there is no flag {}; did you mean -{}?", flag, flag);
    }
    const bool is_empty = is_long && flag.size() > 2 && flag.size() + 1 == argument.size();
    out.push_back(is_empty ? flag : argument);
    if (is_empty) out.emplace_back();
    if (takes_value(argument) && i + 1 < arguments.size()) out.push_back(arguments[++i]);
  }
  return out;
}

bool Arguments::parse(const std::vector<std::string>& arguments) {
  if (wanted_) {
    *wanted_ = description_;
    return false;
  }
  try {
    std::vector<std::string> split = prepared(arguments);
    std::reverse(split.begin(), split.end());  // as CLI11 takes them
    app_.parse(split);
  } catch (const CLI::CallForHelp&) {
    write_stdout(app_.help());
    return false;
  } catch (const CLI::ParseError& e) {
    throw Failure(DARKROOM_USAGE, translated(e));
  }
  refuse_rest(app_.remaining());
  for (const Entry& entry : values_) {
    // The raw texts: CLI11's own conversions treat some, such as "{}", specially.
    const std::vector<std::string>& texts = entry.option->results();
    const std::string what = entry.option->get_name();
    if (texts.size() > 1 && !entry.repeated) fail(DARKROOM_USAGE, "{} is given {} times", what, texts.size());
    for (const std::string& text : texts) entry.read(what, text);
  }
  for (const auto& [option, set] : switches_) {
    if (option->count() > 0) set();
  }
  return true;
}

// What CLI11 could not place: flags, the mark "--", texts.
void Arguments::refuse_rest(std::vector<std::string> rest) const {
  const auto mark = std::ranges::find(rest, "--");
  for (auto argument = rest.begin(); argument != mark; ++argument) {
    if (argument->size() > 1 && argument->starts_with('-')) refuse_flag(flag_of(*argument));
  }
  if (mark != rest.end()) rest.erase(mark);
  if (!rest.empty()) refuse_extra(rest.front());
}

void Arguments::refuse_flag(const std::string& word) const {
  const auto has = [&](std::string_view flag) {
    return app_.get_option_no_throw(std::string(flag)) != nullptr;
  };
  if (const auto hint = foreign_flag_hint(word, has)) {
    fail(DARKROOM_USAGE, "there is no flag {}; {}", word, *hint);
  }
  std::vector<std::string> known;
  for (const CLI::Option* option : app_.get_options()) {
    for (const std::string& name : option->get_lnames()) known.push_back("--" + name);
  }
  const std::optional<std::string> meant = word.starts_with("--") ? closest(word, known) : std::nullopt;
  if (meant) fail(DARKROOM_USAGE, "there is no flag {}; did you mean {}?", word, *meant);
  if (word.find(' ') != std::string::npos) {
    fail(DARKROOM_USAGE, "there is no flag '{}'; a text that begins with - goes after --", word);
  }
  fail(DARKROOM_USAGE, "there is no flag {}; '{} --help' lists them", word, name_);
}

void Arguments::refuse_extra(const std::string& argument) const {
  std::vector<std::string> places;
  for (const CLI::Option* option : app_.get_options()) {
    if (!option->get_positional()) continue;
    if (option->nonpositional()) {  // a text, which a flag can give, too
      fail(DARKROOM_USAGE, "'{}' is one argument too many; put quotes around a text of several words",
           argument);
    }
    places.push_back(option->get_type_name());
  }
  const std::string taken = places.size() == 1 ? "one " + places.front()
                            : places.empty()   ? "flags only"
                                               : shown_list(places);
  const bool has_model = places.empty() && app_.get_option_no_throw("--model");
  fail(DARKROOM_USAGE, "'{}' is one argument too many; '{}' takes {}{}", argument, name_, taken,
       has_model ? ", such as --model DIR" : "");
}

}  // namespace cli
