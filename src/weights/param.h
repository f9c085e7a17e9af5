// A parameter as a model describes it: the one list of a model's tensors is its visit() function.
//
//     void visit(const Config& c, const VisitFn& visit) {
//       visit({"proj.weight", {c.dim, c.in}, Role::kMatrix}, proj.weight);
//       visit({"proj.bias", {c.dim}}, proj.bias);
//     }
//
// What a visit does is the caller's choice: bind, count, plan, convert. Names are those of diffusers and
// transformers; how other programs spell them is weights/spelling.h.
#pragma once

#include <cstdint>
#include <functional>
#include <string>

#include "tensor/tensor.h"

namespace darkroom {

enum class Role : uint8_t {
  kVector,  // a bias, a norm
  kMatrix,  // of a linear layer
  kTable,   // an embedding: rows are looked up
  kConv,    // [out, in, height, width]
};

// When a model needs a parameter. Ends: as long as the model runs. Modulation: before the first step only.
// Block: while the block of that number runs.
enum class Stage : uint8_t { kEnds, kModulation, kBlock };

// Parameters of one unit enter and leave memory together.
struct Unit {
  Stage stage = Stage::kEnds;
  int64_t index = 0;
  bool operator==(const Unit&) const = default;
};

struct Param {
  std::string name;
  Shape shape;
  Role role = Role::kVector;
  Unit unit = {};
  // A small matrix on which a picture depends much: it keeps its numbers when others are quantised.
  bool sensitive = false;
  // Of a linear layer's matrix: the fields for a LoRA beside it, which a source may have
  // (WeightSource::lora_of). Valid during the visit.
  Tensor* lora_down = nullptr;
  Tensor* lora_up = nullptr;
  // Of a linear layer's matrix: the layer whose name stands for what it multiplies, "X". The first of those that
  // multiply the same is X itself, and has the field for smoothing factors (WeightSource::smooth_of).
  std::string fed_by = {};
  Tensor* smooth = nullptr;

  // Of its rows, which are the first extent.
  int64_t cols() const { return shape[0] == 0 ? 0 : shape.numel() / shape[0]; }
  bool quantizable() const { return role == Role::kMatrix && !sensitive; }
};

// Called once for each parameter, with the field that holds it.
using VisitFn = std::function<void(const Param& param, Tensor& field)>;

}  // namespace darkroom
