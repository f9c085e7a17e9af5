#include "base/new_folder.h"

#include <gtest/gtest.h>
#include <signal.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/expect_error.h"
#include "base/file_map.h"
#include "base/temp_folder.h"

namespace darkroom {
namespace {

namespace fs = std::filesystem;

std::span<const std::byte> bytes_of(const std::string& text) { return std::as_bytes(std::span(text)); }

std::size_t entries_in(const fs::path& folder) {
  return static_cast<std::size_t>(std::distance(fs::directory_iterator(folder), {}));
}

TEST(NewFolder, AppearsWholeWhenFinished) {
  const TempFolder folder;
  {
    NewFolder made(folder / "out");
    made.write("a/b/c.txt", "text");
    made.write("empty", "");
    NewFile file = made.file("pieces");
    file.write(4, bytes_of("5678"));
    NewFile moved(std::move(file));
    moved.write(0, bytes_of("1234"));
    moved.write(10, bytes_of("x"));
    moved.finish();
    EXPECT_FALSE(fs::exists(folder / "out"));
    EXPECT_GT(made.free_bytes(), 0u);
    made.finish();
  }
  EXPECT_EQ(read_text_file(folder / "out/a/b/c.txt", 100), "text");
  EXPECT_EQ(read_text_file(folder / "out/empty", 100), "");
  EXPECT_EQ(read_text_file(folder / "out/pieces", 100), std::string("12345678\0\0x", 11));
  EXPECT_EQ(entries_in(folder.path()), 1u);
}

TEST(NewFolder, LeavesNothingUnlessFinished) {
  const TempFolder folder;
  {
    NewFolder made(folder / "out/");
    made.write("a/b", "text");
    expect_error(ErrorCode::kOutput, "out/a/b: cannot create: File exists",
                 [&] { made.write("a/b", "again"); });
    EXPECT_TRUE(abandoned_folders(folder / "out").empty()) << "its maker is at work";
  }
  EXPECT_EQ(entries_in(folder.path()), 0u);
}

TEST(NewFolder, NeverReplacesWhatIsThere) {
  const TempFolder folder;
  fs::create_symlink("nowhere", folder / "link");
  for (const fs::path& taken : {folder.write("file", "mine"), folder / "link", folder.path()}) {
    expect_error(ErrorCode::kOutput, "already exists", [&] { NewFolder made(taken); });
  }
  NewFolder made(folder / "out");
  made.write("a", "text");
  fs::create_directory(folder / "out");
  expect_error(ErrorCode::kOutput, "cannot rename the finished folder: File exists", [&] { made.finish(); });
  EXPECT_TRUE(fs::is_empty(folder / "out"));
}

TEST(NewFolder, SaysWhereItCannotWrite) {
  const TempFolder folder;
  expect_error(ErrorCode::kOutput, "absent/out: cannot write there: No such file",
               [&] { NewFolder made(folder / "absent/out"); });
  const fs::path file = folder.write("file", "");
  expect_error(ErrorCode::kOutput, "file/out: cannot write there: Not a directory",
               [&] { NewFolder made(file / "out"); });
}

// A full disk, as a process sees it that may write no more: in a child, for the limit cannot be raised again.
TEST(NewFolder, AFullDiskIsOneErrorAndLeavesNothing) {
  const TempFolder folder;
  const pid_t child = fork();
  if (child == 0) {
    ::signal(SIGXFSZ, SIG_IGN);
    const rlimit limit{1000, 1000};
    int code = ::setrlimit(RLIMIT_FSIZE, &limit);
    try {
      NewFolder made(folder / "out");
      NewFile out = made.file("a");
      out.write(0, bytes_of(std::string(600, 'x')));
      out.write(600, bytes_of(std::string(600, 'x')));
      code = 2;
    } catch (const Error& e) {
      const std::string message = e.what();
      if (message.find("out/a: cannot write 200 bytes at 1000: File too large") == message.npos) code = 3;
    }
    _exit(code);
  }
  int status = 0;
  ASSERT_EQ(waitpid(child, &status, 0), child);
  EXPECT_EQ(status, 0);
  EXPECT_EQ(entries_in(folder.path()), 0u);
}

TEST(NewFolder, WhatAKilledProcessLeftIsFound) {
  const TempFolder folder;
  const pid_t child = fork();
  if (child == 0) {
    NewFolder made(folder / "out");
    made.write("a/b", std::string(1234, 'x'));
    ::raise(SIGKILL);
  }
  int status = 0;
  ASSERT_EQ(waitpid(child, &status, 0), child);
  ASSERT_TRUE(WIFSIGNALED(status));
  folder.write(".darkroom-1-0", "a file is none");
  std::filesystem::create_directory(folder / ".darkroom-notes");
  std::filesystem::create_directory(folder / ".darkroom-2-notes");
  const std::vector<AbandonedFolder> found = abandoned_folders(folder / "another");
  ASSERT_EQ(found.size(), 1u);
  EXPECT_EQ(found[0].bytes, 1234u);
  EXPECT_EQ(found[0].path.parent_path(), folder.path());
  EXPECT_TRUE(abandoned_folders(folder / "absent/out").empty());
  NewFolder made(folder / "out");  // is not in its way
  made.finish();
  EXPECT_TRUE(fs::is_directory(folder / "out"));
}

}  // namespace
}  // namespace darkroom
