#include "nn/modules.h"

namespace darkroom {

void visit_linear(const VisitFn& visit, const std::string& name, Linear& w, int64_t in, int64_t out,
                  Bias bias) {
  visit(name + ".weight", w.weight, {out, in});
  if (bias == Bias::kYes) visit(name + ".bias", w.bias, {out});
}

void visit_norm(const VisitFn& visit, const std::string& name, NormWeights& w, int64_t channels) {
  visit(name + ".weight", w.weight, {channels});
  visit(name + ".bias", w.bias, {channels});
}

void visit_conv(const VisitFn& visit, const std::string& name, Conv2d& w, int64_t in, int64_t out,
                int64_t kernel) {
  visit(name + ".weight", w.weight, {out, in, kernel, kernel});
  visit(name + ".bias", w.bias, {out});
}

Tensor mlp(const Context& ctx, const Tensor& x, const Mlp& w, Activation activation) {
  return ops::linear(ctx, ops::linear(ctx, x, w.in, activation), w.out);
}

}  // namespace darkroom
