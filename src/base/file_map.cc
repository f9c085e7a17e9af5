#include "base/file_map.h"

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstdio>
#include <cstring>
#include <string>
#include <utility>

#include "base/error.h"
#include "base/foreign_file.h"

namespace darkroom {
namespace {

namespace fs = std::filesystem;

// Closes a descriptor at the end of its scope.
struct Descriptor {
  int fd = -1;
  ~Descriptor() {
    if (fd >= 0) ::close(fd);
  }
};

int64_t written_ns(const struct stat& status) {
  return int64_t{status.st_mtim.tv_sec} * 1'000'000'000 + status.st_mtim.tv_nsec;
}

[[noreturn]] void fail_to_open(const fs::path& path, int error) {
  if (const std::string link = dangling_link(path); !link.empty()) fail(ErrorCode::kModel, "{}", link);
  fail(ErrorCode::kModel, "{}: cannot open: {}", path.string(), std::strerror(error));
}

int open_regular_file(const fs::path& path, std::size_t* size, int64_t* changed_ns = nullptr) {
  // O_NONBLOCK: opening a named pipe would wait for a writer; regular files do not care.
  const int fd = ::open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK);
  if (fd < 0) fail_to_open(path, errno);
  struct stat status {};
  if (::fstat(fd, &status) != 0 || !S_ISREG(status.st_mode)) {
    ::close(fd);
    fail(ErrorCode::kModel, "{}: not a regular file", path.string());
  }
  *size = static_cast<std::size_t>(status.st_size);
  if (changed_ns) *changed_ns = written_ns(status);
  return fd;
}

}  // namespace

FileMap::FileMap(const fs::path& path) : path_(path) {
  Descriptor file{open_regular_file(path, &size_, &changed_ns_)};
  require(size_ > 0, ErrorCode::kModel, "{}: the file is empty", path.string());
  void* address = ::mmap(nullptr, size_, PROT_READ, MAP_PRIVATE, file.fd, 0);
  if (address == MAP_FAILED) {
    fail(ErrorCode::kModel, "{}: cannot map {} bytes: {}", path.string(), size_, std::strerror(errno));
  }
  data_ = static_cast<const std::byte*>(address);
  fd_ = std::exchange(file.fd, -1);
}

FileMap::~FileMap() {
  if (data_) ::munmap(const_cast<std::byte*>(data_), size_);
  if (fd_ >= 0) ::close(fd_);
}

FileMap::FileMap(FileMap&& other) noexcept
    : path_(std::move(other.path_)),
      fd_(std::exchange(other.fd_, -1)),
      changed_ns_(other.changed_ns_),
      data_(std::exchange(other.data_, nullptr)),
      size_(std::exchange(other.size_, 0)) {}

FileMap& FileMap::operator=(FileMap&& other) noexcept {
  std::swap(path_, other.path_);
  std::swap(fd_, other.fd_);
  std::swap(changed_ns_, other.changed_ns_);
  std::swap(data_, other.data_);
  std::swap(size_, other.size_);
  return *this;
}

void FileMap::read(std::size_t offset, std::span<std::byte> out) const {
  require(offset <= size_ && out.size() <= size_ - offset, ErrorCode::kFailure,
          "{}: {} bytes at {} lie outside its {} bytes", path_.string(), out.size(), offset, size_);
  std::size_t done = 0;
  while (done < out.size()) {
    const ssize_t n = ::pread(fd_, out.data() + done, out.size() - done, static_cast<off_t>(offset + done));
    if (n < 0 && errno == EINTR) continue;
    if (n < 0) fail(ErrorCode::kModel, "{}: cannot read: {}", path_.string(), std::strerror(errno));
    require(n > 0, ErrorCode::kModel, "{}: cut short while in use: it had {} bytes, now it ends at {}",
            path_.string(), size_, offset + done);
    done += static_cast<std::size_t>(n);
  }
  struct stat status {};
  require(::fstat(fd_, &status) == 0 && written_ns(status) == changed_ns_ &&
              static_cast<std::size_t>(status.st_size) == size_,
          ErrorCode::kModel, "{}: written to while in use; start again once it is complete", path_.string());
}

std::string read_text_file(const fs::path& path, std::size_t max_bytes) {
  std::size_t size = 0;
  Descriptor file{open_regular_file(path, &size)};
  require(size <= max_bytes, ErrorCode::kModel,
          "{}: {} bytes, more than the {} bytes allowed for a file of this kind", path.string(), size,
          max_bytes);
  std::string text(size, '\0');
  std::size_t done = 0;
  while (done < size) {
    const ssize_t n = ::read(file.fd, text.data() + done, size - done);
    if (n < 0 && errno == EINTR) continue;
    if (n <= 0) fail(ErrorCode::kModel, "{}: read {} of {} bytes", path.string(), done, size);
    done += static_cast<std::size_t>(n);
  }
  return text;
}

namespace {

// The temporary file beside the result: removed again unless it was renamed.
struct TemporaryFile {
  fs::path name;
  Descriptor file;
  bool keep = false;

  // O_EXCL never follows or reuses what is there; mode 0666 lets the umask decide, as for any other new file.
  explicit TemporaryFile(const fs::path& path) {
    const fs::path folder = path.has_parent_path() ? path.parent_path() : fs::path(".");
    for (int attempt = 0; file.fd < 0 && attempt < 1000; ++attempt) {
      name = folder / (".darkroom-" + std::to_string(::getpid()) + "-" + std::to_string(attempt));
      file.fd = ::open(name.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0666);
      if (file.fd < 0 && errno != EEXIST) break;
    }
  }
  ~TemporaryFile() {
    if (file.fd >= 0 && !keep) ::unlink(name.c_str());
  }
};

bool write_all(int fd, std::span<const std::byte> bytes) {
  while (!bytes.empty()) {
    const ssize_t n = ::write(fd, bytes.data(), bytes.size());
    if (n < 0 && errno == EINTR) continue;
    if (n <= 0) return false;
    bytes = bytes.subspan(static_cast<std::size_t>(n));
  }
  return true;
}

// Gives the file its name if that is free, in one step: no race between a check and the rename. File systems
// without that rename (some network ones) have hard links.
bool rename_if_free(const fs::path& from, const fs::path& to) {
  if (::renameat2(AT_FDCWD, from.c_str(), AT_FDCWD, to.c_str(), RENAME_NOREPLACE) == 0) return true;
  if (errno != EINVAL && errno != ENOSYS) return false;
  if (::link(from.c_str(), to.c_str()) != 0) return false;
  ::unlink(from.c_str());
  return true;
}

}  // namespace

void write_pieces_atomically(const fs::path& path, std::span<const std::span<const std::byte>> pieces,
                             bool overwrite) {
  const auto check = [&](bool ok, const char* failure) {
    if (!ok) fail(ErrorCode::kOutput, "{}: {}: {}", path.string(), failure, std::strerror(errno));
  };
  TemporaryFile temporary(path);
  check(temporary.file.fd >= 0, "cannot write there");
  for (const auto piece : pieces) check(write_all(temporary.file.fd, piece), "cannot write");
  check(::fsync(temporary.file.fd) == 0, "cannot finish the file");
  if (overwrite) {
    check(::rename(temporary.name.c_str(), path.c_str()) == 0, "cannot rename the finished file");
  } else {
    check(rename_if_free(temporary.name, path), "cannot create");
  }
  temporary.keep = true;
}

void write_file_atomically(const fs::path& path, std::span<const std::byte> bytes, bool overwrite) {
  write_pieces_atomically(path, {&bytes, 1}, overwrite);
}

}  // namespace darkroom
