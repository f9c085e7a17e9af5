// The command line of `grade`. Called by main.cc.
#pragma once

#include <filesystem>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace darkroom::grader {

struct Arguments {
  bool help = false;
  std::optional<std::string> caption = {};           // for all pictures
  std::optional<std::filesystem::path> list = {};    // captions by file name
  std::vector<std::filesystem::path> pictures = {};  // with `list`: the folder of the pictures
};

// Without the program's name. Errors: kUsage for unknown options, options without their value, no picture, or
// --list with --caption or with anything but one folder.
Arguments parse_arguments(std::span<const std::string> words);

std::string_view help_text();

}  // namespace darkroom::grader
