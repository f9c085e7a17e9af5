// Weights in f32, from whatever they are stored as: what src/tensor/blocks.cc gives, bit for bit. (Products of a scale
// and codes have at most 24 bits, so it does not matter whether a compiler fuses the one addition after them.)
//
// To be defined before: WEIGHTS_BINDING, and WEIGHTS_ID, the first of two specialization constants.
#include "../../../tensor/code_values.h"
#include "types.glsl"
#include "run.glsl"

const uint kQ8_0 = 9, kQ4_0 = 10, kQ4_1 = 11, kQ5_0 = 12, kQ5_1 = 13, kQ2K = 14, kQ3K = 15, kQ4K = 16, kQ5K = 17,
           kQ6K = 18, kIQ4NL = 19, kIQ4XS = 20, kNF4 = 21, kFP4 = 22;

layout(constant_id = WEIGHTS_ID) const uint kWeightType = kF32;
// Rows are whole runs of 8 columns that begin at multiples of their size or of 16 bytes; of a block type: blocks begin at
// multiples of 4.
layout(constant_id = WEIGHTS_ID + 1) const bool kWeightWide = false;

// Not readonly, here and in activation_rows.glsl: Mesa then moves loads to where they are used, behind the products that
// are to hide them.
layout(set = 0, binding = WEIGHTS_BINDING) buffer WeightBytes { uint8_t weights8[]; };
layout(set = 0, binding = WEIGHTS_BINDING) buffer WeightHalves { uint16_t weights16[]; };
layout(set = 0, binding = WEIGHTS_BINDING) buffer WeightWords { uint weights32[]; };
layout(set = 0, binding = WEIGHTS_BINDING) buffer WeightPairs { uvec2 weights64[]; };
layout(set = 0, binding = WEIGHTS_BINDING) buffer WeightQuads { uvec4 weights128[]; };

// At an address in bytes from where the binding begins.
uint weight_byte(uint at) { return uint(weights8[at]); }
uint weight_half(uint at) { return uint(weights16[at / 2]); }
uint weight_word(uint at) {
  if (kWeightWide) return weights32[at / 4];
  return weight_half(at) | weight_half(at + 2) << 16;
}
uvec2 weight_words(uint at) { return uvec2(weight_word(at), weight_word(at + 4)); }

vec4 bytes(uint word) { return vec4(word & 255, word >> 8 & 255, word >> 16 & 255, word >> 24); }
vec4 signed_bytes(uint word) {
  const int i = int(word);
  return vec4(bitfieldExtract(i, 0, 8), bitfieldExtract(i, 8, 8), bitfieldExtract(i, 16, 8), i >> 24);
}

// Bit i of four to byte i.
uint spread(uint bits) { return (bits & 15) * 0x00204081u & 0x01010101u; }

// Eight nibbles as bytes.
uvec2 nibbles(uint at, bool high) { return weight_words(at) >> (high ? 4 : 0) & 0x0F0F0F0Fu; }

// Eight codes, a byte each, mean scale·(code − zero) − minimum.
struct Codes {
  uvec2 codes;
  float scale, zero, minimum;
};

Run values_of(Codes c) {
  return Run(c.scale * (bytes(c.codes.x) - c.zero) - c.minimum, c.scale * (bytes(c.codes.y) - c.zero) - c.minimum);
}

const float kIQ4Values[16] = float[](DARKROOM_IQ4_VALUES);
const float kNF4Values[16] = float[](DARKROOM_NF4_VALUES);
const float kFP4Values[16] = float[](DARKROOM_FP4_VALUES);

// By choices: drivers read a constant array at a varying place from slow memory, and lavapipe compiles it slowly.
vec4 chosen(const float table[16], uvec4 code) {
  vec4 left[16];
  for (uint i = 0; i < 16; ++i) left[i] = vec4(table[i]);
  for (uint bit = 0, count = 8; bit < 4; ++bit, count /= 2) {
    const bvec4 second = notEqual(code >> bit & 1, uvec4(0));
    for (uint i = 0; i < count; ++i) left[i] = mix(left[2 * i], left[2 * i + 1], second);
  }
  return left[0];
}

// Of four codes in the low halves of bytes.
vec4 table_values(uint word) {
  const uvec4 code = uvec4(word, word >> 8, word >> 16, word >> 24) & 15;
  if (kWeightType == kNF4) return chosen(kNF4Values, code);
  if (kWeightType == kFP4) return chosen(kFP4Values, code);
  return chosen(kIQ4Values, code);
}

// Blocks of 32: `b` is where the block begins, `i` the run's first element in it.
Run block_of_32(uint b, uint i) {
  const bool high = i >= 16;
  const uint j = i % 16;
  const float d = from_f16(weight_half(b));
  if (kWeightType == kQ8_0) {
    const uvec2 w = weight_words(b + 2 + i);
    return Run(d * signed_bytes(w.x), d * signed_bytes(w.y));
  }
  if (kWeightType == kIQ4NL) {
    const uvec2 w = nibbles(b + 2 + j, high);
    return Run(d * table_values(w.x), d * table_values(w.y));
  }
  if (kWeightType == kQ4_0) return values_of(Codes(nibbles(b + 2 + j, high), d, 8, 0));
  if (kWeightType == kQ4_1) return values_of(Codes(nibbles(b + 4 + j, high), d, 0, -from_f16(weight_half(b + 2))));
  const uint bits = weight_byte(b + (kWeightType == kQ5_0 ? 2 : 4) + i / 8);
  const uvec2 fifth = uvec2(spread(bits), spread(bits >> 4)) << 4;
  if (kWeightType == kQ5_0) return values_of(Codes(nibbles(b + 6 + j, high) | fifth, d, 16, 0));
  return values_of(Codes(nibbles(b + 8 + j, high) | fifth, d, 0, -from_f16(weight_half(b + 2))));
}

// Of Q4_K and Q5_K: the scale and the factor of the minimum of a group, six bits each.
uvec2 six_bits(uint at, uint group) {
  const uint j = group % 4, a = weight_byte(at + j), b = weight_byte(at + 4 + j);
  if (group < 4) return uvec2(a, b) & 63;
  const uint both = weight_byte(at + 8 + j);
  return uvec2((both & 15) | a >> 6 << 4, both >> 4 | b >> 6 << 4);
}

// Two bits a code: groups of 32 one above the other in a half of the block.
uvec2 two_bits(uint at, uint i) {
  return weight_words(at + i / 128 * 32 + i % 32) >> (i % 128 / 32 * 2) & 0x03030303u;
}

Run q2_k(uint b, uint i) {
  const uint both = weight_byte(b + i / 16);
  const float d = from_f16(weight_half(b + 80)), dmin = from_f16(weight_half(b + 82));
  return values_of(Codes(two_bits(b + 16, i), d * float(both & 15), 0, dmin * float(both >> 4)));
}

Run q3_k(uint b, uint i) {
  const uint s = i / 16, scales = b + 96;
  const uint bits = (weight_byte(scales + s % 8) >> (s / 8 * 4) & 15) |
                    (weight_byte(scales + 8 + s % 4) >> (s / 4 * 2) & 3) << 4;
  const uvec2 upper = (weight_words(b + i % 32) >> (i / 32) & 0x01010101u) << 2;
  const float d = from_f16(weight_half(b + 108));
  return values_of(Codes(two_bits(b + 32, i) | upper, d * (float(bits) - 32), 4, 0));
}

Run q45_k(uint b, uint i) {
  const uint group = i / 32, j = i % 32;
  const vec2 s = vec2(six_bits(b + 4, group));
  const float d = from_f16(weight_half(b)), dmin = from_f16(weight_half(b + 2));
  uvec2 codes = nibbles(b + (kWeightType == kQ4K ? 16 : 48) + group / 2 * 32 + j, group % 2 == 1);
  if (kWeightType == kQ5K) codes |= (weight_words(b + 16 + j) >> group & 0x01010101u) << 4;
  return values_of(Codes(codes, d * s.x, 0, dmin * s.y));
}

Run q6_k(uint b, uint i) {
  const uint part = i / 128, group = i % 128 / 32, j = i % 32;
  const uvec2 four = nibbles(b + part * 64 + group % 2 * 32 + j, group >= 2);
  const uvec2 two = (weight_words(b + 128 + part * 32 + j) >> (2 * group) & 0x03030303u) << 4;
  const int scale = bitfieldExtract(int(weight_byte(b + 192 + i / 16)), 0, 8);
  return values_of(Codes(four | two, from_f16(weight_half(b + 208)) * float(scale), 32, 0));
}

Run iq4_xs(uint b, uint i) {
  const uint group = i / 32;
  const uint upper = weight_half(b + 2) >> (2 * group) & 3, lower = weight_byte(b + 4 + group / 2) >> (group % 2 * 4) & 15;
  const float scale = from_f16(weight_half(b)) * (float(lower | upper << 4) - 32);
  const uvec2 w = nibbles(b + 8 + group * 16 + i % 16, i % 32 >= 16);
  return Run(scale * table_values(w.x), scale * table_values(w.y));
}

Run block_of_256(uint b, uint i) {
  if (kWeightType == kQ2K) return q2_k(b, i);
  if (kWeightType == kQ3K) return q3_k(b, i);
  if (kWeightType == kQ6K) return q6_k(b, i);
  if (kWeightType == kIQ4XS) return iq4_xs(b, i);
  return q45_k(b, i);
}

// NF4 and FP4: the first of two codes is in the high half.
Run block_of_64(uint b, uint i) {
  const float largest = uintBitsToFloat(weight_word(b));
  const uint w = weight_word(b + 4 + i / 2);
  const vec4 high = table_values(w >> 4 & 0x0F0F0F0Fu) * largest, low = table_values(w & 0x0F0F0F0Fu) * largest;
  return Run(vec4(high.x, low.x, high.y, low.y), vec4(high.z, low.z, high.w, low.w));
}

Run weight_block_run(uint row, uint column) {
  if (kWeightType == kQ2K || kWeightType == kQ3K || kWeightType == kQ4K || kWeightType == kQ5K ||
      kWeightType == kQ6K || kWeightType == kIQ4XS) {
    const uint size = kWeightType == kQ2K   ? 84
                      : kWeightType == kQ3K ? 110
                      : kWeightType == kQ4K ? 144
                      : kWeightType == kQ5K ? 176
                      : kWeightType == kQ6K ? 210
                                            : 136;
    return block_of_256(row + column / 256 * size, column % 256);
  }
  if (kWeightType == kNF4 || kWeightType == kFP4) return block_of_64(row + column / 64 * 36, column % 64);
  const uint size = kWeightType == kQ8_0   ? 34
                    : kWeightType == kQ4_1 ? 20
                    : kWeightType == kQ5_0 ? 22
                    : kWeightType == kQ5_1 ? 24
                                           : 18;
  return block_of_32(row + column / 32 * size, column % 32);
}

// One element of a type that is no block type, `index` elements from where the binding begins.
float weight_element(uint index) {
  if (kWeightType == kF32) return uintBitsToFloat(weights32[index]);
  if (kWeightType == kF16) return from_f16(uint(weights16[index]));
  if (kWeightType == kBF16) return from_bf16(uint(weights16[index]));
  const uint bits = weight_byte(index);
  if (kWeightType == kF8E4M3) return from_f8_e4m3(bits);
  if (kWeightType == kF8E5M2) return from_f8_e5m2(bits);
  return float(bitfieldExtract(int(bits), 0, 8));
}

vec4 bf16_values(uvec2 w) { return uintBitsToFloat(uvec4(w.x << 16, w.x & 0xFFFF0000u, w.y << 16, w.y & 0xFFFF0000u)); }
vec4 f16_values(uvec2 w) {
  return vec4(from_f16(w.x & 0xFFFFu), from_f16(w.x >> 16), from_f16(w.y & 0xFFFFu), from_f16(w.y >> 16));
}
float byte_value(uint word, uint i) {
  const uint bits = word >> 8 * i & 255;
  return kWeightType == kF8E4M3 ? from_f8_e4m3(bits) : from_f8_e5m2(bits);
}
vec4 byte_values(uint w) {
  if (kWeightType == kI8) return signed_bytes(w);
  return vec4(byte_value(w, 0), byte_value(w, 1), byte_value(w, 2), byte_value(w, 3));
}

bool weight_is_block() { return kWeightType >= kQ8_0; }

// Whether rows may be read in runs. Else element by element.
bool weight_has_runs() { return weight_is_block() || kWeightWide; }

// Columns [column, column + 8) of a row, `column` a multiple of 8. `row` is where it begins: in bytes of a block type,
// else in elements. Values of a block type are decoded at once, others by weight_values().
RawRun weight_raw(uint row, uint column) {
  if (weight_is_block()) {
    const Run run = weight_block_run(row, column);
    return RawRun(floatBitsToUint(run.first), floatBitsToUint(run.last));
  }
  const uint at = row + column;
  if (kWeightType == kF32) return RawRun(weights128[at / 4], weights128[at / 4 + 1]);
  if (kWeightType == kF16 || kWeightType == kBF16) return RawRun(weights128[at / 8], uvec4(0));
  return RawRun(uvec4(weights64[at / 8], 0, 0), uvec4(0));
}

Run weight_values(RawRun raw) {
  if (weight_is_block() || kWeightType == kF32) return Run(uintBitsToFloat(raw.first), uintBitsToFloat(raw.last));
  if (kWeightType == kF16) return Run(f16_values(raw.first.xy), f16_values(raw.first.zw));
  if (kWeightType == kBF16) return Run(bf16_values(raw.first.xy), bf16_values(raw.first.zw));
  return Run(byte_values(raw.first.x), byte_values(raw.first.y));
}

Run weight_run(uint row, uint column) { return weight_values(weight_raw(row, column)); }
