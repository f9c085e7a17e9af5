// Weights with smoothing factors (weights/smoothing.h) in a conversion: divided by them, or multiplied again.
#pragma once

#include <memory>

#include "convert/part_source.h"
#include "weights/smoothing.h"

namespace darkroom {

// The columns of the transformer's matrices divided by the factors, which become tensors beside them.
void smooth(PartSource& source, std::shared_ptr<const Smoothing> smoothing);

// Of a model whose weights are divided by factors that lie beside them: without either.
void undo_smoothing(PartSource& source);

}  // namespace darkroom
