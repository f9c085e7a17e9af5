#include "nn/modules.h"

namespace darkroom {

void ParamVisitor::linear_beside(const std::string& first, const std::string& name, Linear& w, int64_t in,
                                 int64_t out, Bias bias) const {
  Param matrix{name + ".weight", {out, in}, Role::kMatrix, unit_, sensitive_};
  matrix.fed_by = first;
  if (first == name) matrix.smooth = &w.smooth;
  matrix.lora_down = &w.lora_down;
  matrix.lora_up = &w.lora_up;
  visit_(matrix, w.weight);
  if (bias == Bias::kYes) vector(name + ".bias", w.bias, out);
}

void ParamVisitor::norm(const std::string& name, NormWeights& w, int64_t channels) const {
  vector(name + ".weight", w.weight, channels);
  vector(name + ".bias", w.bias, channels);
}

void ParamVisitor::conv(const std::string& name, Conv2d& w, int64_t in, int64_t out, int64_t kernel) const {
  visit_({name + ".weight", {out, in, kernel, kernel}, Role::kConv, unit_, sensitive_}, w.weight);
  vector(name + ".bias", w.bias, out);
}

void ParamVisitor::vector(const std::string& name, Tensor& field, int64_t count) const {
  visit_({name, {count}, Role::kVector, unit_, sensitive_}, field);
}

void ParamVisitor::table(const std::string& name, Tensor& field, int64_t rows, int64_t cols) const {
  visit_({name, {rows, cols}, Role::kTable, unit_, sensitive_}, field);
}

LinearInput input_of(const Context& ctx, const Tensor& x, const Linear& first, int64_t columns) {
  if (ctx.watcher) ctx.watcher->on_input(first, x);
  if (!ctx.int8) return x;
  const int64_t group = ctx.int8->group == 0 ? columns : ctx.int8->group;
  return {x, ops::quantize_rows(ctx, x, group, first.smooth, ctx.int8->levels)};
}

Tensor mlp(const Context& ctx, const Tensor& x, const Mlp& w, Activation activation) {
  return ops::linear(ctx, ops::linear(ctx, x, w.in, activation), w.out);
}

}  // namespace darkroom
