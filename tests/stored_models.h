// Random pipelines in every storage of weights, written by the test itself.
#pragma once

#include <filesystem>
#include <list>
#include <string>
#include <vector>

#include "checkpoint/checkpoint.h"
#include "weights/loaded.h"
#include "weights/quantize.h"
#include "weights/safetensors.h"
#include "weights/storage.h"

namespace darkroom {

// Tensors on their way into a file, and their memory.
class TensorList {
 public:
  Tensor make(const std::string& name, DType dtype, const Shape& shape) {
    buffers_.emplace_back(static_cast<std::size_t>(shape.numel()) * dtype_bytes(dtype));
    named_.push_back({name, Tensor(buffers_.back().data(), dtype, shape)});
    return named_.back().tensor;
  }
  // A matrix `X.weight` as quantize.h's comment says.
  void add_matrix(const std::string& name, const Tensor& matrix, WeightStorage as) {
    const std::string scale_name = name + "_scale";  // X.weight_scale
    if (as == WeightStorage::kI8) {
      const Tensor scales = make(scale_name, DType::kF32, {matrix.rows()});
      i8_scales(matrix, {scales.row<float>(0), static_cast<std::size_t>(matrix.rows())});
      quantize_rows(matrix, {scales.row<float>(0), static_cast<std::size_t>(matrix.rows())},
                    make(name, DType::kI8, matrix.shape));
    } else if (as == WeightStorage::kF8Scaled) {
      const Tensor scale = make(scale_name, DType::kF32, {1});
      *scale.row<float>(0) = f8_scale(absmax(matrix));
      quantize_rows(matrix, {scale.row<float>(0), 1}, make(name, DType::kF8E4M3, matrix.shape));
      // What such files also hold, and nobody needs.
      *make(name.substr(0, name.size() - 6) + "input_scale", DType::kF32, {1}).row<float>(0) = 7;
    } else {
      quantize_rows(matrix, {}, make(name, storage_dtype(as), matrix.shape));
    }
  }
  void write(const std::filesystem::path& path) const { write_safetensors(path, named_); }

 private:
  std::list<Buffer> buffers_;
  std::vector<NamedTensor> named_;
};

// A folder with the configs and tokenizers of the small checkpoint in the fixtures, whose transformer and T5
// are the dummy's numbers for these shapes: bf16, but the matrices of linear layers (of T5's only with
// `t5_too`) as `as` says.
inline void write_stored_model(const std::filesystem::path& folder, WeightStorage as, bool t5_too) {
  namespace fs = std::filesystem;
  const fs::path checkpoint = DARKROOM_SOURCE_DIR "/tests/fixtures/pipelines/dev_small";
  fs::create_directories(folder);
  fs::copy_file(checkpoint / "model_index.json", folder / "model_index.json");
  const Checkpoint shapes = Checkpoint::open(checkpoint);
  for (const auto& entry : fs::directory_iterator(checkpoint)) {
    const std::string name = entry.path().filename().string();
    if (!entry.is_directory()) continue;
    if (name != "transformer" && name != "text_encoder_2") {
      fs::create_directory_symlink(entry.path(), folder / name);
      continue;
    }
    fs::create_directory(folder / name);
    fs::copy_file(entry.path() / "config.json", folder / name / "config.json");
    const bool transformer = name == "transformer";
    DummySource numbers(DType::kBF16);
    TensorList list;
    shapes.visit(transformer ? Part::kTransformer : Part::kT5, [&](const Param& param, Tensor&) {
      const OwnedTensor values = load(numbers, param);
      if (param.quantizable() && (transformer || t5_too))
        return list.add_matrix(param.name, values.tensor, as);
      quantize_rows(values.tensor, {}, list.make(param.name, DType::kBF16, param.shape));
    });
    list.write(folder / name / (transformer ? "diffusion_pytorch_model.safetensors" : "model.safetensors"));
  }
}

}  // namespace darkroom
