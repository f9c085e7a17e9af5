#include "grader/arguments.h"

#include "base/error.h"
#include "base/printable.h"

namespace darkroom::grader {

Arguments parse_arguments(std::span<const std::string> words) {
  Arguments out;
  bool only_files = false;
  for (std::size_t i = 0; i < words.size(); ++i) {
    const std::string& word = words[i];
    if (only_files || !word.starts_with('-')) {
      out.pictures.emplace_back(word);
    } else if (word == "--") {
      only_files = true;
    } else if (word == "-h" || word == "--help") {
      out.help = true;
    } else if (word == "--caption" || word == "--list") {
      require(i + 1 < words.size(), ErrorCode::kUsage, "{} needs a value; see grade --help", word);
      if (word == "--list") out.list = words[i + 1];
      if (word == "--caption") out.caption = words[i + 1];
      ++i;
    } else {
      fail(ErrorCode::kUsage, "there is no option '{}'; see grade --help", printable(word));
    }
  }
  if (out.help) return out;
  require(!out.list || !out.caption, ErrorCode::kUsage, "--list has the captions: leave --caption out");
  require(!out.list || out.pictures.size() == 1, ErrorCode::kUsage,
          "--list needs one folder of pictures, {} names are given", out.pictures.size());
  require(!out.pictures.empty(), ErrorCode::kUsage, "there is no picture to grade; see grade --help");
  return out;
}

std::string_view help_text() {
  return "grade: does a picture show its caption? For pictures of Pinhole's world; prints JSON\n"
         "Usage: grade [--caption TEXT] FILE.png...\n"
         "       grade --list CAPTIONS.json FOLDER\n\n"
         "  --caption TEXT  The caption of all pictures; without, each PNG's own recipe tells its prompt\n"
         "  --list FILE     A JSON object, file name to caption, of pictures in FOLDER\n\n"
         "Captions:\n"
         "  a [small|large] COLOUR SHAPE [on the left|on the right|at the top|at the bottom] on a COLOUR "
         "background\n"
         "  a COLOUR SHAPE (next to|left of|above) a COLOUR SHAPE on a COLOUR background\n\n"
         "One FILE gives its grade; more, and --list, give {\"pictures\": {FILE: grade}, \"summary\": ...}.\n"
         "Exit code: 0 graded, whatever the grades; 1 a file cannot be read; 2 wrong options or caption;\n"
         "5 the result cannot be written\n";
}

}  // namespace darkroom::grader
