// Convolution of a channels-last picture as a product of matrices whose patches are never stored: pixels × (taps of
// the kernel × channels in) times the weights as they lie, [Co, Ci, kh, kw].
//
// 128 threads as kCoLanes × kPixelLanes, each with eight pixels and eight channels out, both as two quads that lie
// half a tile apart. Sums go over 32 channels in at a time, in these over the taps, in these over the channels: so
// neighbours read neighbours of the picture, and the weights, strided by kh·kw, come from the cache in which the
// last tap left them. The order is the same for each pixel, so no byte depends on which rows are computed. Channels
// in go in quads, zeros behind the last.
#version 450
#extension GL_GOOGLE_include_directive : require
#extension GL_EXT_control_flow_attributes : require
#include "operands.glsl"

layout(local_size_x = 128) in;
layout(constant_id = 0) const uint kKnownType = 0;   // of the pictures: f32, bf16 or kEither
#define kType (kKnownType == kEither ? type : kKnownType)
layout(constant_id = 1) const uint kCoLanes = 8;     // 8: tiles of 128 pixels × 64 channels; 2: of 512 × 16
layout(constant_id = 2) const uint kDepthQuads = 4;  // quads of products between two barriers

const uint kThreads = 128, kPixelLanes = kThreads / kCoLanes;
const uint kPixels = 8 * kPixelLanes, kCo = 8 * kCoLanes;
const uint kX = kPixels / 4 + 1, kW = kCo / 4 + 1;  // rows of `stage`, one longer against bank conflicts
const uint kPixelStep = kThreads / kDepthQuads, kPixelsEach = kPixels / kPixelStep;
const uint kChunkQuads = 8;
#define ROLLED [[dont_unroll]]
#define UNROLLED [[unroll]]

layout(push_constant) uniform Push {
  uint x_first, out_first, residual_first, weight_first, bias_first;
  uint width, virtual_width, virtual_height;  // of x, and as it is after upsampling
  uint first_source_row;                      // of x, in what is bound
  uint out_width, pixels, first_row;          // of out; pixels and row of this dispatch
  uint ci, co, kernel_height, kernel_width;
  uint upsample_log2, downsample;
  uint type, weight_type, bias_type, flags;
};
const uint kBias = 1, kResidual = 2, kAligned = 4;

QUADS(0, x)
READABLE(1, weight)
READABLE(2, bias)
WRITABLE(3, residual)
WRITABLE(4, out)

shared vec4 stage[4 * kDepthQuads * (kX + kW)];

uint t, co_lane, pixel_lane;
int rows[kPixelsEach], columns[kPixelsEach];  // the first tap of each pixel that this thread loads, in virtual x
vec4 sums[16];                                // of pixel p and quad h of channels in sums[2·p + h]

// Where the first tap of the pixels of this thread lies.
void find_pixels() {
  UNROLLED for (uint n = 0u; n < kPixelsEach; ++n) {
    const uint pixel = min(gl_WorkGroupID.y * kPixels + t / kDepthQuads + n * kPixelStep, pixels - 1u);
    rows[n] = int((first_row + pixel / out_width) * downsample + downsample - 1u) - int(kernel_height / 2u);
    columns[n] = int(pixel % out_width * downsample + downsample - 1u) - int(kernel_width / 2u);
  }
}

// Quad t % kDepthQuads of this step, which is channels from `channel` on under `tap`, `here` of them. All loads come
// before the first store.
void stage_x(uint tap, uint channel, uint here) {
  const int down = int(tap / kernel_width), right = int(tap % kernel_width);
  vec4 values[kPixelsEach];
  UNROLLED for (uint n = 0u; n < kPixelsEach; ++n) {
    const uint row = uint(rows[n] + down), column = uint(columns[n] + right);  // above the picture: very large
    const bool inside = row < virtual_height && column < virtual_width && here > 0u;
    const uint source = ((row >> upsample_log2) - first_source_row) * width + (column >> upsample_log2);
    const uint at = x_first + source * ci + channel;
    if ((flags & kAligned) != 0u) {
      values[n] = x_quad(inside ? at : x_first);
      values[n] = inside ? values[n] : vec4(0.0);
    } else {
      values[n] = x_few(at, inside ? here : 0u);
    }
  }
  UNROLLED for (uint n = 0u; n < kPixelsEach; ++n) {
    const uint p = t / kDepthQuads + n * kPixelStep;
    UNROLLED for (uint c = 0u; c < 4u; ++c) stage[(t % kDepthQuads * 4u + c) * kX + p / 4u][p % 4u] = values[n][c];
  }
}

// Weights of four channels in under one tap; those from `count` on are read from the first.
vec4 weight_quad(uint at, uint step, uint count) {
  const uvec4 i = at + step * min(uvec4(0u, 1u, 2u, 3u), uvec4(count - 1u));
  if (weight_type == kF32) return vec4(weight_32[i.x], weight_32[i.y], weight_32[i.z], weight_32[i.w]);
  if (weight_type == kF16 || weight_type == kBF16) {
    const uvec4 bits = uvec4(weight_16[i.x], weight_16[i.y], weight_16[i.z], weight_16[i.w]);
    if (weight_type == kBF16) return uintBitsToFloat(bits << 16);
    return vec4(from_f16(bits.x), from_f16(bits.y), from_f16(bits.z), from_f16(bits.w));
  }
  const uvec4 bits = uvec4(weight_8[i.x], weight_8[i.y], weight_8[i.z], weight_8[i.w]);
  if (weight_type == kF8E5M2) {
    return vec4(from_f8_e5m2(bits.x), from_f8_e5m2(bits.y), from_f8_e5m2(bits.z), from_f8_e5m2(bits.w));
  }
  return vec4(from_f8_e4m3(bits.x), from_f8_e4m3(bits.y), from_f8_e4m3(bits.z), from_f8_e4m3(bits.w));
}

void stage_weights(uint tap, uint channel, uint here) {
  const uint taps = kernel_height * kernel_width, first = gl_WorkGroupID.x * kCo;
  for (uint o = t / kDepthQuads; o < kCo; o += kPixelStep) {
    const bool inside = first + o < co && here > 0u;
    const uint at = inside ? ((first + o) * ci + channel) * taps + tap : 0u;
    vec4 values = weight_quad(weight_first + at, taps, inside ? here : 1u);
    UNROLLED for (uint c = 0u; c < 4u; ++c) {
      stage[4u * kDepthQuads * kX + (t % kDepthQuads * 4u + c) * kW + o / 4u][o % 4u] =
          inside && c < here ? values[c] : 0.0;
    }
  }
}

void multiply() {
  ROLLED for (uint d = 0u; d < 4u * kDepthQuads; ++d) {
    const uint a = d * kX + pixel_lane, b = 4u * kDepthQuads * kX + d * kW + co_lane;
    const vec4 x[2] = vec4[2](stage[a], stage[a + kPixelLanes]);
    const vec4 w[2] = vec4[2](stage[b], stage[b + kCoLanes]);
    UNROLLED for (uint p = 0u; p < 8u; ++p) {
      UNROLLED for (uint h = 0u; h < 2u; ++h) sums[2u * p + h] = fma(vec4(x[p / 4u][p % 4u]), w[h], sums[2u * p + h]);
    }
  }
}

// All taps of 4·quads channels from `channel` on.
void add_chunk(uint channel, uint quads) {
  const uint all = kernel_height * kernel_width * quads;
  for (uint first = 0u; first < all; first += kDepthQuads) {
    const uint i = first + t % kDepthQuads, tap = i / quads, c = channel + i % quads * 4u;
    const uint here = i < all ? min(ci - c, 4u) : 0u;
    stage_x(tap, c, here);
    stage_weights(tap, c, here);
    barrier();
    multiply();
    barrier();
  }
}

void finish(uint pixel, uint channel, float value) {
  if (pixel >= pixels || channel >= co) return;
  const uint at = pixel * co + channel;
  if ((flags & kBias) != 0u) value += bias_at(bias_type, bias_first + channel);
  if ((flags & kResidual) != 0u) value += residual_at(kType, residual_first + at);
  out_set(kType, out_first + at, value);
}

// Two pixels of each thread at a time go through `stage`, so that neighbours store neighbours.
void store() {
  UNROLLED for (uint pair = 0u; pair < 4u; ++pair) {
    UNROLLED for (uint i = 0u; i < 4u; ++i) stage[4u * t + i] = sums[4u * pair + i];
    barrier();
    ROLLED for (uint i = t; i < 16u * kThreads; i += kThreads) {
      const uint channel = i % kCo, lane = i / kCo / 2u, p = 2u * pair + i / kCo % 2u;
      const uint from = lane * kCoLanes + channel / 4u % kCoLanes;
      const float value = stage[4u * from + 2u * (p % 2u) + channel / (4u * kCoLanes)][channel % 4u];
      const uint pixel = 4u * (lane + p / 4u * kPixelLanes) + p % 4u;
      finish(gl_WorkGroupID.y * kPixels + pixel, gl_WorkGroupID.x * kCo + channel, value);
    }
    barrier();
  }
}

void main() {
  t = gl_LocalInvocationIndex;
  co_lane = t % kCoLanes;
  pixel_lane = t / kCoLanes;
  find_pixels();
  UNROLLED for (uint i = 0u; i < 16u; ++i) sums[i] = vec4(0.0);
  for (uint channel = 0u; channel < ci; channel += 4u * kChunkQuads) {
    add_chunk(channel, min(kChunkQuads, (ci - channel + 3u) / 4u));
  }
  store();
}
