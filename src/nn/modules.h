// Parameter structs shared by the models, and how each is visited.
//
// A model is a struct of these with one visit() function that names every tensor once. Visiting binds, checks
// shapes, counts and prints: what a visit does is the VisitFn's business (weights/source.h). There are no
// module classes; forward functions are free functions over ops.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <string>

#include "ops/ops.h"
#include "weights/source.h"

namespace darkroom {

// Called with the number of a group of weights (a layer, a block) before they are used: brings them into
// memory and returns what keeps them there. An empty function means that everything is in memory already.
using LeaseFn = std::function<std::shared_ptr<void>(int64_t unit)>;

inline std::shared_ptr<void> take(const LeaseFn& lease, int64_t unit) {
  return lease ? lease(unit) : nullptr;
}

// A norm's scale and, for LayerNorm and GroupNorm, its offset.
struct NormWeights {
  Tensor weight;
  Tensor bias;
};

enum class Bias : uint8_t { kYes, kNo };

// Each visits "name.weight" and, with a bias, "name.bias".
void visit_linear(const VisitFn& visit, const std::string& name, Linear& w, int64_t in, int64_t out,
                  Bias bias = Bias::kYes);
void visit_norm(const VisitFn& visit, const std::string& name, NormWeights& w, int64_t channels);
void visit_conv(const VisitFn& visit, const std::string& name, Conv2d& w, int64_t in, int64_t out,
                int64_t kernel);

// Two linear layers with an activation between them: out(act(in(x))).
struct Mlp {
  Linear in, out;
};
Tensor mlp(const Context& ctx, const Tensor& x, const Mlp& w, Activation activation);

}  // namespace darkroom
