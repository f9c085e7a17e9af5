#include "text_file.h"

#include <fcntl.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <string_view>

#include "failure.h"

namespace cli {
namespace {

// Up to `max_bytes` of a file, which may be a pipe. False, with errno set, when it cannot be read.
bool read_all(int file, std::size_t max_bytes, std::string& text) {
  text.resize(max_bytes);
  std::size_t size = 0;
  while (size < max_bytes) {
    const ssize_t n = read(file, text.data() + size, max_bytes - size);
    if (n < 0 && errno == EINTR) continue;
    if (n < 0) return false;
    if (n == 0) break;
    size += static_cast<std::size_t>(n);
  }
  text.resize(size);
  return true;
}

// By its byte order mark, or by its zeros: every other byte of plain letters is one.
bool is_utf16_or_32(std::string_view text) {
  if (text.starts_with("\xff\xfe") || text.starts_with("\xfe\xff")) return true;
  if (text.size() < 4 || text.size() % 2 != 0) return false;
  std::size_t zeros[2] = {0, 0};
  for (std::size_t i = 0; i < text.size(); ++i) zeros[i % 2] += text[i] == '\0' ? 1 : 0;
  return zeros[0] == text.size() / 2 || zeros[1] == text.size() / 2;
}

}  // namespace

std::string read_text_file(const std::string& flag, const std::string& path, std::size_t max_bytes) {
  constexpr std::string_view kMark = "\xef\xbb\xbf", kLineEnd = "\r\n";
  const int file = path == "-" ? STDIN_FILENO : open(path.c_str(), O_RDONLY | O_CLOEXEC);
  std::string text;
  const bool is_read = file >= 0 && read_all(file, kMark.size() + max_bytes + kLineEnd.size() + 1, text);
  const int error = errno;
  if (file > STDIN_FILENO) close(file);
  if (!is_read) fail(DARKROOM_USAGE, "{} {}: {}", flag, path, std::strerror(error));
  if (is_utf16_or_32(text)) fail(DARKROOM_USAGE, "{} {}: this is UTF-16 text; save it as UTF-8", flag, path);
  if (text.starts_with(kMark)) text.erase(0, kMark.size());
  if (text.ends_with('\n')) text.pop_back();
  if (text.ends_with('\r')) text.pop_back();
  if (text.size() > max_bytes) fail(DARKROOM_USAGE, "{} {}: more than {} bytes", flag, path, max_bytes);
  return text;
}

}  // namespace cli
