#include "base/file_map.h"

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <utility>

#include "base/error.h"

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

int open_regular_file(const fs::path& path, std::size_t* size) {
  const int fd = ::open(path.c_str(), O_RDONLY | O_CLOEXEC);
  if (fd < 0) fail(ErrorCode::kModel, "{}: cannot open: {}", path.string(), std::strerror(errno));
  struct stat status {};
  if (::fstat(fd, &status) != 0 || !S_ISREG(status.st_mode)) {
    ::close(fd);
    fail(ErrorCode::kModel, "{}: not a regular file", path.string());
  }
  *size = static_cast<std::size_t>(status.st_size);
  return fd;
}

}  // namespace

FileMap::FileMap(const fs::path& path) : path_(path) {
  Descriptor file{open_regular_file(path, &size_)};
  require(size_ > 0, ErrorCode::kModel, "{}: the file is empty", path.string());
  void* address = ::mmap(nullptr, size_, PROT_READ, MAP_PRIVATE, file.fd, 0);
  if (address == MAP_FAILED) {
    fail(ErrorCode::kModel, "{}: cannot map {} bytes: {}", path.string(), size_, std::strerror(errno));
  }
  data_ = static_cast<const std::byte*>(address);
}

FileMap::~FileMap() {
  if (data_) ::munmap(const_cast<std::byte*>(data_), size_);
}

FileMap::FileMap(FileMap&& other) noexcept
    : path_(std::move(other.path_)), data_(std::exchange(other.data_, nullptr)), size_(std::exchange(other.size_, 0)) {}

FileMap& FileMap::operator=(FileMap&& other) noexcept {
  std::swap(path_, other.path_);
  std::swap(data_, other.data_);
  std::swap(size_, other.size_);
  return *this;
}

void FileMap::drop_pages(std::size_t offset, std::size_t length) const {
  const std::size_t page = static_cast<std::size_t>(::sysconf(_SC_PAGESIZE));
  const std::size_t first = (offset + page - 1) / page * page;  // whole pages inside the range only
  const std::size_t last = (offset + length) / page * page;
  if (first < last) ::madvise(const_cast<std::byte*>(data_) + first, last - first, MADV_DONTNEED);
}

std::string read_text_file(const fs::path& path, std::size_t max_bytes) {
  std::size_t size = 0;
  Descriptor file{open_regular_file(path, &size)};
  require(size <= max_bytes, ErrorCode::kModel, "{}: {} bytes, more than the {} bytes allowed for a file of this kind",
          path.string(), size, max_bytes);
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

void write_file_atomically(const fs::path& path, std::span<const std::byte> bytes, bool overwrite) {
  const fs::path folder = path.has_parent_path() ? path.parent_path() : fs::path(".");
  std::string name = (folder / ".darkroom-XXXXXX").string();
  Descriptor file{::mkstemp(name.data())};
  if (file.fd < 0) fail(ErrorCode::kOutput, "{}: cannot write there: {}", path.string(), std::strerror(errno));
  const auto give_up = [&](const char* doing) {
    const int reason = errno;
    ::unlink(name.c_str());
    fail(ErrorCode::kOutput, "{}: {}: {}", path.string(), doing, std::strerror(reason));
  };
  std::size_t done = 0;
  while (done < bytes.size()) {
    const ssize_t n = ::write(file.fd, bytes.data() + done, bytes.size() - done);
    if (n < 0 && errno == EINTR) continue;
    if (n < 0) give_up("cannot write");
    done += static_cast<std::size_t>(n);
  }
  const mode_t mask = ::umask(0);
  ::umask(mask);
  if (::fchmod(file.fd, 0666 & ~mask) != 0 || ::fsync(file.fd) != 0) give_up("cannot finish the file");
  if (overwrite) {
    if (::rename(name.c_str(), path.c_str()) != 0) give_up("cannot rename the finished file");
  } else {  // link() fails when the name exists: no race between a check and the rename
    if (::link(name.c_str(), path.c_str()) != 0) give_up("cannot create");
    ::unlink(name.c_str());
  }
}

}  // namespace darkroom
