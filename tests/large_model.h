// A model that works and holds one more matrix in its transformer, as large as the test likes, in a file that
// takes next to no room on the disk.
#pragma once

#include <fcntl.h>
#include <unistd.h>

#include <filesystem>
#include <stdexcept>

#include "base/half.h"
#include "model_folder.h"
#include "weights/catalog.h"
#include "weights/safetensors_head.h"

namespace darkroom {

inline constexpr const char* kLargeName = "extra.weight";

// What row r of the matrix begins with, in bf16 exactly; all else is 0.
inline float large_value(int64_t row) { return 1 + static_cast<float>(row % 128) / 128; }

inline void pwrite_all(int file, const void* bytes, std::size_t count, std::size_t offset) {
  if (::pwrite(file, bytes, count, static_cast<off_t>(offset)) != static_cast<ssize_t>(count)) {
    throw std::runtime_error("cannot write the test's model");
  }
}

inline void make_large_model(const std::filesystem::path& folder, int64_t rows, int64_t cols) {
  namespace fs = std::filesystem;
  make_model_folder(folder, "{}");
  const Catalog small(folder / "transformer");
  std::vector<StoredTensor> tensors;
  for (const std::string_view name : small.names()) tensors.push_back(*small.stored(name));
  StoredTensor large;
  large.name = kLargeName;
  large.type = "BF16";
  large.dtype = DType::kBF16;
  large.extents = {rows, cols};
  large.elements = rows * cols;
  large.bytes = static_cast<std::size_t>(rows * cols) * 2;
  tensors.push_back(large);
  const std::size_t data_bytes = lay_out(tensors);
  const std::string head = safetensors_head(tensors, {}, "the test's model");

  const fs::path config = fs::canonical(folder / "transformer" / "config.json");
  fs::remove(folder / "transformer");  // the link
  fs::create_directory(folder / "transformer");
  fs::copy_file(config, folder / "transformer" / "config.json");
  const fs::path path = folder / "transformer" / "diffusion_pytorch_model.safetensors";
  const int file = ::open(path.c_str(), O_WRONLY | O_CREAT | O_CLOEXEC, 0644);
  pwrite_all(file, head.data(), head.size(), 0);
  if (::ftruncate(file, static_cast<off_t>(head.size() + data_bytes)) != 0) {
    throw std::runtime_error("cannot make the test's model larger");
  }
  for (const StoredTensor& tensor : tensors) {
    const std::size_t begin = head.size() + tensor.begin;
    if (tensor.name != kLargeName) {
      const OwnedTensor stored = small.load(tensor.name).value();
      pwrite_all(file, stored.tensor.data, stored.tensor.bytes(), begin);
      continue;
    }
    for (int64_t row = 0; row < rows; ++row) {
      const BFloat16 value = to_bfloat16(large_value(row));
      pwrite_all(file, &value, sizeof value, begin + static_cast<std::size_t>(row * cols) * 2);
    }
  }
  ::close(file);
}

}  // namespace darkroom
