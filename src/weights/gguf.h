// GGUF files (github.com/ggml-org/ggml, docs/gguf.md): their header, and the writing of small ones
// (weights/gguf_head.h serves those who write their tensors themselves).
#pragma once

#include <cstddef>
#include <filesystem>
#include <span>
#include <string>
#include <string_view>

#include "weights/gguf_fields.h"
#include "weights/named_tensor.h"
#include "weights/tensor_file.h"

namespace darkroom {

inline constexpr std::string_view kGgufMagic = "GGUF";
inline constexpr std::string_view kGgufAlignmentKey = "general.alignment";
inline constexpr std::size_t kGgufAlignment = 32;  // of every tensor's data, unless a field says otherwise
inline constexpr std::size_t kMaxGgufAlignment = std::size_t{1} << 20;
inline constexpr std::size_t kMaxGgufRank = 4;
inline constexpr std::size_t kMaxGgufName = 512;            // bytes; ggml's own limit has been 64
inline constexpr std::size_t kMaxGgufKey = 65'535;          // bytes; the format's limit
inline constexpr std::size_t kMaxGgufFieldBytes = 1 << 28;  // in memory, all key-values together

struct GgufHeader {
  TensorFileHeader file;  // the metadata are those fields that are texts
  GgufFields fields;      // lists of lists are read over and left out
};

// The header at the beginning of a whole file, version 2 or 3, little endian. Laxer than ggml: tensors may
// lie in any order and with holes, and the last one's padding may be missing. Errors: kModel, beginning with
// `where`: another version or byte order, cut short, or against a rule of the format or a limit above.
GgufHeader read_gguf(std::span<const std::byte> file, const std::string& where);

// What kGgufAlignmentKey says, or else kGgufAlignment. Errors: kModel when that is no power of two from 1 to
// kMaxGgufAlignment.
std::size_t gguf_alignment(const GgufFields& fields, const std::string& where);

// Writes a file that appears whole or not at all, the tensors in the order given. Errors: kUsage for what
// gguf_head() refuses; kFailure for a tensor without data; kOutput.
void write_gguf(const std::filesystem::path& path, std::span<const NamedTensor> tensors,
                const GgufFields& fields = GgufFields(), bool overwrite = false);

}  // namespace darkroom
