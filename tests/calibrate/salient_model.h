// A model that computes what another one does, but with salient channels, as FLUX.1's are: an input of linear
// layers has one channel in a hundred 32 to 64 times as large, and the weights that read it are as much smaller.
#pragma once

#include <filesystem>
#include <list>
#include <map>
#include <string>
#include <vector>

#include "checkpoint/checkpoint.h"
#include "weights/loaded.h"
#include "weights/safetensors.h"

namespace darkroom {

class SalientWeights {
 public:
  explicit SalientWeights(const Checkpoint& model) : d_(model.config().transformer.inner_dim()) {
    const auto source = model.open_weights(Part::kTransformer);
    model.visit(Part::kTransformer, [&](const Param& param, Tensor&) {
      tensors_[param.name] = {param.shape, widened(*source, param)};
    });
    for (int64_t i = 0; i < model.config().transformer.num_layers; ++i) {
      const std::string block = "transformer_blocks." + std::to_string(i) + ".";
      modulated(block, "norm1.linear", 0, {"attn.to_q", "attn.to_k", "attn.to_v"});
      modulated(block, "norm1.linear", 3, {"ff.net.0.proj"});
      modulated(block, "norm1_context.linear", 0, {"attn.add_q_proj", "attn.add_k_proj", "attn.add_v_proj"});
      modulated(block, "norm1_context.linear", 3, {"ff_context.net.0.proj"});
      attended(block, {"attn.to_v", "attn.add_v_proj"}, {"attn.to_out.0", "attn.to_add_out"});
    }
    for (int64_t i = 0; i < model.config().transformer.num_single_layers; ++i) {
      const std::string block = "single_transformer_blocks." + std::to_string(i) + ".";
      modulated(block, "norm.linear", 0, {"attn.to_q", "attn.to_k", "attn.to_v", "proj_mlp"});
      attended(block, {"attn.to_v"}, {"proj_out"});
    }
  }
  void write(const std::filesystem::path& path) {
    std::vector<NamedTensor> list;
    for (auto& [name, tensor] : tensors_)
      list.push_back({name, Tensor(tensor.second.data(), DType::kF32, tensor.first)});
    write_safetensors(path, list);
  }

 private:
  using Names = std::vector<std::string>;
  // One channel and its factor, a power of two: nothing is rounded but a scale's offset.
  std::pair<int64_t, float> next() {
    chosen_ = (chosen_ * 29 + 17) % d_;
    return {chosen_, chosen_ % 2 ? 64.0f : 32.0f};
  }
  void multiply_row(const std::string& layer, int64_t row, float by) {
    auto& [shape, weight] = tensors_.at(layer + ".weight");
    for (int64_t c = 0; c < shape[1]; ++c) weight[static_cast<std::size_t>(row * shape[1] + c)] *= by;
    tensors_.at(layer + ".bias").second[static_cast<std::size_t>(row)] *= by;
  }
  void divide_column(const std::string& layer, int64_t column, float by) {
    auto& [shape, weight] = tensors_.at(layer + ".weight");
    for (int64_t r = 0; r < shape[0]; ++r) weight[static_cast<std::size_t>(r * shape[1] + column)] /= by;
  }
  // n·(1 + scale) + shift, chunks `chunk` (shift) and the next (scale) of the modulation.
  void modulated(const std::string& block, const std::string& norm, int64_t chunk, const Names& readers) {
    const auto [channel, by] = next();
    multiply_row(block + norm, chunk * d_ + channel, by);
    multiply_row(block + norm, (chunk + 1) * d_ + channel, by);
    tensors_.at(block + norm + ".bias").second[static_cast<std::size_t>((chunk + 1) * d_ + channel)] +=
        by - 1;
    for (const std::string& reader : readers) divide_column(block + reader, channel, by);
  }
  void attended(const std::string& block, const Names& values, const Names& readers) {
    const auto [channel, by] = next();
    for (const std::string& value : values) multiply_row(block + value, channel, by);
    for (const std::string& reader : readers) divide_column(block + reader, channel, by);
  }

  int64_t d_, chosen_ = 0;
  std::map<std::string, std::pair<Shape, std::vector<float>>> tensors_;
};

// `model`, a folder in diffusers layout, in f32.
inline void write_salient_model(const std::filesystem::path& model, const std::filesystem::path& out) {
  namespace fs = std::filesystem;
  fs::copy(model, out, fs::copy_options::recursive);
  fs::remove_all(out / "transformer");
  fs::create_directory(out / "transformer");
  fs::copy_file(model / "transformer" / "config.json", out / "transformer" / "config.json");
  SalientWeights(Checkpoint::open(model)).write(out / "transformer" / "diffusion_pytorch_model.safetensors");
}

}  // namespace darkroom
