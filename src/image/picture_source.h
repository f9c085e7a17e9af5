// The bytes of a picture file, read where they are asked for: texts are found without taking the pixels into
// memory. Used inside this room only.
#pragma once

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <optional>
#include <span>
#include <string>
#include <string_view>

#include "base/file_map.h"

namespace darkroom {

class PictureSource {
 public:
  // Opens a file of any size. Errors: kFailure when it is missing, a folder, empty or unreadable.
  explicit PictureSource(const std::filesystem::path& path);
  // Bytes in memory, which must outlive this. `where` opens the messages of those who read.
  PictureSource(std::span<const std::byte> bytes, std::string where);

  const std::string& where() const { return where_; }
  uint64_t size() const { return size_; }

  // `count` bytes at `offset`, fewer where the file ends. The text is valid until the next call. Memory:
  // 64 KiB, or `count`. Errors: kFailure.
  std::string_view look(uint64_t offset, std::size_t count);
  uint8_t byte(uint64_t offset) { return static_cast<uint8_t>(look(offset, 1)[0]); }  // offset < size()

 private:
  void fill(uint64_t offset, std::size_t count);

  std::string where_;
  std::optional<FileMap> file_;
  std::span<const std::byte> bytes_;
  uint64_t size_ = 0;
  std::string window_;  // bytes of the file from window_at_ on
  uint64_t window_at_ = 0;
};

// Unsigned numbers at the start of `bytes`, which has at least that many.
uint32_t big_endian_16(std::string_view bytes);
uint32_t big_endian_32(std::string_view bytes);
uint32_t little_endian_16(std::string_view bytes);
uint32_t little_endian_32(std::string_view bytes);

}  // namespace darkroom
