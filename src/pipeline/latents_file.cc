#include "pipeline/latents_file.h"

#include "base/error.h"
#include "weights/safetensors.h"

namespace darkroom {
namespace {

constexpr const char* kTensorName = "latents";

}  // namespace

std::vector<float> read_latents(const std::filesystem::path& path, int64_t tokens, int64_t channels) {
  const TensorFile file(path);
  const StoredTensor* stored = file.find(kTensorName);
  require(stored != nullptr, ErrorCode::kModel, "{}: there is no tensor '{}'", file.where(), kTensorName);
  require(stored->dtype == DType::kF32, ErrorCode::kModel,
          "{}: '{}' is {}, expected F32 [1, tokens, channels]", file.where(), kTensorName,
          stored->describe());
  require(stored->extents == std::vector<int64_t>{1, tokens, channels}, ErrorCode::kUsage,
          "{}: '{}' is {}, this picture needs [1, {}, {}]", file.where(), kTensorName, stored->describe(),
          tokens, channels);
  std::vector<float> values(static_cast<std::size_t>(stored->elements));
  file.read(*stored, std::as_writable_bytes(std::span(values)));
  return values;
}

void write_latents(const std::filesystem::path& path, std::span<const float> latents, int64_t tokens,
                   int64_t channels, bool overwrite) {
  // A view for writing out only; Tensor has no read-only form.
  const Tensor tensor(const_cast<float*>(latents.data()), DType::kF32, {1, tokens, channels});
  const NamedTensor named{kTensorName, tensor};
  write_safetensors(path, {&named, 1}, {.overwrite = overwrite});
}

}  // namespace darkroom
