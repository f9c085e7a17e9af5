#include "base/file_map.h"

#include <gtest/gtest.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cstring>
#include <fstream>
#include <string>
#include <vector>

#include "base/expect_error.h"
#include "base/temp_folder.h"

namespace darkroom {
namespace {

std::string text_of(std::span<const std::byte> bytes) {
  return {reinterpret_cast<const char*>(bytes.data()), bytes.size()};
}

std::span<const std::byte> bytes_of(const std::string& text) { return std::as_bytes(std::span(text)); }

std::size_t files_in(const std::filesystem::path& folder) {
  return static_cast<std::size_t>(std::distance(std::filesystem::directory_iterator(folder), {}));
}

TEST(FileMap, MapsAFileAndSurvivesMoves) {
  const TempFolder folder;
  FileMap a(folder.write("a", "hello"));
  FileMap b(folder.write("b", "other bytes"));
  EXPECT_EQ(text_of(a.bytes()), "hello");
  FileMap moved(std::move(a));
  EXPECT_EQ(text_of(moved.bytes()), "hello");
  moved = std::move(b);
  EXPECT_EQ(text_of(moved.bytes()), "other bytes");
  EXPECT_EQ(moved.path(), folder / "b");
}

TEST(FileMap, RefusesWhatIsNotAReadableFile) {
  const TempFolder folder;
  expect_error(ErrorCode::kModel, "cannot open: No such file", [&] { FileMap map(folder / "absent"); });
  expect_error(ErrorCode::kModel, "not a regular file", [&] { FileMap map(folder.path()); });
  expect_error(ErrorCode::kModel, "the file is empty", [&] { FileMap map(folder.write("empty", "")); });
  // Opening a pipe waits for a writer, unless told not to.
  ASSERT_EQ(::mkfifo((folder / "pipe").c_str(), 0600), 0);
  expect_error(ErrorCode::kModel, "not a regular file", [&] { FileMap map(folder / "pipe"); });
  expect_error(ErrorCode::kModel, "not a regular file", [&] { FileMap map("/dev/null"); });
}

TEST(ReadTextFile, ReadsWholeFilesUpToTheLimit) {
  const TempFolder folder;
  const std::string text("line\n\0after", 11);
  EXPECT_EQ(read_text_file(folder.write("a", text), 11), text);
  EXPECT_EQ(read_text_file(folder.write("empty", ""), 0), "");
  expect_error(ErrorCode::kModel, "11 bytes, more than the 10 bytes",
               [&] { read_text_file(folder / "a", 10); });
  expect_error(ErrorCode::kModel, "cannot open", [&] { read_text_file(folder / "absent", 10); });
  ASSERT_EQ(::mkfifo((folder / "pipe").c_str(), 0600), 0);
  expect_error(ErrorCode::kModel, "not a regular file", [&] { read_text_file(folder / "pipe", 10); });
}

TEST(WriteFileAtomically, WritesReplacesAndProtects) {
  const TempFolder folder;
  const std::filesystem::path path = folder / "out";
  write_file_atomically(path, bytes_of("first"), false);
  EXPECT_EQ(read_text_file(path, 100), "first");
  expect_error(ErrorCode::kOutput, "File exists",
               [&] { write_file_atomically(path, bytes_of("second"), false); });
  EXPECT_EQ(read_text_file(path, 100), "first");
  write_file_atomically(path, bytes_of("third"), true);
  EXPECT_EQ(read_text_file(path, 100), "third");
  write_file_atomically(folder / "empty", {}, false);
  EXPECT_EQ(read_text_file(folder / "empty", 100), "");
  EXPECT_EQ(files_in(folder.path()), 2u);  // no temporary file is left
}

TEST(WriteFileAtomically, JoinsPieces) {
  const TempFolder folder;
  const std::string a = "one ", b, c(100000, 'c');
  const std::vector<std::span<const std::byte>> pieces = {bytes_of(a), bytes_of(b), bytes_of(c)};
  write_pieces_atomically(folder / "out", pieces, false);
  EXPECT_EQ(read_text_file(folder / "out", 1 << 20), a + c);
}

TEST(WriteFileAtomically, FailuresLeaveNothingBehind) {
  const TempFolder folder;
  expect_error(ErrorCode::kOutput, "No such file",
               [&] { write_file_atomically(folder / "absent/out", bytes_of("x"), true); });
  std::filesystem::create_directory(folder / "taken");
  expect_error(ErrorCode::kOutput, "taken",
               [&] { write_file_atomically(folder / "taken", bytes_of("x"), true); });
  expect_error(ErrorCode::kOutput, "File exists",
               [&] { write_file_atomically(folder / "taken", bytes_of("x"), false); });
  EXPECT_EQ(files_in(folder.path()), 1u);
}

TEST(WriteFileAtomically, ObeysTheUmask) {
  const TempFolder folder;
  const mode_t before = ::umask(027);
  write_file_atomically(folder / "out", bytes_of("x"), false);
  ::umask(before);
  struct stat status {};
  ASSERT_EQ(::stat((folder / "out").c_str(), &status), 0);
  EXPECT_EQ(status.st_mode & 0777, 0640u);
}

TEST(WriteFileAtomically, LeftoversOfACrashAreNotInTheWay) {
  const TempFolder folder;
  folder.write(".darkroom-" + std::to_string(::getpid()) + "-0", "leftover");
  write_file_atomically(folder / "out", bytes_of("x"), false);
  EXPECT_EQ(read_text_file(folder / "out", 100), "x");
  EXPECT_EQ(files_in(folder.path()), 2u);
}

}  // namespace
}  // namespace darkroom
