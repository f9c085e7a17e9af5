// A backend without data: it counts what running would cost. The models run on it unchanged to make a plan.
#pragma once

#include <cstdint>
#include <initializer_list>
#include <utility>

#include "ops/backend.h"

namespace darkroom {

// Doubles, because a stranger's config and a thousand steps exceed 64 bits; exact up to 9e15.
struct Work {
  double flops = 0;  // 2 per multiply-add of matmuls, attention and convolutions; the rest is not counted
  double weight_bytes = 0;  // stored bytes of weights read, once per op that reads them
  int64_t ops = 0;          // that were called; one that stands for several counts once
};

class DryRunBackend : public Backend {
 public:
  const Work& work() const { return work_; }

  std::string name() const override { return "dry_run"; }
  Device device() const override { return Device::kNone; }
  bool counts_only() const override { return true; }
  void linear(const LinearArgs& args) override;
  void quantize_rows(const QuantizeRowsArgs& args) override;
  void layer_norm(const LayerNormArgs& args) override;
  void norm_modulate(const NormModulateArgs& args) override;
  void rms_norm(const RmsNormArgs& args) override;
  void qk_norm_rope(const QkNormRopeArgs& args) override;
  void attention(const AttentionArgs& args) override;
  void gated_gelu(const GatedGeluArgs& args) override;
  void add(const AddArgs& args) override;
  void row_distances(const RowDistancesArgs& args) override;
  void column_magnitudes(const ColumnMagnitudesArgs& args) override;
  void activate(const ActivateArgs& args) override;
  void embed(const EmbedArgs& args) override;
  void row_moments(const RowMomentsArgs& args) override;
  void group_statistics(const GroupStatisticsArgs& args) override;
  void group_norm(const GroupNormArgs& args) override;
  void conv2d(const Conv2dArgs& args) override;
  void convert(const ConvertArgs& args) override;
  void upload(std::span<const float> host, const Tensor& out) override;
  void download(const Tensor& x, std::span<float> host) override;
  double count_times(double times) override { return std::exchange(times_, times); }

 private:
  void count(double flops, std::initializer_list<const Tensor*> weights);
  Work work_;
  double times_ = 1;
};

}  // namespace darkroom
