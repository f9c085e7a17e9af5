// Parameter structs shared by the models, and how each is visited.
//
// A model is a struct of these with one visit() function that names every parameter once: what a visit does
// is the VisitFn's business (weights/param.h). Forward functions are free functions over ops.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <string>

#include "ops/ops.h"
#include "weights/param.h"

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

// Visits layers, one after the other, whose parameters share a unit.
class ParamVisitor {
 public:
  explicit ParamVisitor(const VisitFn& visit, Unit unit = {}, bool sensitive = false)
      : visit_(visit), unit_(unit), sensitive_(sensitive) {}

  // Each visits "name.weight" and, with a bias, "name.bias".
  void linear(const std::string& name, Linear& w, int64_t in, int64_t out, Bias bias = Bias::kYes) const {
    linear_beside(name, name, w, in, out, bias);
  }
  // A linear layer that multiplies what the layer `first` does (Param::fed_by).
  void linear_beside(const std::string& first, const std::string& name, Linear& w, int64_t in, int64_t out,
                     Bias bias = Bias::kYes) const;
  void norm(const std::string& name, NormWeights& w, int64_t channels) const;
  void conv(const std::string& name, Conv2d& w, int64_t in, int64_t out, int64_t kernel) const;
  // One parameter of that very name.
  void vector(const std::string& name, Tensor& field, int64_t count) const;
  void table(const std::string& name, Tensor& field, int64_t rows, int64_t cols) const;

 private:
  const VisitFn& visit_;
  Unit unit_;
  bool sensitive_;
};

// x [rows, K] for linear layers, of which `first` is the first; with ctx.int8 also in 8 bits, with a scale
// for `columns` of a row where the context does not say how many (0: all). Errors: those of
// ops::quantize_rows().
LinearInput input_of(const Context& ctx, const Tensor& x, const Linear& first, int64_t columns = 0);

// Two linear layers with an activation between them: out(act(in(x))).
struct Mlp {
  Linear in, out;
};
Tensor mlp(const Context& ctx, const Tensor& x, const Mlp& w, Activation activation);

}  // namespace darkroom
