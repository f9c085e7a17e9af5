#include "base/scratch_file.h"

#include <gtest/gtest.h>

#include <cstring>
#include <string>

#include "base/expect_error.h"
#include "base/temp_folder.h"

namespace darkroom {
namespace {

std::span<const std::byte> bytes_of(const std::string& text) { return std::as_bytes(std::span(text)); }

TEST(ScratchFile, KeepsWhatIsWrittenAndHasNoName) {
  const TempFolder folder;
  ScratchFile file(folder.path(), 100);
  EXPECT_TRUE(std::filesystem::is_empty(folder.path()));
  EXPECT_EQ(file.size(), 100u);
  file.write(90, bytes_of("0123456789"));
  file.write(88, bytes_of("abc"));
  const ScratchFile moved = std::move(file);
  std::string text(12, ' ');
  moved.read(88, std::as_writable_bytes(std::span(text)));
  EXPECT_EQ(text, "abc123456789");
  EXPECT_THROW(moved.write(91, bytes_of("0123456789")), Error);
  EXPECT_THROW(moved.read(101, {}), Error);
}

TEST(ScratchFile, NoFolderAndNoRoomAreOneLine) {
  const TempFolder folder;
  expect_error(ErrorCode::kOutput,
               "/nonexistent/folder: cannot make a scratch file of 100 bytes: No such file",
               [] { ScratchFile("/nonexistent/folder", 100); });
  expect_error(ErrorCode::kOutput,
               folder.path().string() + ": cannot make a scratch file of 4611686018427387904 bytes",
               [&] { ScratchFile(folder.path(), std::size_t{1} << 62); });
  EXPECT_TRUE(std::filesystem::is_empty(folder.path()));
}

}  // namespace
}  // namespace darkroom
