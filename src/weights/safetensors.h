// Safetensors files: their header, and the writing of small ones (weights/safetensors_head.h serves those who
// write their tensors themselves).
#pragma once

#include <cstddef>
#include <filesystem>
#include <map>
#include <span>
#include <string>

#include "weights/named_tensor.h"
#include "weights/tensor_file.h"

namespace darkroom {

// The header at the beginning of a whole file, checked by every rule of the reference crate
// (github.com/huggingface/safetensors). Errors: kModel, beginning with `where`: no safetensors file (and what
// it is instead, where that shows), cut short, or against a rule; see parse_safetensors_header().
TensorFileHeader read_safetensors(std::span<const std::byte> file, const std::string& where);

struct WriteOptions {
  std::map<std::string, std::string> metadata = {};
  bool overwrite = false;  // without it an existing file is an error
};

// Writes a file that appears whole or not at all, laid out as the reference crate does: wide types first,
// then by name, the header padded to 8 bytes. Errors: kUsage for a repeated or reserved name, or one that is
// not UTF-8; kFailure for a tensor without data; kOutput.
void write_safetensors(const std::filesystem::path& path, std::span<const NamedTensor> tensors,
                       const WriteOptions& options = {});

}  // namespace darkroom
