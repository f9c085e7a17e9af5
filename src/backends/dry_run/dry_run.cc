#include "backends/dry_run/dry_run.h"

namespace darkroom {

namespace {

// The factors first become doubles: their product may not fit 64 bits.
template <typename... Counts>
double product(Counts... counts) {
  return (static_cast<double>(counts) * ...);
}

}  // namespace

void DryRunBackend::count(double flops, std::initializer_list<const Tensor*> weights) {
  ++work_.ops;
  work_.flops += times_ * flops;
  for (const Tensor* weight : weights)
    work_.weight_bytes += times_ * static_cast<double>(weight->bytes_with_scales());
}

void DryRunBackend::linear(const LinearArgs& a) {
  const int64_t rank = a.lora_up.present() ? a.lora_up.cols() : 0;
  count(2 * product(a.x.rows(), a.x.cols() + rank, a.out.cols()), {&a.weight, &a.bias, &a.lora_up});
}

void DryRunBackend::quantize_rows(const QuantizeRowsArgs&) { count(0, {}); }
void DryRunBackend::layer_norm(const LayerNormArgs& a) { count(0, {&a.weight, &a.bias}); }
void DryRunBackend::norm_modulate(const NormModulateArgs&) { count(0, {}); }
void DryRunBackend::rms_norm(const RmsNormArgs& a) { count(0, {&a.weight}); }
void DryRunBackend::qk_norm_rope(const QkNormRopeArgs& a) { count(0, {&a.weight}); }

// q·kᵀ and p·v over all pairs; a causal mask halves the work, which the plan of a 77-token CLIP can ignore.
void DryRunBackend::attention(const AttentionArgs& a) {
  count(4 * product(a.q.rows(), a.k.rows(), a.q.cols()), {});
}

void DryRunBackend::gated_gelu(const GatedGeluArgs&) { count(0, {}); }
void DryRunBackend::add(const AddArgs&) { count(0, {}); }
void DryRunBackend::row_distances(const RowDistancesArgs&) { count(0, {}); }
void DryRunBackend::column_magnitudes(const ColumnMagnitudesArgs&) { count(0, {}); }
void DryRunBackend::activate(const ActivateArgs&) { count(0, {}); }

void DryRunBackend::embed(const EmbedArgs& a) {
  count(0, {});
  work_.weight_bytes += times_ * product(a.out.rows(), row_bytes(a.table.dtype, a.table.cols()));
}

void DryRunBackend::row_moments(const RowMomentsArgs&) { count(0, {}); }
void DryRunBackend::group_statistics(const GroupStatisticsArgs&) { count(0, {}); }
void DryRunBackend::group_norm(const GroupNormArgs& a) { count(0, {&a.weight, &a.bias}); }

void DryRunBackend::conv2d(const Conv2dArgs& a) {
  count(2 * product(a.out.rows(), a.weight.shape.numel()), {&a.weight, &a.bias});
}

void DryRunBackend::convert(const ConvertArgs&) { count(0, {}); }
void DryRunBackend::upload(std::span<const float>, const Tensor&) { count(0, {}); }
void DryRunBackend::download(const Tensor&, std::span<float>) { count(0, {}); }

}  // namespace darkroom
