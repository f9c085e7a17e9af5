// LoRAs added to the weights themselves, for files that are to hold the sum.
//
// While a picture is drawn a difference of low rank stays beside its weight (checkpoint/lora_source.h).
#pragma once

#include <memory>

#include "base/threads.h"
#include "checkpoint/lora.h"
#include "weights/source.h"

namespace darkroom {

// `base`, whose parameters that a LoRA changes come as f32 without scales: W + Σ strength·factor·up·down, and
// what else the LoRAs add. The sums do not depend on how rows are cut, nor on the threads.
class MergedSource : public WeightSource {
 public:
  // The pool must outlive this. Those of strength 0 are as if they were not there.
  MergedSource(std::shared_ptr<WeightSource> base, Part part, LoraUses loras, ThreadPool& pool);
  bool changes(const Param& param) const;
  Tensor describe(const Param& param) override;
  // Errors: also kModel for a LoRA's number that is not finite, with the file and the tensor.
  void read(const Param& param, std::span<std::byte> out) override;
  void read_rows(const Param& param, const RowRange& rows, std::span<std::byte> out) override;
  std::vector<float> read_scales(const Param& param) override;

 private:
  void widen(const Param& param, const RowRange& rows, const Tensor& out);
  void add(const Lora::LowRank& change, const LoraUse& use, int64_t first, const Tensor& sum) const;

  std::shared_ptr<WeightSource> base_;
  Part part_;
  LoraUses loras_;
  ThreadPool& pool_;
};

}  // namespace darkroom
