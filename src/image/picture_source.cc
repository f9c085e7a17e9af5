#include "image/picture_source.h"

#include <algorithm>
#include <utility>

#include "image/picture_file.h"

namespace darkroom {
namespace {

constexpr std::size_t kWindowBytes = std::size_t{64} << 10;

uint32_t number(std::string_view bytes, std::size_t count, bool big_endian) {
  uint32_t value = 0;
  for (std::size_t i = 0; i < count; ++i) {
    value = value << 8 | static_cast<uint8_t>(bytes[big_endian ? i : count - 1 - i]);
  }
  return value;
}

}  // namespace

uint32_t big_endian_16(std::string_view bytes) { return number(bytes, 2, true); }
uint32_t big_endian_32(std::string_view bytes) { return number(bytes, 4, true); }
uint32_t little_endian_16(std::string_view bytes) { return number(bytes, 2, false); }
uint32_t little_endian_32(std::string_view bytes) { return number(bytes, 4, false); }

PictureSource::PictureSource(const std::filesystem::path& path) : where_(path.string()) {
  with_picture_errors([&] { file_.emplace(path); });
  size_ = file_->bytes().size();
}

PictureSource::PictureSource(std::span<const std::byte> bytes, std::string where)
    : where_(std::move(where)), bytes_(bytes), size_(bytes.size()) {}

void PictureSource::fill(uint64_t offset, std::size_t count) {
  const uint64_t left = size_ - offset;
  window_.resize(static_cast<std::size_t>(std::min<uint64_t>(left, std::max(count, kWindowBytes))));
  window_at_ = offset;
  with_picture_errors(
      [&] { file_->read(static_cast<std::size_t>(offset), std::as_writable_bytes(std::span(window_))); });
}

std::string_view PictureSource::look(uint64_t offset, std::size_t count) {
  if (offset >= size_) return {};
  count = static_cast<std::size_t>(std::min<uint64_t>(count, size_ - offset));
  if (!file_) return {reinterpret_cast<const char*>(bytes_.data()) + offset, count};
  const bool inside = offset >= window_at_ && offset + count <= window_at_ + window_.size();
  if (!inside) fill(offset, count);
  return std::string_view(window_).substr(static_cast<std::size_t>(offset - window_at_), count);
}

}  // namespace darkroom
