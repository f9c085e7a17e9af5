#include "weights/safetensors.h"

#include <algorithm>
#include <cstring>
#include <functional>
#include <mutex>
#include <numeric>
#include <utility>

#include "base/error.h"
#include "base/foreign_file.h"
#include "base/printable.h"
#include "tensor/buffer.h"

namespace darkroom {
namespace {

constexpr std::size_t kLengthBytes = 8;
constexpr uint64_t kMaxHeaderBytes = 100'000'000;  // the reference crate's limit

std::string_view as_text(std::span<const std::byte> bytes) {
  return {reinterpret_cast<const char*>(bytes.data()), bytes.size()};
}

uint64_t little_endian(std::span<const std::byte> bytes) {
  uint64_t value = 0;
  for (std::size_t i = 0; i < kLengthBytes; ++i) value |= std::to_integer<uint64_t>(bytes[i]) << (8 * i);
  return value;
}

// What people save under a .safetensors name by mistake, and what to do about it; empty when nothing known.
std::string_view known_other_kind(std::string_view text) {
  if (const std::string_view kind = foreign_kind(text); !kind.empty()) return kind;
  if (text.starts_with("{\"") || text.starts_with("{\n")) {
    return "JSON text without the tensors, often an error message or an index: download the file again";
  }
  return "";
}

// The first of these bytes that is no blank of JSON; 0 when there is none.
char first_character(std::string_view json) {
  const std::size_t at = json.find_first_not_of(" \t\r\n");
  return at == json.npos ? '\0' : json[at];
}

}  // namespace

// Aligned copies of the tensors that need one, by index.
struct SafetensorsFile::Copies {
  std::mutex mutex;
  std::map<std::size_t, Buffer> buffers;
};

SafetensorsFile::SafetensorsFile(const std::filesystem::path& path)
    : where_(path.string()), file_(path), bytes_(file_->bytes()), copies_(std::make_unique<Copies>()) {
  read_header();
}

SafetensorsFile::SafetensorsFile(std::span<const std::byte> bytes, std::string where)
    : where_(std::move(where)), bytes_(bytes), copies_(std::make_unique<Copies>()) {
  read_header();
}

SafetensorsFile::~SafetensorsFile() = default;
SafetensorsFile::SafetensorsFile(SafetensorsFile&& other) noexcept = default;
SafetensorsFile& SafetensorsFile::operator=(SafetensorsFile&& other) noexcept = default;

void SafetensorsFile::read_header() {
  const std::string_view text = as_text(bytes_);
  const uint64_t length = bytes_.size() < kLengthBytes ? 0 : little_endian(bytes_);
  const bool fits = bytes_.size() >= kLengthBytes && length <= bytes_.size() - kLengthBytes;
  if (!fits || length > kMaxHeaderBytes || first_character(text.substr(kLengthBytes, length)) != '{') {
    const std::string_view kind = known_other_kind(text);
    if (!kind.empty()) fail(ErrorCode::kModel, "{}: not a safetensors file but {}", where_, kind);
    require(bytes_.size() >= kLengthBytes, ErrorCode::kModel,
            "{}: {} bytes are too few for a safetensors file", where_, bytes_.size());
    require(
        length <= kMaxHeaderBytes, ErrorCode::kModel,
        "{}: not a safetensors file: its first 8 bytes promise a header of {} bytes, at most {} are allowed",
        where_, length, kMaxHeaderBytes);
    require(fits, ErrorCode::kModel,
            "{}: cut short: the file has {} bytes, its header alone needs {}; fetch it again", where_,
            bytes_.size(), length + kLengthBytes);
    fail(ErrorCode::kModel, "{}: not a safetensors file: the header does not begin with '{{'", where_);
  }
  header_ = parse_safetensors_header(text.substr(kLengthBytes, length), where_);
  data_ = bytes_.subspan(kLengthBytes + length);
  require(header_.data_bytes <= data_.size(), ErrorCode::kModel,
          "{}: cut short: the file has {} bytes, its header needs {}; fetch it again", where_, bytes_.size(),
          kLengthBytes + length + header_.data_bytes);
  require(header_.data_bytes == data_.size(), ErrorCode::kModel,
          "{}: the file has {} bytes, its header accounts for only {}", where_, bytes_.size(),
          kLengthBytes + length + header_.data_bytes);
  by_name_.resize(header_.tensors.size());
  std::iota(by_name_.begin(), by_name_.end(), std::size_t{0});
  std::ranges::sort(by_name_, {}, [&](std::size_t i) -> std::string_view { return header_.tensors[i].name; });
}

const StoredTensor* SafetensorsFile::find(std::string_view name) const {
  const auto name_of = [&](std::size_t i) -> std::string_view { return header_.tensors[i].name; };
  const auto it = std::ranges::lower_bound(by_name_, name, {}, name_of);
  return it != by_name_.end() && name_of(*it) == name ? &header_.tensors[*it] : nullptr;
}

bool SafetensorsFile::aligned(const StoredTensor& stored) const {
  const auto address = reinterpret_cast<std::uintptr_t>(data_.data()) + stored.begin;
  return !stored.dtype || address % dtype_bytes(*stored.dtype) == 0;
}

Tensor SafetensorsFile::view(const StoredTensor& stored) const {
  if (!stored.dtype || stored.extents.size() > Shape::kMaxRank) {
    fail(ErrorCode::kModel, "{}: tensor '{}' is {}: {} not supported", where_, printable(stored.name),
         stored.describe(), stored.dtype ? "more than four extents are" : "this type is");
  }
  const std::vector<int64_t> scalar = {1};
  const Shape shape(stored.extents.empty() ? std::span(scalar) : std::span(stored.extents));
  const std::byte* data = data_.data() + stored.begin;
  if (!aligned(stored)) {
    const std::lock_guard lock(copies_->mutex);
    Buffer& copy = copies_->buffers[static_cast<std::size_t>(&stored - header_.tensors.data())];
    if (copy.size() == 0 && stored.bytes > 0) {
      copy = Buffer(stored.bytes);
      std::memcpy(copy.data(), data, stored.bytes);
    }
    data = copy.data();
  }
  return Tensor(const_cast<std::byte*>(data), *stored.dtype, shape);
}

void SafetensorsFile::read(const StoredTensor& stored, std::span<std::byte> out) const {
  require(out.size() == stored.bytes, ErrorCode::kFailure, "{}: tensor '{}' has {} bytes, {} were asked for",
          where_, printable(stored.name), stored.bytes, out.size());
  const std::byte* data = data_.data() + stored.begin;
  if (file_) {
    file_->read(static_cast<std::size_t>(data - bytes_.data()), out);
  } else if (!out.empty()) {
    std::memcpy(out.data(), data, out.size());
  }
}

std::size_t SafetensorsFile::misaligned_bytes() const {
  std::size_t total = 0;
  for (const StoredTensor& stored : header_.tensors) {
    if (!aligned(stored)) total += stored.bytes;
  }
  return total;
}

bool SafetensorsFile::contains(const void* data) const {
  const std::less<const void*> before;  // < is undefined between pointers of different arrays
  return !before(data, bytes_.data()) && before(data, bytes_.data() + bytes_.size());
}

}  // namespace darkroom
