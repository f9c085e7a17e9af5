#include "base/new_folder.h"

#include <fcntl.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstdio>
#include <cstring>
#include <utility>

#include "base/error.h"

namespace darkroom {
namespace {

namespace fs = std::filesystem;

constexpr const char* kOnlyFile = "file";
constexpr const char* kPrefix = ".darkroom-";  // as write_file_atomically() begins its names

[[noreturn]] void fail_with_errno(const std::string& where, const std::string& failure) {
  const int error = errno;
  fail(ErrorCode::kOutput, "{}: {}: {}", where, failure, std::strerror(error));
}

// "out/" and "out/." are "out".
fs::path without_slash(const fs::path& path) {
  const fs::path clean = path.lexically_normal();
  return clean.has_filename() ? clean : clean.parent_path();
}

fs::path folder_of(const fs::path& path) {
  return path.has_parent_path() ? path.parent_path() : fs::path(".");
}

// Opens a folder and takes its lock; -1 when somebody has it.
int lock_folder(const fs::path& folder) {
  const int fd = ::open(folder.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC | O_NOFOLLOW);
  if (fd >= 0 && ::flock(fd, LOCK_EX | LOCK_NB) != 0) {
    ::close(fd);
    return -1;
  }
  return fd;
}

bool sync_folder(const fs::path& folder) {
  const int fd = ::open(folder.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  if (fd < 0) return false;
  const bool synced = ::fsync(fd) == 0 || errno == EINVAL;  // some file systems have nothing to do
  ::close(fd);
  return synced;
}

// File systems without the first way (some network ones) leave a moment between the check and the rename, in
// which only an empty folder can be lost.
bool rename_if_free(const fs::path& from, const fs::path& to) {
  if (::renameat2(AT_FDCWD, from.c_str(), AT_FDCWD, to.c_str(), RENAME_NOREPLACE) == 0) return true;
  if (errno != EINVAL && errno != ENOSYS) return false;
  struct stat status {};
  if (::lstat(to.c_str(), &status) == 0) {
    errno = EEXIST;
    return false;
  }
  return ::rename(from.c_str(), to.c_str()) == 0;
}

std::size_t bytes_in(const fs::path& folder) {
  std::size_t bytes = 0;
  std::error_code error, ignored;
  fs::recursive_directory_iterator it(folder, error);
  for (; !error && it != fs::recursive_directory_iterator(); it.increment(error)) {
    if (it->is_regular_file(ignored)) bytes += it->file_size(ignored);
  }
  return bytes;
}

}  // namespace

NewFile::NewFile(const fs::path& path, std::string shown) : shown_(std::move(shown)) {
  fd_ = ::open(path.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0666);
  if (fd_ < 0) fail_with_errno(shown_, "cannot create");
}

NewFile::~NewFile() {
  if (fd_ >= 0) ::close(fd_);
}

NewFile::NewFile(NewFile&& other) noexcept
    : shown_(std::move(other.shown_)), fd_(std::exchange(other.fd_, -1)) {}

void NewFile::write(std::size_t offset, std::span<const std::byte> bytes) {
  const std::size_t begin = offset, length = bytes.size();
  while (!bytes.empty()) {
    const ssize_t n = ::pwrite(fd_, bytes.data(), bytes.size(), static_cast<off_t>(offset));
    if (n < 0 && errno == EINTR) continue;
    if (n <= 0) fail_with_errno(shown_, fmt::format("cannot write {} bytes at {}", bytes.size(), offset));
    bytes = bytes.subspan(static_cast<std::size_t>(n));
    offset += static_cast<std::size_t>(n);
  }
  // Or gigabytes pile up in the page cache for finish() to wait for, and a full disk shows late.
  ::sync_file_range(fd_, static_cast<off64_t>(begin), static_cast<off64_t>(length), SYNC_FILE_RANGE_WRITE);
}

void NewFile::finish() {
  if (::fsync(fd_) != 0) fail_with_errno(shown_, "cannot finish the file");
  if (::close(std::exchange(fd_, -1)) != 0) fail_with_errno(shown_, "cannot close the file");
}

NewFolder::NewFolder(const fs::path& path, Becomes becomes) : path_(without_slash(path)), becomes_(becomes) {
  std::error_code ignored;
  require(!fs::exists(fs::symlink_status(path_, ignored)), ErrorCode::kOutput,
          "{}: already exists; choose another name or remove it", path_.string());
  for (int attempt = 0; attempt < 1000; ++attempt) {
    temporary_ = folder_of(path_) / fmt::format("{}{}-{}", kPrefix, ::getpid(), attempt);
    if (::mkdir(temporary_.c_str(), 0777) == 0) {
      lock_ = lock_folder(temporary_);  // -1 where there are no locks: then nothing is ever called abandoned
      return;
    }
    if (errno != EEXIST) break;
  }
  fail_with_errno(path_.string(), "cannot write there");
}

NewFolder::~NewFolder() {
  std::error_code ignored;
  if (!temporary_.empty()) fs::remove_all(temporary_, ignored);
  if (lock_ >= 0) ::close(lock_);
}

NewFile NewFolder::file(const fs::path& name) {
  if (becomes_ == Becomes::kFile) return NewFile(temporary_ / kOnlyFile, path_.string());
  const std::string shown = (path_ / name).string();
  std::error_code error;
  fs::create_directories((temporary_ / name).parent_path(), error);
  require(!error, ErrorCode::kOutput, "{}: cannot create its folder: {}", shown, error.message());
  return NewFile(temporary_ / name, shown);
}

void NewFolder::write(const fs::path& name, std::string_view content) {
  NewFile out = file(name);
  out.write(0, std::as_bytes(std::span(content)));
  out.finish();
}

void NewFolder::finish() {
  std::vector<fs::path> folders = {temporary_};
  for (const auto& entry : fs::recursive_directory_iterator(temporary_)) {
    if (entry.is_directory()) folders.push_back(entry.path());
  }
  for (const fs::path& folder : folders) {
    if (!sync_folder(folder)) fail_with_errno(path_.string(), "cannot finish the folder");
  }
  const bool one = becomes_ == Becomes::kFile;
  if (!rename_if_free(one ? temporary_ / kOnlyFile : temporary_, path_))
    fail_with_errno(path_.string(), fmt::format("cannot rename the finished {}", one ? "file" : "folder"));
  std::error_code ignored;
  if (one) fs::remove(temporary_, ignored);
  temporary_.clear();
  if (!sync_folder(folder_of(path_))) fail_with_errno(path_.string(), "cannot finish the renaming");
}

std::size_t NewFolder::free_bytes() const {
  std::error_code error;
  const fs::space_info space = fs::space(temporary_, error);
  return error ? SIZE_MAX : static_cast<std::size_t>(space.available);
}

namespace {

// Whether the constructor makes such names: ".darkroom-PID-ATTEMPT".
bool is_temporary_name(std::string_view name) {
  if (!name.starts_with(kPrefix)) return false;
  name.remove_prefix(std::string_view(kPrefix).size());
  const std::size_t dash = name.find('-');
  const auto is_number = [](std::string_view text) {
    return !text.empty() && text.find_first_not_of("0123456789") == text.npos;
  };
  return dash != name.npos && is_number(name.substr(0, dash)) && is_number(name.substr(dash + 1));
}

}  // namespace

std::vector<AbandonedFolder> abandoned_folders(const fs::path& path) {
  std::vector<AbandonedFolder> out;
  std::error_code error, ignored;
  fs::directory_iterator it(folder_of(without_slash(path)), error);
  for (; !error && it != fs::directory_iterator(); it.increment(error)) {
    if (!is_temporary_name(it->path().filename().string()) || !it->is_directory(ignored)) continue;
    const int lock = lock_folder(it->path());
    if (lock < 0) continue;  // its maker is at work
    out.push_back({it->path(), bytes_in(it->path())});
    ::close(lock);
  }
  std::ranges::sort(out, {}, &AbandonedFolder::path);
  return out;
}

}  // namespace darkroom
