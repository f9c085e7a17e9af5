#include "progress.h"

#include <fmt/format.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include <algorithm>
#include <cstdlib>
#include <fstream>
#include <string_view>

#include "text.h"

namespace cli {
namespace {

constexpr auto kBetweenUpdates = std::chrono::milliseconds(100);

const char* phase_name(darkroom_phase phase) {
  switch (phase) {
    case DARKROOM_ENCODE_TEXT:
      return "encode text";
    case DARKROOM_MODULATE:
      return "modulate";
    case DARKROOM_DENOISE:
      return "denoise";
    case DARKROOM_DECODE:
      return "decode";
    case DARKROOM_ENCODE_PICTURE:
      return "encode picture";
  }
  return "work";
}

std::string picture_text(const darkroom_progress& event) {
  if (event.pictures < 2 || event.phase == DARKROOM_ENCODE_TEXT) return "";
  return fmt::format("picture {}/{}  ", event.picture + 1, event.pictures);
}

// "step 3/28  block 12/57  41.2 s/step  ETA 17:05", as far as it is known.
std::string denoise_text(const darkroom_progress& event) {
  std::string out = fmt::format("  step {}/{}", std::min(event.step + 1, event.steps), event.steps);
  if (event.blocks > 0) out += fmt::format("  block {}/{}", event.block, event.blocks);
  const double within = event.blocks > 0 ? static_cast<double>(event.block) / event.blocks : 0;
  const double steps_done = event.step + within;
  if (steps_done > 0) {
    const double step_seconds = event.phase_seconds / steps_done;
    out += fmt::format("  {}/step  ETA {}", seconds_text(step_seconds),
                       clock_text(step_seconds * (event.steps - steps_done)));
  }
  return out;
}

// ", 7.9 GiB read, 2.1 s of it waited for", if the phase read anything to speak of.
std::string read_text(const darkroom_progress& event) {
  constexpr uint64_t kWorthSaying = uint64_t{64} << 20;
  if (event.bytes_read < kWorthSaying) return "";
  return fmt::format(", {} read, waited {} for it", bytes_text(event.bytes_read),
                     seconds_text(event.wait_seconds));
}

// ", from the cache" or ", 1 of 2 texts from the cache", if any of them was there.
std::string cache_text(const darkroom_progress& event) {
  if (event.phase != DARKROOM_ENCODE_TEXT || event.cached_prompts == 0) return "";
  if (event.cached_prompts == event.prompts) return ", from the cache";
  return fmt::format(", {} of {} texts from the cache", event.cached_prompts, event.prompts);
}

std::size_t terminal_columns() {
  winsize size{};
  if (ioctl(STDERR_FILENO, TIOCGWINSZ, &size) != 0 || size.ws_col < 20) return 80;
  return size.ws_col;
}

// Sets the kernel's mark of the largest resident set back, so that the library sees the peak of this phase
// alone. The mark is the process's, and the process is ours.
void forget_peak() { std::ofstream("/proc/self/clear_refs") << "5"; }

std::string skipped_text(const darkroom_progress& event) {
  if (event.skipped_passes == 0) return "";
  return fmt::format("{} of {} forward passes skipped, ", event.skipped_passes, event.passes);
}

}  // namespace

ProgressStyle progress_style(bool quiet) {
  if (quiet) return ProgressStyle::kNone;
  const char* no_color = std::getenv("NO_COLOR");
  const char* terminal = std::getenv("TERM");
  const bool plain = (no_color && *no_color) || !terminal || std::string_view(terminal) == "dumb";
  return !plain && isatty(STDERR_FILENO) ? ProgressStyle::kLive : ProgressStyle::kLines;
}

void Progress::on_event(const darkroom_progress& event) {
  peak_bytes_ = std::max(peak_bytes_, event.peak_bytes);
  text_cached_ = event.prompts > 0 && event.cached_prompts == event.prompts;
  if (style_ == ProgressStyle::kLines && event.finished) {
    const bool stepped = event.phase == DARKROOM_DENOISE;
    line(fmt::format("{}{}: {}{}, {} of {} planned{}{}", picture_text(event), phase_name(event.phase),
                     stepped ? fmt::format("{} steps, {}", event.steps, skipped_text(event)) : "",
                     seconds_text(event.phase_seconds), bytes_text(event.phase_peak_bytes),
                     bytes_text(event.planned_bytes), read_text(event), cache_text(event)));
  }
  const bool phase_begins = event.step == 0 && event.block == 0 && !event.finished;
  if (phase_begins) {
    last_shown_ = {};
    forget_peak();
  }
  live(fmt::format("{}{}{}  {}  peak {}", picture_text(event), phase_name(event.phase),
                   event.phase == DARKROOM_DENOISE ? denoise_text(event) : "",
                   seconds_text(event.phase_seconds), bytes_text(peak_bytes_)));
}

void Progress::live(const std::string& text) {
  if (style_ != ProgressStyle::kLive) return;
  updating_ = text;
  const auto now = std::chrono::steady_clock::now();
  if (now - last_shown_ < kBetweenUpdates) return;
  last_shown_ = now;
  show(text);
}

void Progress::note(const std::string& text) {
  if (style_ == ProgressStyle::kNone) return;
  clear();
  picture_rows_ = 0;
  write_note(text);
}

void Progress::line(const std::string& text) {
  if (style_ == ProgressStyle::kNone) return;
  clear();
  picture_rows_ = 0;
  write_stderr(printable(text) + "\n");
}

void Progress::picture(const std::string& drawn, int rows) {
  if (style_ != ProgressStyle::kLive) return;
  clear();
  places_ = places(rows);
  const std::string up = rows == picture_rows_ ? fmt::format("\x1b[{}A", rows) : "";
  write_stderr(up + drawn);
  picture_rows_ = rows;
  show(updating_);
}

void Progress::show(const std::string& text) {
  // One column stays free: a full line would wrap on some terminals. Our own texts are ASCII.
  write_stderr(fmt::format("\r{}\x1b[K", text.substr(0, terminal_columns() - 1)));
  shown_ = true;
}

void Progress::clear() {
  if (!shown_) return;
  write_stderr("\r\x1b[K");
  shown_ = false;
}

}  // namespace cli
