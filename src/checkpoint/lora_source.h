// The weights of a part with LoRAs on them, whatever the weights are stored as.
//
// A difference of low rank is two matrices beside the weight (WeightSource::lora_of); the weight stays as it is
// stored. Several LoRAs on one matrix are joined along the rank. Anything else (LoKr, LoHa, whole differences,
// biases, norms) is added to the widened weight when that is read, which then comes as bf16, or as f32 if it is
// stored so; vectors come as f32.
#pragma once

#include <memory>

#include "checkpoint/lora.h"
#include "weights/source.h"

namespace darkroom {

class LoraSource : public WeightSource {
 public:
  // Those of strength 0 are as if they were not there.
  LoraSource(std::unique_ptr<WeightSource> base, Part part, LoraUses loras);
  Tensor describe(const Param& param) override;
  // Errors: also kModel for a LoRA's number that is not finite, with the file and the tensor.
  void read(const Param& param, std::span<std::byte> out) override;
  std::size_t staging_bytes(const Param& param) override;
  std::optional<LoraParams> lora_of(const Param& param) override;
  std::optional<Param> smooth_of(const Param& param) override { return base_->smooth_of(param); }
  std::string place_of(const Param& param) override { return base_->place_of(param); }

 private:
  struct LowRank {
    const TensorFile* file;
    const Lora::LowRank* change;
    double strength;
  };
  struct Dense {
    const TensorFile* file;
    const Lora::Dense* change;
    double strength;
  };
  // Of the matrix that a parameter "X.lora_down" or "X.lora_up" is beside; of others nothing.
  std::vector<LowRank> low_rank_of(const Param& param) const;
  std::vector<LowRank> low_rank_of_matrix(const std::string& name) const;
  std::vector<Dense> dense_of(const Param& param) const;
  static DType joint_dtype(std::span<const LowRank> changes, bool down);
  void read_down(const Param& param, std::span<const LowRank> changes, std::span<std::byte> out) const;
  void read_up(const Param& param, std::span<const LowRank> changes, std::span<std::byte> out) const;

  std::unique_ptr<WeightSource> base_;
  Part part_;
  LoraUses loras_;
};

// `source`, with the LoRAs that touch the part, if any does.
std::unique_ptr<WeightSource> with_loras(std::unique_ptr<WeightSource> source, Part part,
                                         const LoraUses& loras);

}  // namespace darkroom
