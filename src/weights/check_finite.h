// Whether a parameter's numbers are finite, as a question of its own: asking it of every weight while it is read
// would cost more than the reading (docs/SPEED.md), so it is asked when a result is not finite.
#pragma once

#include "weights/source.h"

namespace darkroom {

// Reads the parameter in pieces of a few MiB. Errors: kModel, "row 3, column 5 is nan, a weight must be finite", as
// weights/quantize.h has it: rows are those of the first extent. What the source throws.
void check_finite(WeightSource& source, const Param& param);

}  // namespace darkroom
