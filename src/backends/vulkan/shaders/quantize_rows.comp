#version 450
// quantize_rows: a workgroup for each run of a row. Divisions by whole numbers, as no driver has to round `/` correctly.
#extension GL_GOOGLE_include_directive : require
#include "types.glsl"

layout(local_size_x_id = 0) in;
layout(constant_id = 0) const uint kThreads = 128;
layout(constant_id = 1) const bool kXBF16 = false;

layout(push_constant) uniform Arguments {
  uint runs, groups;  // of a row; of all rows here
  uint columns, group;
  uint x_at, x_stride;
  uint smooth_at, smoothed;
  uint out_at, scales_at;
  uint first_row;  // in the tensor
  uint levels;     // 127 or 63
} args;

layout(binding = 0) readonly buffer X32 { float x32[]; };
layout(binding = 0) readonly buffer X16 { uint16_t x16[]; };
layout(binding = 1) readonly buffer Smooth { float smooth_factors[]; };
layout(binding = 2) writeonly buffer Out { uint8_t out8[]; };
layout(binding = 3) writeonly buffer Scales { float scales[]; };
layout(binding = 4) buffer Alarm { uint first_bad_row; };

shared uint largest;

const uint kInfinity = 0x7F800000u, kMantissa = 0x007FFFFFu, kHidden = 0x00800000u;

uint magnitude(float x) { return floatBitsToUint(x) & 0x7FFFFFFFu; }
// The float whose 24 bits, the first of them set, are `digits`, 2^24 too, and whose first bit is worth 2^(exponent − 127).
float float_of(uint digits, uint exponent) { return uintBitsToFloat((exponent << 23) + (digits - kHidden)); }

// x/levels to nearest, of a normal x whose quotient is normal. There are no ties: levels are odd, of 7 bits or of 6.
float divided_by_levels(uint x) {
  const uint digits = (x & kMantissa) | kHidden, exponent = x >> 23, bits = args.levels > 63 ? 7 : 6;
  const uint shift = (digits << bits) / args.levels < 2 * kHidden ? bits : bits - 1;
  const uint dividend = digits << shift, quotient = dividend / args.levels;
  return float_of(quotient + (2 * (dividend - args.levels * quotient) > args.levels ? 1 : 0), exponent - shift);
}

// 1/x to nearest, of a normal x whose inverse is normal: 2^47 over its digits, eight bits at a time. No inverse is a tie.
float inverse_of(float x) {
  const uint bits = floatBitsToUint(x), digits = (bits & kMantissa) | kHidden;
  uint remainder = kHidden, quotient = 0;
  for (uint i = 0; i < 3; ++i) {
    remainder <<= 8;
    const uint next = remainder / digits;
    remainder -= next * digits;
    quotient = (quotient << 8) + next;
  }
  return float_of(quotient + (2 * remainder > digits ? 1 : 0), 253 - (bits >> 23));
}

float value_at(uint row, uint column) {
  const uint at = args.x_at + row * args.x_stride + column;
  precise float x = kXBF16 ? from_bf16(uint(x16[at])) : x32[at];
  if (args.smoothed != 0) x = x * smooth_factors[args.smooth_at + column];
  return x;
}

void main() {
  const uint id = gl_WorkGroupID.y * gl_NumWorkGroups.x + gl_WorkGroupID.x, t = gl_LocalInvocationIndex;
  if (id >= args.groups) return;
  const uint row = id / args.runs, run = id % args.runs;
  const uint first = run * args.group, end = min(first + args.group, args.columns);
  if (t == 0) largest = 0;
  barrier();
  uint mine = 0;
  for (uint c = first + t; c < end; c += kThreads) mine = max(mine, magnitude(value_at(row, c)));
  atomicMax(largest, mine);
  barrier();
  if (largest >= kInfinity) {
    if (t == 0) atomicMin(first_bad_row, args.first_row + row);
    return;
  }
  const bool tiny = largest < 0x0D800000u;  // 2^-100
  const float scale = tiny ? 1.0 : divided_by_levels(largest), inverse = tiny ? 0.0 : inverse_of(scale);
  if (t == 0) scales[args.scales_at + id] = scale;
  for (uint c = first + t; c < end; c += kThreads) {
    precise const float quotient = value_at(row, c) * inverse;
    out8[args.out_at + row * args.columns + c] = uint8_t(uint(int(roundEven(quotient))) & 255u);
  }
}
