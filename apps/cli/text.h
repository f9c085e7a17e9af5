// Text for people: sizes, durations, tables, and what keeps a stranger's bytes from steering the terminal.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace cli {

// `text` on one line, harmless on a terminal and without hidden parts: the bytes of control characters, of
// invisible ones such as text-direction marks, and of what is not UTF-8 become \xNN.
std::string printable(std::string_view text);

std::string lower(std::string text);  // of ASCII letters

// Where `text` stops being UTF-8, in bytes; nothing if it is UTF-8 throughout.
std::optional<std::size_t> first_invalid_utf8(std::string_view text);

std::string bytes_text(uint64_t bytes);                         // "22.2 GiB"
std::string count_text(int64_t count);                          // "11,901,408,320"
std::string seconds_text(double seconds);                       // "1234.5 s"
std::string clock_text(double seconds);                         // "0:12", "17:05", "2:17:05"
std::string shown_list(const std::vector<std::string>& words);  // "a, b and c"

// The words on lines of at most `columns` bytes (a longer word has a line for itself), each
// line after `indent`.
std::string wrapped(const std::vector<std::string>& words, std::size_t columns, const std::string& indent);

// The number of edits (insert, delete, replace, swap neighbours) between two words.
std::size_t edit_distance(std::string_view a, std::string_view b);

// The candidate that `word` was probably meant to be; nothing if none is close.
std::optional<std::string> closest(const std::string& word, const std::vector<std::string>& candidates);

// Columns padded to their widest cell; the first is flush left, the others flush right.
class Table {
 public:
  void add(std::vector<std::string> row) { rows_.push_back(std::move(row)); }
  // Columns that are flush left although they are not the first.
  void left(std::size_t column) { left_.push_back(column); }
  std::string text() const;

 private:
  std::vector<std::vector<std::string>> rows_;
  std::vector<std::size_t> left_ = {0};
};

// Writes results to standard output. Throws Failure: DARKROOM_OUTPUT when it cannot, DARKROOM_CANCELLED when
// a signal came while it waited.
void write_stdout(std::string_view text);

// Throws Failure (DARKROOM_OUTPUT) when standard output is closed. For a check before long work.
void require_stdout();

// Writes to standard error. Whether it arrives changes nothing.
void write_stderr(std::string_view text);
// The same for "darkroom: note: ..." on a line.
void write_note(const std::string& text);

}  // namespace cli
