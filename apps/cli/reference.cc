// darkroom options, darkroom manual: the reference in the forms that people and programs read, all made from
// the flags that the commands describe.
#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <iterator>

#include "arguments.h"
#include "command.h"
#include "failure.h"
#include "request_flags.h"
#include "text.h"

namespace cli {
namespace {

using nlohmann::json;

Description describe(Command command) {
  Description description;
  command.description = &description;
  command.run(command, {});
  return description;
}

// "-s,--seed" -> {"-s", "--seed"}; names without a dash are those of arguments.
std::vector<std::string> names_of(const Flag& flag) {
  std::vector<std::string> names;
  std::size_t begin = 0;
  while (begin <= flag.names.size()) {
    const std::size_t comma = std::min(flag.names.find(',', begin), flag.names.size());
    names.push_back(flag.names.substr(begin, comma - begin));
    begin = comma + 1;
  }
  return names;
}

std::vector<std::string> dashed_names(const Flag& flag) {
  std::vector<std::string> names = names_of(flag);
  std::erase_if(names, [](const std::string& name) { return !name.starts_with('-'); });
  return names;
}

// "-s, --seed N"; "IN" for an argument.
std::string shown_flag(const Flag& flag) {
  const std::vector<std::string> names = dashed_names(flag);
  if (names.empty()) return flag.value_name;
  return fmt::format("{}{}{}", fmt::join(names, ", "), flag.value_name.empty() ? "" : " ", flag.value_name);
}

std::string replaced(std::string text, std::string_view from, std::string_view to) {
  for (std::size_t at = 0; (at = text.find(from, at)) != std::string::npos; at += to.size()) {
    text.replace(at, from.size(), to);
  }
  return text;
}

std::string markdown_cell(const std::string& text) { return replaced(text, "|", "\\|"); }

// The flags under one heading are together, headings in the order in which they come first.
std::vector<Flag> grouped(const std::vector<Flag>& flags) {
  std::vector<Flag> out;
  std::vector<std::string> groups;
  for (const Flag& flag : flags) {
    if (std::ranges::find(groups, flag.group) == groups.end()) groups.push_back(flag.group);
  }
  for (const std::string& group : groups) {
    std::ranges::copy_if(flags, std::back_inserter(out),
                         [&](const Flag& flag) { return flag.group == group; });
  }
  return out;
}

std::string markdown_row(const std::string& flag, const std::string& meaning, const std::string& otherwise) {
  const std::string end = otherwise.empty() ? "|" : markdown_cell(otherwise) + " |";
  return fmt::format("| {} | {} | {}\n", markdown_cell(flag), replaced(markdown_cell(meaning), "<", "&lt;"),
                     end);
}

std::string markdown_rows(const std::vector<Flag>& flags) {
  std::string out, group;
  for (const Flag& flag : flags) {
    if (flag.group != group && flag.group != "Options") out += fmt::format("| **{}** | | |\n", flag.group);
    group = flag.group;
    out += markdown_row(fmt::format("`{}`", shown_flag(flag)), flag.help, flag.otherwise);
  }
  return out;
}

// What `command` has in common with generate, as one row, and the rest of its flags.
std::string markdown_beside_generate(const std::vector<Flag>& flags) {
  const std::vector<Flag> all = grouped(describe(commands().front()).flags);
  const auto has = [](const std::vector<Flag>& list, const Flag& flag) {
    return std::ranges::find(list, flag.names, &Flag::names) != list.end();
  };
  std::vector<Flag> rest = flags;
  std::erase_if(rest, [&](const Flag& flag) { return has(all, flag); });
  std::vector<std::string> groups, missing;
  for (const Flag& flag : all) {
    const bool shared =
        std::ranges::any_of(flags, [&](const Flag& own) { return own.group == flag.group && has(all, own); });
    if (!shared) continue;
    if (groups.empty() || groups.back() != flag.group) groups.push_back(flag.group);
    if (!has(flags, flag)) missing.push_back(fmt::format("`{}`", fmt::join(dashed_names(flag), ", ")));
  }
  const std::string except = missing.empty() ? "" : fmt::format(", except {}", fmt::join(missing, ", "));
  return markdown_row("flags of `generate`", fmt::format("All under: {}{}", fmt::join(groups, "; "), except),
                      "") +
         markdown_rows(rest);
}

// A table for docs/CLI.md: the flags of a command. plan has nearly all of generate's, which are not repeated.
std::string markdown(const Command& command) {
  const std::vector<Flag> flags = grouped(describe(command).flags);
  const bool repeats = std::string_view(command.name) == "plan";
  return "| flag | meaning | default |\n|---|---|---|\n" +
         (repeats ? markdown_beside_generate(flags) : markdown_rows(flags));
}

std::string all_markdown() {
  std::string out;
  for (const Command& command : commands()) {
    out += fmt::format("<!-- {} -->\n{}<!-- end -->\n", command.name, markdown(command));
  }
  return out;
}

// Text that roff takes for text.
std::string roff(const std::string& text) {
  std::string escaped = replaced(replaced(text, "\\", "\\e"), "-", "\\-");
  escaped = replaced(replaced(escaped, "^", "\\(ha"), "~", "\\(ti");
  return escaped.starts_with('.') || escaped.starts_with('\'') ? "\\&" + escaped : escaped;
}

std::string manual_of(const Command& command) {
  std::string out = fmt::format(".SS darkroom {}\n{}.\n", roff(command.name), roff(command.summary));
  const Description description = describe(command);
  for (const Flag& flag : grouped(description.flags)) {
    out += fmt::format(".TP\n.B {}\n{}{}\n", roff(shown_flag(flag)), roff(flag.help + "."),
                       flag.otherwise.empty() ? "" : roff(fmt::format(" Default: {}.", flag.otherwise)));
  }
  return out + (description.footer.empty() ? "" : ".PP\n" + roff(description.footer) + "\n");
}

std::string manual() {
  std::string out = fmt::format(
      ".TH DARKROOM 1 \"\" \"darkroom {}\" \"User Commands\"\n"
      ".SH NAME\ndarkroom \\- FLUX.1 pictures from text\n"
      ".SH SYNOPSIS\n.B darkroom\n.I COMMAND\n[OPTIONS]\n"
      ".SH DESCRIPTION\nDraws pictures with FLUX.1 (dev and schnell) on a plain CPU, within a stated amount "
      "of "
      "memory. Results go to standard output, everything else to standard error.\n"
      ".SH COMMANDS\n",
      darkroom_version());
  for (const Command& command : commands()) out += manual_of(command);
  out +=
      ".SH EXIT STATUS\n"
      "0: done. 1: failure without a code of its own. 2: the request is wrong. 3: a model file is missing or "
      "invalid. 4: out of memory. 5: a result could not be written. 130: stopped on request.\n"
      ".SH ENVIRONMENT\nDARKROOM_THREADS, DARKROOM_ISA, DARKROOM_ASSETS, NO_COLOR, XDG_CACHE_HOME.\n"
      ".SH EXAMPLE\n.B darkroom generate \"a red star above a blue ring on a yellow background\"\n";
  return out;
}

// The names that an option may have, as far as the schema lists them.
std::vector<std::string> values_of(const Flag& flag, const json& schema) {
  std::vector<std::string> values;
  for (const auto& [name, option] : schema.at("properties").items()) {
    if (option.at("x-flag") != flag.names) continue;
    for (const char* list : {"enum", "examples"}) {
      for (const json& value : option.value(list, json::array())) values.push_back(value);
    }
  }
  return values;
}

// A flag's value is completed from its names, else as a file.
std::string bash_values(const std::vector<Flag>& flags, const json& schema) {
  std::string out;
  for (const Flag& flag : flags) {
    const std::vector<std::string> values = values_of(flag, schema);
    if (values.empty()) continue;
    out += fmt::format("    {}) COMPREPLY=($(compgen -W \"{}\" -- \"$word\")); return ;;\n",
                       fmt::join(dashed_names(flag), "|"), fmt::join(values, " "));
  }
  return out;
}

std::string bash() {
  const json schema = request_schema();
  std::string names, cases, values;
  for (const Command& command : commands()) {
    names += std::string(names.empty() ? "" : " ") + command.name;
    std::vector<std::string> flags = {"--help"};
    const Description description = describe(command);
    for (const Flag& flag : description.flags) {
      for (const std::string& name : dashed_names(flag)) flags.push_back(name);
    }
    cases += fmt::format("    {}) flags=\"{}\" ;;\n", command.name, fmt::join(flags, " "));
    if (std::string_view(command.name) == "generate") values = bash_values(description.flags, schema);
  }
  return "# bash completion of darkroom: source this, or put it into a folder of completions.\n"
         "_darkroom() {\n"
         "  local word=\"${COMP_WORDS[COMP_CWORD]}\" flags=\"\"\n"
         "  if [ \"$COMP_CWORD\" -eq 1 ]; then\n"
         "    COMPREPLY=($(compgen -W \"" +
         names +
         " --help --version\" -- \"$word\"))\n"
         "    return\n"
         "  fi\n"
         "  case \"${COMP_WORDS[COMP_CWORD-1]}\" in\n" +
         values +
         "  esac\n"
         "  case \"${COMP_WORDS[1]}\" in\n" +
         cases +
         "  esac\n"
         "  case \"$word\" in\n"
         "    -*) COMPREPLY=($(compgen -W \"$flags\" -- \"$word\")) ;;\n"
         "    *) COMPREPLY=($(compgen -f -- \"$word\")) ;;\n"
         "  esac\n"
         "}\n"
         "complete -o filenames -F _darkroom darkroom\n";
}

// In zsh's specifications colons and brackets have a meaning, and quotes end the word.
std::string zsh_text(const std::string& text) {
  std::string out;
  for (const char c : text) {
    if (c == '[' || c == ']' || c == ':' || c == '\\') out += '\\';
    out += c == '\'' ? "'\\''" : std::string(1, c);
  }
  return out;
}

std::string zsh_flag(const Flag& flag, const json& schema) {
  std::string out;
  for (const std::string& name : dashed_names(flag)) {
    out += fmt::format("        '{}[{}]", name, zsh_text(flag.help));
    if (!flag.value_name.empty()) {
      const std::vector<std::string> values = values_of(flag, schema);
      out += fmt::format(":{}:", zsh_text(flag.value_name));
      out += values.empty() ? "_files" : fmt::format("({})", fmt::join(values, " "));
    }
    out += "' \\\n";
  }
  return out;
}

std::string zsh() {
  const json schema = request_schema();
  std::string names, cases;
  for (const Command& command : commands()) {
    names += fmt::format("    '{}:{}'\n", command.name, zsh_text(command.summary));
    cases += fmt::format("    {})\n      _arguments \\\n", command.name);
    for (const Flag& flag : describe(command).flags) cases += zsh_flag(flag, schema);
    cases += "        '*:file:_files' ;;\n";
  }
  return "#compdef darkroom\n"
         "# zsh completion of darkroom: put it as _darkroom into a folder of $fpath.\n"
         "_darkroom() {\n"
         "  local -a commands=(\n" +
         names +
         "  )\n"
         "  if (( CURRENT == 2 )); then\n"
         "    _describe command commands\n"
         "    return\n"
         "  fi\n"
         "  local command=$words[2]\n"
         "  shift words\n"
         "  (( CURRENT -= 1 ))\n"
         "  case $command in\n" +
         cases +
         "  esac\n"
         "}\n"
         "_darkroom \"$@\"\n";
}

std::string options_table() {
  const json schema = request_schema();
  Table table;
  for (const std::size_t column : {1, 2, 3}) table.left(column);
  table.add({"option", "flag", "type", "default"});
  for (const json& key : schema.at("x-order")) {
    const json& option = schema.at("properties").at(key.get<std::string>());
    std::string flag = option.at("x-flag");
    table.add(
        {key, replaced(std::move(flag), ",prompt", ""), option.at("type"), option.value("x-otherwise", "")});
  }
  return table.text();
}

}  // namespace

void run_options(const Command& self, const std::vector<std::string>& arguments) {
  bool as_json = false;
  Arguments parser(self);
  parser.add_switch("--json", as_json, "Print a JSON Schema of a request, for programs");
  parser.footer("The names are those in JSON: of a request (darkroom.h) and of a recipe.");
  if (!parser.parse(arguments)) return;
  write_stdout(as_json ? request_schema().dump(2) + "\n" : options_table());
}

void run_manual(const Command& self, const std::vector<std::string>& arguments) {
  std::optional<std::string> form;
  Arguments parser(self);
  parser.add_text({"form", "FORM",
                   "man (a manual page), bash, zsh (completions) or markdown (the tables of "
                   "docs/CLI.md)",
                   "man"},
                  form);
  parser.footer("Read it with: darkroom manual | man -l -");
  if (!parser.parse(arguments)) return;
  const std::string wanted = form.value_or("man");
  if (wanted == "man") return write_stdout(manual());
  if (wanted == "bash") return write_stdout(bash());
  if (wanted == "zsh") return write_stdout(zsh());
  if (wanted == "markdown") return write_stdout(all_markdown());
  fail(DARKROOM_USAGE, "there is no manual '{}'; there are man, bash, zsh and markdown", printable(wanted));
}

}  // namespace cli
