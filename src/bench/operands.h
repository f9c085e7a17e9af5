// Random numbers for the bench, owned until it lets go of them. Values do not matter to speed as long as they
// stay ordinary: no zeros in bulk, nothing subnormal.
#pragma once

#include <cstddef>
#include <list>
#include <memory>

#include "ops/backend.h"
#include "tensor/buffer.h"
#include "tensor/tensor.h"

namespace darkroom::bench {

class Uniform {
 public:
  float next();      // in [−1, 1)
  std::byte byte();  // any

 private:
  uint32_t state_ = 2463534242u;
};

// Tensors of a backend.
class Operands {
 public:
  explicit Operands(Backend& backend) : backend_(backend) {}
  // Dense, in [−scale, scale] around `middle`, uniform but in 8-bit and block types; of these and f16, which
  // are for matrices, around 0, i8 with a scale. Errors: kOutOfMemory.
  Tensor random(DType dtype, const Shape& shape, float scale = 1, float middle = 0);
  // i8 within ±levels, which it says, with one scale: in [−scale, scale].
  Tensor random_int8(const Shape& shape, int32_t levels, float scale);
  // Another tensor with the same numbers in memory of its own, apart from scales.
  Tensor copy(const Tensor& tensor);
  // A dense tensor of the host, with its scales.
  Tensor put(const Tensor& host);

 private:
  Tensor make(DType dtype, const Shape& shape, float scale, float middle);
  Tensor make_blocks(DType dtype, const Shape& shape, float scale);
  Tensor make_int8(const Shape& shape, int32_t levels, float scale);
  Tensor settle(const Tensor& host);
  Tensor take(DType dtype, const Shape& shape);
  std::byte* keep(const void* host, std::size_t bytes);

  Backend& backend_;
  std::list<Buffer> made_;  // of the host; given back once they have been put
  std::list<std::unique_ptr<Memory>> kept_;
  Uniform uniform_;
};

}  // namespace darkroom::bench
