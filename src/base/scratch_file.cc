#include "base/scratch_file.h"

#include <fcntl.h>
#include <unistd.h>

#include <cerrno>
#include <cstdlib>
#include <cstring>
#include <string>
#include <utility>

#include "base/error.h"

namespace darkroom {

ScratchFile::ScratchFile(const std::filesystem::path& folder, std::size_t bytes)
    : folder_(folder), size_(bytes) {
  std::string name = (folder / ".darkroom-scratch-XXXXXX").string();
  fd_ = ::mkostemp(name.data(), O_CLOEXEC);
  if (fd_ < 0) fail_to("make", errno);
  // Without its name the file lives as long as the descriptor, and a kill closes that.
  ::unlink(name.c_str());
  int error = 0;
  if (bytes > 0) {
    do {
      error = ::posix_fallocate(fd_, 0, static_cast<off_t>(bytes));
    } while (error == EINTR);
  }
  if (error != 0) {
    ::close(std::exchange(fd_, -1));
    fail_to("make", error);
  }
}

ScratchFile::~ScratchFile() {
  if (fd_ >= 0) ::close(fd_);
}

ScratchFile::ScratchFile(ScratchFile&& other) noexcept
    : folder_(std::move(other.folder_)), fd_(std::exchange(other.fd_, -1)), size_(other.size_) {}

ScratchFile& ScratchFile::operator=(ScratchFile&& other) noexcept {
  std::swap(folder_, other.folder_);
  std::swap(fd_, other.fd_);
  std::swap(size_, other.size_);
  return *this;
}

void ScratchFile::read(std::size_t offset, std::span<std::byte> out) const {
  check_range(offset, out.size());
  while (!out.empty()) {
    const ssize_t n = ::pread(fd_, out.data(), out.size(), static_cast<off_t>(offset));
    if (n < 0 && errno == EINTR) continue;
    if (n <= 0) fail_to("read", n < 0 ? errno : EIO);
    offset += static_cast<std::size_t>(n);
    out = out.subspan(static_cast<std::size_t>(n));
  }
}

void ScratchFile::write(std::size_t offset, std::span<const std::byte> bytes) const {
  check_range(offset, bytes.size());
  while (!bytes.empty()) {
    const ssize_t n = ::pwrite(fd_, bytes.data(), bytes.size(), static_cast<off_t>(offset));
    if (n < 0 && errno == EINTR) continue;
    if (n <= 0) fail_to("write", n < 0 ? errno : EIO);
    offset += static_cast<std::size_t>(n);
    bytes = bytes.subspan(static_cast<std::size_t>(n));
  }
}

void ScratchFile::check_range(std::size_t offset, std::size_t bytes) const {
  require(offset <= size_ && bytes <= size_ - offset, ErrorCode::kFailure,
          "a scratch file of {} bytes: {} bytes at {} lie outside", size_, bytes, offset);
}

void ScratchFile::fail_to(const char* verb, int error) const {
  fail(ErrorCode::kOutput,
       "{}: cannot {} a scratch file of {} bytes: {}; allow more memory or name another folder",
       folder_.string(), verb, size_, std::strerror(error));
}

}  // namespace darkroom
