#include "weights/safetensors.h"

#include <utility>

#include "base/error.h"
#include "base/foreign_file.h"
#include "weights/safetensors_header.h"

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

TensorFileHeader read_safetensors(std::span<const std::byte> file, const std::string& where) {
  const std::string_view text = as_text(file);
  const uint64_t length = file.size() < kLengthBytes ? 0 : little_endian(file);
  const bool fits = file.size() >= kLengthBytes && length <= file.size() - kLengthBytes;
  if (!fits || length > kMaxHeaderBytes || first_character(text.substr(kLengthBytes, length)) != '{') {
    const std::string_view kind = known_other_kind(text);
    if (!kind.empty()) fail(ErrorCode::kModel, "{}: not a safetensors file but {}", where, kind);
    require(file.size() >= kLengthBytes, ErrorCode::kModel,
            "{}: neither safetensors nor GGUF: {} bytes are too few", where, file.size());
    require(
        length <= kMaxHeaderBytes, ErrorCode::kModel,
        "{}: neither safetensors nor GGUF: its first 8 bytes promise a header of {} bytes, at most {} are "
        "allowed",
        where, length, kMaxHeaderBytes);
    require(fits, ErrorCode::kModel,
            "{}: cut short: the file has {} bytes, its header alone needs {}; fetch it again", where,
            file.size(), length + kLengthBytes);
    fail(ErrorCode::kModel, "{}: neither safetensors nor GGUF: the header does not begin with '{{'", where);
  }
  SafetensorsHeader header = parse_safetensors_header(text.substr(kLengthBytes, length), where);
  const std::size_t begin = kLengthBytes + length, needed = begin + header.data_bytes;
  require(needed <= file.size(), ErrorCode::kModel,
          "{}: cut short: the file has {} bytes, its header needs {}; fetch it again", where, file.size(),
          needed);
  require(needed == file.size(), ErrorCode::kModel,
          "{}: the file has {} bytes, its header accounts for only {}", where, file.size(), needed);
  return {std::move(header.tensors), std::move(header.metadata), begin};
}

}  // namespace darkroom
