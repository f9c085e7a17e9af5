// Random numbers for the bench, owned until it lets go of them. Values do not matter to speed as long as they
// stay ordinary: no zeros in bulk, nothing subnormal.
#pragma once

#include <cstddef>
#include <list>

#include "tensor/buffer.h"
#include "tensor/tensor.h"

namespace darkroom::bench {

class Operands {
 public:
  // Dense, in [−scale, scale] around `middle`, uniform but in 8-bit and block types; of these and f16, which
  // are for matrices, around 0, i8 with a scale. Errors: kOutOfMemory.
  Tensor random(DType dtype, const Shape& shape, float scale = 1, float middle = 0);
  // i8 within ±levels, which it says, with one scale: in [−scale, scale].
  Tensor random_int8(const Shape& shape, int32_t levels, float scale);
  // Another tensor with the same numbers in memory of its own.
  Tensor copy(const Tensor& tensor);

 private:
  Tensor take(DType dtype, const Shape& shape);
  float unit();  // in [−1, 1)
  Tensor random_blocks(DType dtype, const Shape& shape, float scale);
  std::list<Buffer> buffers_;
  uint32_t state_ = 2463534242u;
};

}  // namespace darkroom::bench
