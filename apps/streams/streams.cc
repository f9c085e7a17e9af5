#include "streams.h"

#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <climits>

namespace streams {
namespace {

constexpr int kSliceMs = 100;        // how soon keep_waiting() is asked again
constexpr int kPatienceSlices = 10;  // for a standard error that nobody reads

// Writes all of `text`, in parts that a pipe with room takes without blocking. `may_wait` is asked after each
// slice of time in which there was no room.
template <typename MayWait>
bool write_all(int file, std::string_view text, MayWait may_wait) {
  while (!text.empty()) {
    pollfd room{file, POLLOUT, 0};
    bool is_ready = poll(&room, 1, kSliceMs) > 0;
    if (is_ready) {
      const ssize_t n = write(file, text.data(), std::min<std::size_t>(text.size(), PIPE_BUF));
      if (n > 0) text.remove_prefix(static_cast<std::size_t>(n));
      if (n < 0 && errno != EINTR && errno != EAGAIN) return false;
      is_ready = n > 0;
      if (n < 0 && errno == EAGAIN) poll(nullptr, 0, kSliceMs);  // poll() was wrong
    }
    if (!is_ready && !may_wait()) {
      errno = EINTR;
      return false;
    }
  }
  return true;
}

}  // namespace

void open_standard_streams() {
  signal(SIGPIPE, SIG_IGN);
  for (const int stream : {STDIN_FILENO, STDOUT_FILENO, STDERR_FILENO}) {
    const int unusable = stream == STDIN_FILENO ? O_WRONLY : O_RDONLY;
    if (fcntl(stream, F_GETFD) < 0 && open("/dev/null", unusable) < 0) _exit(1);
  }
}

bool write_output(std::string_view text, KeepWaiting keep_waiting) {
  return write_all(STDOUT_FILENO, text, keep_waiting);
}

bool output_is_open() {
  const int mode = fcntl(STDOUT_FILENO, F_GETFL);
  pollfd reader{STDOUT_FILENO, POLLOUT, 0};
  errno = mode < 0 || (mode & O_ACCMODE) == O_RDONLY ? EBADF : 0;
  if (errno == 0 && poll(&reader, 1, 0) > 0 && (reader.revents & POLLERR) != 0) errno = EPIPE;
  return errno == 0;
}

void write_error(std::string_view text, KeepWaiting keep_waiting) {
  static bool is_stuck = false;  // one standard error, one state
  const bool is_terminal = isatty(STDERR_FILENO) != 0;
  int slices = is_stuck ? 0 : kPatienceSlices;
  const auto may_wait = [&] { return keep_waiting() && (is_terminal || --slices > 0); };
  is_stuck = !write_all(STDERR_FILENO, text, may_wait);
}

void write_error_from_handler(std::string_view text) {
  pollfd room{STDERR_FILENO, POLLOUT, 0};
  if (poll(&room, 1, 0) > 0 && write(STDERR_FILENO, text.data(), text.size()) < 0) return;
}

}  // namespace streams
