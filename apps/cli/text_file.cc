#include "text_file.h"

#include <cerrno>
#include <cstring>
#include <fstream>
#include <iostream>

#include "failure.h"

namespace cli {

std::string read_text_file(const std::string& flag, const std::string& path, std::size_t max_bytes) {
  std::ifstream file;
  if (path != "-") {
    file.open(path, std::ios::binary);
    if (!file) fail(DARKROOM_USAGE, "{} {}: {}", flag, path, std::strerror(errno));
  }
  std::istream& in = path == "-" ? std::cin : file;
  std::string text(max_bytes + 3, '\0');
  in.read(text.data(), static_cast<std::streamsize>(text.size()));
  if (in.bad() || (path != "-" && in.gcount() == 0 && !in.eof())) {
    fail(DARKROOM_USAGE, "{} {}: cannot be read", flag, path);
  }
  text.resize(static_cast<std::size_t>(in.gcount()));
  if (text.ends_with('\n')) text.pop_back();
  if (text.ends_with('\r')) text.pop_back();
  if (text.size() > max_bytes) fail(DARKROOM_USAGE, "{} {}: more than {} bytes", flag, path, max_bytes);
  return text;
}

}  // namespace cli
