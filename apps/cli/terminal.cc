#include "terminal.h"

#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <sys/ioctl.h>
#include <termios.h>
#include <unistd.h>

#include <chrono>
#include <cstdlib>
#include <string_view>

namespace cli {
namespace {

constexpr auto kPatience = std::chrono::milliseconds(200);
constexpr std::size_t kMaxAnswer = 256;

std::string environment(const char* name) {
  const char* value = std::getenv(name);
  return value ? value : "";
}

// Holds back what would stop or end the process.
class SignalsHeld {
 public:
  SignalsHeld() {
    sigset_t held;
    sigemptyset(&held);
    for (const int number : {SIGINT, SIGTERM, SIGQUIT, SIGHUP, SIGTSTP}) sigaddset(&held, number);
    sigprocmask(SIG_BLOCK, &held, &before_);
  }
  ~SignalsHeld() { sigprocmask(SIG_SETMASK, &before_, nullptr); }
  SignalsHeld(const SignalsHeld&) = delete;
  SignalsHeld& operator=(const SignalsHeld&) = delete;

 private:
  sigset_t before_{};
};

// The terminal of this process, open and without echo or lines.
class RawTerminal {
 public:
  RawTerminal() : file_(open("/dev/tty", O_RDWR | O_NOCTTY | O_CLOEXEC)) {
    if (file_ < 0 || tcgetattr(file_, &before_) != 0) return;
    termios raw = before_;
    raw.c_lflag &= static_cast<tcflag_t>(~(ICANON | ECHO));
    raw.c_cc[VMIN] = 0;
    raw.c_cc[VTIME] = 0;
    is_raw_ = tcsetattr(file_, TCSANOW, &raw) == 0;
  }
  ~RawTerminal() {
    if (is_raw_) tcsetattr(file_, TCSANOW, &before_);
    if (file_ >= 0) close(file_);
  }
  RawTerminal(const RawTerminal&) = delete;
  RawTerminal& operator=(const RawTerminal&) = delete;
  explicit operator bool() const { return is_raw_; }
  int file() const { return file_; }

 private:
  int file_;
  termios before_{};
  bool is_raw_ = false;
};

}  // namespace

TerminalNames terminal_names() {
  return {.term = environment("TERM"),
          .term_program = environment("TERM_PROGRAM"),
          .lc_terminal = environment("LC_TERMINAL"),
          .kitty_window_id = environment("KITTY_WINDOW_ID"),
          .tmux = environment("TMUX")};
}

TerminalSize terminal_size() {
  winsize size{};
  if (ioctl(STDERR_FILENO, TIOCGWINSZ, &size) != 0 || size.ws_col == 0 || size.ws_row == 0) return {};
  return {size.ws_col, size.ws_row, size.ws_xpixel, size.ws_ypixel};
}

std::string ask_terminal_attributes() {
  using Clock = std::chrono::steady_clock;
  // Holds for the process's own terminal only, which /dev/tty then is.
  if (tcgetpgrp(STDERR_FILENO) != getpgrp()) return "";
  const SignalsHeld held;
  const RawTerminal terminal;
  constexpr std::string_view kAsk = "\x1b[c";
  if (!terminal || write(terminal.file(), kAsk.data(), kAsk.size()) != static_cast<ssize_t>(kAsk.size()))
    return "";
  std::string answer;
  const Clock::time_point end = Clock::now() + kPatience;
  while (answer.size() < kMaxAnswer) {
    const auto left = std::chrono::duration_cast<std::chrono::milliseconds>(end - Clock::now()).count();
    pollfd ready{terminal.file(), POLLIN, 0};
    char byte = 0;
    if (left <= 0 || poll(&ready, 1, static_cast<int>(left)) <= 0 || read(terminal.file(), &byte, 1) != 1)
      return "";
    // What was typed meanwhile may lie before the answer.
    if (byte == '\x1b') answer.clear();
    answer += byte;
    if (byte == 'c' && answer.starts_with("\x1b[?")) return answer;
  }
  return "";
}

}  // namespace cli
