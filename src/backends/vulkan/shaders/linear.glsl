// What the kernels of linear share: their arguments, and all that follows the product, as LinearArgs (src/ops/backend.h)
// says it. `precise`, because 8-bit products have the same bits on all devices: every operation is rounded on its own.
#extension GL_EXT_control_flow_attributes : require
#include "activation.glsl"

// Strides and places in elements, of a weight of a block type in bytes. A place is where the tensor begins in what is
// bound.
layout(push_constant) uniform Arguments {
  uint m, n, k;
  uint x_at, x_stride;
  uint weight_at, weight_stride;
  uint x_scales_at, group, x_scales_stride;
  uint scales_at, scale_count;
  uint bias_at, bias_type;
  uint gate_at;
  uint residual_at, residual_stride;
  uint out_at, out_stride;
  uint hidden_at, hidden_stride;
  uint up_at, up_stride, up_type, rank;
  uint activation;
  uint flags;
} args;
const uint kBiased = 1, kGated = 2, kResidual = 4, kInPlace = 8, kOutBF16 = 16;
const uint kXBF16 = 32;
const uint kXWide = 64;  // rows of x are whole runs of 8 columns that begin at multiples of 16 bytes

layout(set = 0, binding = 2) readonly buffer Scales { float scales[]; };
layout(set = 0, binding = 3) readonly buffer Bias8 { uint8_t bias8[]; };
layout(set = 0, binding = 3) readonly buffer Bias16 { uint16_t bias16[]; };
layout(set = 0, binding = 3) readonly buffer Bias32 { float bias32[]; };
layout(set = 0, binding = 4) readonly buffer Gate { float gate[]; };
layout(set = 0, binding = 5) readonly buffer Residual16 { uint16_t residual16[]; };
layout(set = 0, binding = 5) readonly buffer Residual32 { float residual32[]; };
layout(set = 0, binding = 6) buffer Out16 { uint16_t out16[]; };
layout(set = 0, binding = 6) buffer Out32 { float out32[]; };
layout(set = 0, binding = 7) readonly buffer Hidden { float hidden[]; };
layout(set = 0, binding = 8) readonly buffer Up8 { uint8_t up8[]; };
layout(set = 0, binding = 8) readonly buffer Up16 { uint16_t up16[]; };
layout(set = 0, binding = 8) readonly buffer Up32 { float up32[]; };

float from_16(uint bits, uint type) { return type == kBF16 ? from_bf16(bits) : from_f16(bits); }
float from_8(uint bits, uint type) { return type == kF8E4M3 ? from_f8_e4m3(bits) : from_f8_e5m2(bits); }

float bias_at(uint n) {
  const uint at = args.bias_at + n, type = args.bias_type;
  if (type == kF32) return bias32[at];
  if (type == kF16 || type == kBF16) return from_16(uint(bias16[at]), type);
  return from_8(uint(bias8[at]), type);
}

float lora_up_at(uint n, uint r) {
  const uint at = args.up_at + n * args.up_stride + r, type = args.up_type;
  if (type == kF32) return up32[at];
  if (type == kF16 || type == kBF16) return from_16(uint(up16[at]), type);
  return from_8(uint(up8[at]), type);
}

float lora_hidden_at(uint m, uint r) { return hidden[args.hidden_at + m * args.hidden_stride + r]; }

float scale_of(uint n) {
  if (args.scale_count == 0) return 1;
  return scales[args.scales_at + (args.scale_count == 1 ? 0 : n)];
}

float residual_value(uint m, uint n) {
  const bool bf16 = (args.flags & kOutBF16) != 0;
  if ((args.flags & kInPlace) != 0) {
    const uint at = args.out_at + m * args.out_stride + n;
    return bf16 ? from_bf16(uint(out16[at])) : out32[at];
  }
  const uint at = args.residual_at + m * args.residual_stride + n;
  return bf16 ? from_bf16(uint(residual16[at])) : residual32[at];
}

// Everything behind the sum. A LoRA's products are in it already, and so are the scales then.
void finish(uint m, uint n, float sum) {
  precise float y = sum;
  if (args.rank == 0 && args.scale_count > 0) y = y * scale_of(n);
  if ((args.flags & kBiased) != 0) y = y + bias_at(n);
  y = activated(y, args.activation);
  if ((args.flags & kGated) != 0) y = y * gate[args.gate_at + n];
  if ((args.flags & kResidual) != 0) y = y + residual_value(m, n);
  const uint at = args.out_at + m * args.out_stride + n;
  if ((args.flags & kOutBF16) != 0) {
    out16[at] = uint16_t(to_bf16(y));
  } else {
    out32[at] = y;
  }
}
