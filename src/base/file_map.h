// A file mapped read-only into memory or read from where it lies, and a bounded way to read small ones whole.
#pragma once

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <span>
#include <string>

namespace darkroom {

// Owns the mapping; spans handed out are valid while it lives. Movable, not copyable; reading is thread-safe.
class FileMap {
 public:
  // Errors: kModel when the path is missing, a directory, empty or unreadable.
  explicit FileMap(const std::filesystem::path& path);
  ~FileMap();
  FileMap(FileMap&& other) noexcept;
  FileMap& operator=(FileMap&& other) noexcept;

  const std::filesystem::path& path() const { return path_; }
  std::span<const std::byte> bytes() const { return {data_, size_}; }

  // Reads out.size() bytes at `offset`, by pread: unlike the mapping it needs no address space, and a file
  // that was cut short or written to since it was opened is an error instead of a signal. Errors: kModel.
  void read(std::size_t offset, std::span<std::byte> out) const;

 private:
  std::filesystem::path path_;
  int fd_ = -1;
  int64_t changed_ns_ = 0;  // when the file was last written to, as found at opening
  const std::byte* data_ = nullptr;
  std::size_t size_ = 0;
};

// The whole file as a string. Errors: kModel when missing, unreadable or larger than max_bytes.
std::string read_text_file(const std::filesystem::path& path, std::size_t max_bytes);

// Writes bytes under a temporary name in the same folder and renames it to `path`, so a reader sees the
// old file or the whole new one. With overwrite false an existing `path` is an error. Errors: kOutput;
// nothing is left behind.
void write_file_atomically(const std::filesystem::path& path, std::span<const std::byte> bytes,
                           bool overwrite);
// The same for a file that lies in several pieces, written one after the other.
void write_pieces_atomically(const std::filesystem::path& path,
                             std::span<const std::span<const std::byte>> pieces, bool overwrite);

}  // namespace darkroom
