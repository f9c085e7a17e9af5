// A file for what does not fit into memory, gone when its owner is, however that ends.
#pragma once

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <span>

namespace darkroom {

// Owns an open file without a name. Movable, not copyable; reading and writing are thread-safe.
class ScratchFile {
 public:
  // A file of `bytes` bytes in `folder`, whose room on the disk is taken at once. Errors: kOutput with the
  // folder and the size, when the folder cannot be written to or the disk has too little room.
  ScratchFile(const std::filesystem::path& folder, std::size_t bytes);
  ~ScratchFile();
  ScratchFile(ScratchFile&& other) noexcept;
  ScratchFile& operator=(ScratchFile&& other) noexcept;

  std::size_t size() const { return size_; }

  // Errors: kOutput when the disk fails; kFailure outside the file.
  void read(std::size_t offset, std::span<std::byte> out) const;
  void write(std::size_t offset, std::span<const std::byte> bytes) const;

 private:
  void check_range(std::size_t offset, std::size_t bytes) const;
  [[noreturn]] void fail_to(const char* verb, int error) const;

  std::filesystem::path folder_;
  int fd_ = -1;
  std::size_t size_ = 0;
};

}  // namespace darkroom
