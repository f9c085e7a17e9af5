// Tensors as tests want them: one at a time, in memory of their own.
#pragma once

#include <filesystem>
#include <span>
#include <vector>

#include "weights/quantize.h"
#include "weights/source.h"
#include "weights/tensor_file.h"

namespace darkroom {

// A parameter as a phase holds it: described, read, laid into the memory it was read into.
inline OwnedTensor load(WeightSource& source, const Param& param) {
  OwnedTensor out;
  out.tensor = source.describe(param);
  const std::size_t bytes = out.tensor.bytes_with_scales();
  out.memory = Buffer(bytes);
  source.read(param, {out.memory.data(), bytes});
  out.tensor.lay_into(out.memory.data());
  out.tensor.device = Device::kHost;
  return out;
}

// A parameter's numbers in f32, whatever it is stored as.
inline std::vector<float> widened(WeightSource& source, const Param& param) {
  const OwnedTensor loaded = load(source, param);
  Tensor rows = loaded.tensor;
  rows.shape = {rows.rows(), rows.cols()};
  std::vector<float> out(static_cast<std::size_t>(rows.shape.numel()));
  dequantize_rows(rows, {rows.scales, static_cast<std::size_t>(rows.scale_count)},
                  Tensor(out.data(), DType::kF32, rows.shape));
  return out;
}

inline std::vector<float> scales_of(const Tensor& tensor) {
  return {tensor.scales, tensor.scales + tensor.scale_count};
}

// Bytes of a file before its tensors' data.
inline std::size_t data_begin(const std::filesystem::path& path) {
  const TensorFile file(path);
  const std::size_t size = std::filesystem::file_size(path);
  return file.tensors().empty() ? size : size - file.tensors().back().begin - file.tensors().back().bytes;
}

// Bytes of the tensors that do not begin at a multiple of their elements' size: those who map a file must
// copy them.
inline std::size_t misaligned_bytes(const std::filesystem::path& path) {
  const std::size_t data = data_begin(path);
  const TensorFile file(path);
  std::size_t bytes = 0;
  for (const StoredTensor& tensor : file.tensors()) {
    if ((data + tensor.begin) % dtype_bytes(tensor.dtype.value()) != 0) bytes += tensor.bytes;
  }
  return bytes;
}

}  // namespace darkroom
