// What standard error shows while a run goes on: one line that updates itself on a terminal, otherwise one
// line per phase. Not the log of anything, and never on standard output.
#pragma once

#include <chrono>
#include <string>

#include "darkroom/darkroom.h"

namespace cli {

enum class ProgressStyle {
  kNone,   // --quiet
  kLines,  // no terminal, or NO_COLOR is set
  kLive,
};

// What suits standard error.
ProgressStyle progress_style(bool quiet);

class Progress {
 public:
  explicit Progress(ProgressStyle style) : style_(style) {}
  ~Progress() { clear(); }
  Progress(const Progress&) = delete;
  Progress& operator=(const Progress&) = delete;

  void on_event(const darkroom_progress& event);
  // The line that updates itself; nothing in another style, or so soon after the last one that
  // nobody could read it.
  void live(const std::string& text);
  void note(const std::string& text);
  // A line that stays; nothing with --quiet.
  void line(const std::string& text);
  // A picture of so many rows above the updating line: in the place of the last one, unless it had other rows
  // or a line came between. `drawn` begins at the cursor and leaves it in the first column below.
  void picture(const std::string& drawn, int rows);
  // In how many places pictures were, with the one where a picture of so many rows would be drawn now.
  uint32_t places(int rows) const { return places_ + (rows == picture_rows_ ? 0 : 1); }

  uint64_t peak_bytes() const { return peak_bytes_; }
  // Whether no text had to be encoded.
  bool text_cached() const { return text_cached_; }

 private:
  void clear();
  void show(const std::string& text);

  ProgressStyle style_;
  bool shown_ = false;    // the updating line is on the screen
  std::string updating_;  // what it says
  int picture_rows_ = 0;  // of the picture right above it; 0: none
  uint32_t places_ = 0;
  std::chrono::steady_clock::time_point last_shown_{};
  uint64_t peak_bytes_ = 0;
  bool text_cached_ = false;
};

}  // namespace cli
