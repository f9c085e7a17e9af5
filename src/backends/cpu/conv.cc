// conv2d as a product: the rows of A are the patches under the kernel, gathered while they are packed; never
// stored.
#include <algorithm>
#include <cstring>

#include "backends/cpu/engine.h"

namespace darkroom::cpu {
namespace {

// Row p of A is the patch around output pixel p, in the order [kh][kw][Ci]; outside the image it is zero;
// upsampling and downsampling happen in the index.
class Patches final : public RowSource {
 public:
  Patches(const Conv2dArgs& args, const KernelTable& kernels)
      : x_(args.x),
        kernels_(kernels),
        first_row_(args.first_row),
        height_(args.x.shape[0] * args.upsample),
        width_(args.x.shape[1] * args.upsample),
        out_width_(args.out.shape[1]),
        channels_(args.x.shape[2]),
        kh_(args.weight.shape[2]),
        kw_(args.weight.shape[3]),
        upsample_(args.upsample),
        downsample_(args.downsample) {}

  void pack(int64_t row, int64_t first, int64_t depth, Form form, void* out) const override {
    const int64_t y = (first_row_ + row / out_width_ + 1) * downsample_ - 1;
    const int64_t x = (row % out_width_ + 1) * downsample_ - 1;
    const int64_t bytes = form == Form::kF32 ? 4 : 2;
    std::byte* to = static_cast<std::byte*>(out);
    for (int64_t k = first, count = 0; k < first + depth; k += count, to += count * bytes) {
      const int64_t tap = k / channels_, channel = k % channels_;
      count = std::min(channels_ - channel, first + depth - k);
      const int64_t py = y + tap / kw_ - (kh_ - 1) / 2, px = x + tap % kw_ - (kw_ - 1) / 2;
      if (py < 0 || py >= height_ || px < 0 || px >= width_) {
        std::memset(to, 0, static_cast<std::size_t>(count * bytes));
        continue;
      }
      const void* in = element(x_, py / upsample_ * (width_ / upsample_) + px / upsample_, channel);
      if (form == Form::kF32) {
        kernels_.convert(x_.dtype, in, DType::kF32, to, count);
      } else {
        std::memcpy(to, in, static_cast<std::size_t>(count * bytes));
      }
    }
    if (form == Form::kPairs && depth % 2 != 0) std::memset(to, 0, 2);
  }

 private:
  const Tensor& x_;
  const KernelTable& kernels_;
  int64_t first_row_, height_, width_, out_width_, channels_, kh_, kw_, upsample_, downsample_;
};

// One output channel: [Ci, taps] -> [taps, Ci].
template <typename Bits>
void reorder(const void* in_any, void* out_any, int64_t ci, int64_t taps) {
  const Bits* in = static_cast<const Bits*>(in_any);
  Bits* out = static_cast<Bits*>(out_any);
  for (int64_t tap = 0; tap < taps; ++tap) {
    for (int64_t c = 0; c < ci; ++c) *out++ = in[c * taps + tap];
  }
}

// The weights in the order of the patches: [Co, kh·kw·Ci], same dtype. One convolution's worth of memory.
Tensor ordered_weight(Engine& engine, const Tensor& weight) {
  const int64_t co = weight.shape[0], ci = weight.shape[1], taps = weight.shape[2] * weight.shape[3];
  if (taps == 1) return Tensor(weight.data, weight.dtype, {co, ci});
  const Tensor ordered(engine.take_shared(weight.bytes()), weight.dtype, {co, taps * ci});
  const Tensor rows(weight.data, weight.dtype, {co, taps * ci});
  engine.run(co, [&](int64_t o, int) {
    const void* in = element(rows, o, 0);
    void* out = mutable_element(ordered, o, 0);
    switch (dtype_bytes(weight.dtype)) {
      case 4:
        return reorder<uint32_t>(in, out, ci, taps);
      case 2:
        return reorder<uint16_t>(in, out, ci, taps);
      default:
        return reorder<uint8_t>(in, out, ci, taps);
    }
  });
  return ordered;
}

}  // namespace

void conv2d(Engine& engine, const Conv2dArgs& args) {
  const int64_t co = args.weight.shape[0];
  const int64_t pixels = args.out.rows();
  if (pixels == 0 || co == 0) return;
  if (takes_winograd(args)) return winograd_conv2d(engine, args);
  engine.reset_shared(Engine::shared_bytes(args.weight.shape.numel()) + Engine::shared_bytes(co));
  const Patches patches(args, engine.kernels());
  Gemm job;
  job.a = &patches;
  job.m = pixels;
  job.n = co;
  job.weight = ordered_weight(engine, args.weight);
  job.k = job.weight.cols();
  job.epilogue.bias = engine.as_f32(args.bias);
  job.epilogue.dtype = args.out.dtype;
  if (args.residual.present()) job.epilogue.residual = args.residual.data;
  job.epilogue.residual_stride = co;
  job.epilogue.out = args.out.data;
  job.epilogue.out_stride = co;
  gemm(engine, engine.gemm_kernels(args.x.dtype, args.weight.dtype), job);
}

}  // namespace darkroom::cpu
