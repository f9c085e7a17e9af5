#include "tensor/blocks.h"

#include <algorithm>
#include <cmath>
#include <cstring>

#include "base/error.h"

namespace darkroom {
namespace {

float half_at(const uint8_t* p) { return to_float(Float16{static_cast<uint16_t>(p[0] | p[1] << 8)}); }

float float_at(const uint8_t* p) {
  float value;
  std::memcpy(&value, p, sizeof(value));
  return value;
}

float bit(const uint8_t* bits, int at, float worth) {
  return static_cast<float>(bits[at / 8] >> at % 8 & 1) * worth;
}

float low(uint8_t byte) { return static_cast<float>(byte & 15); }
float high(uint8_t byte) { return static_cast<float>(byte >> 4); }

// The blocks of 32: byte j of the codes holds element j in its low half, and j + 16 in its high one.
template <typename F>
void halves_of_32(const uint8_t* codes, float* out, F value) {
  for (int j = 0; j < 16; ++j) {
    out[j] = value(low(codes[j]), j);
    out[j + 16] = value(high(codes[j]), j + 16);
  }
}

void q8_0(const uint8_t* b, float* out) {
  const float d = half_at(b);
  for (int i = 0; i < 32; ++i) out[i] = d * static_cast<float>(static_cast<int8_t>(b[2 + i]));
}

void q4_0(const uint8_t* b, float* out) {
  const float d = half_at(b);
  halves_of_32(b + 2, out, [&](float q, int) { return d * (q - 8); });
}

void q4_1(const uint8_t* b, float* out) {
  const float d = half_at(b), m = half_at(b + 2);
  halves_of_32(b + 4, out, [&](float q, int) { return d * q + m; });
}

void q5_0(const uint8_t* b, float* out) {
  const float d = half_at(b);
  halves_of_32(b + 6, out, [&](float q, int i) { return d * (q + bit(b + 2, i, 16) - 16); });
}

void q5_1(const uint8_t* b, float* out) {
  const float d = half_at(b), m = half_at(b + 2);
  halves_of_32(b + 8, out, [&](float q, int i) { return d * (q + bit(b + 4, i, 16)) + m; });
}

void iq4_nl(const uint8_t* b, float* out) {
  const float d = half_at(b);
  halves_of_32(b + 2, out, [&](float q, int) { return d * kIQ4Values[static_cast<std::size_t>(q)]; });
}

// Of the K types with two bits a code: element i's are in byte i % 32 of its half of the block, the groups of
// 32 one above the other.
int two_bits(const uint8_t* codes, int i) { return codes[i / 128 * 32 + i % 32] >> i % 128 / 32 * 2 & 3; }

void q2_k(const uint8_t* b, float* out) {
  const float d = half_at(b + 80), dmin = half_at(b + 82);
  for (int i = 0; i < 256; ++i) {
    const uint8_t both = b[i / 16];
    out[i] = d * low(both) * static_cast<float>(two_bits(b + 16, i)) - dmin * high(both);
  }
}

void q3_k(const uint8_t* b, float* out) {
  const uint8_t *masks = b, *codes = b + 32, *scales = b + 96;
  const float d = half_at(b + 108);
  for (int i = 0; i < 256; ++i) {
    const int s = i / 16;  // four bits of a scale in the first eight bytes, two in the last four
    const int bits = (scales[s % 8] >> s / 8 * 4 & 15) | (scales[8 + s % 4] >> s / 4 * 2 & 3) << 4;
    const int code = two_bits(codes, i) - (masks[i % 32] >> i / 32 & 1 ? 0 : 4);
    out[i] = d * static_cast<float>(bits - 32) * static_cast<float>(code);
  }
}

// Of Q4_K and Q5_K: six bits each. The last four's upper two stand above those of the first four.
struct ScaleAndMinimum {
  float scale, minimum;
};
ScaleAndMinimum six_bits(const uint8_t* p, int group) {
  const int at = group % 4;
  if (group < 4) return {static_cast<float>(p[at] & 63), static_cast<float>(p[4 + at] & 63)};
  const int scale = (p[8 + at] & 15) | p[at] >> 6 << 4, minimum = p[8 + at] >> 4 | p[4 + at] >> 6 << 4;
  return {static_cast<float>(scale), static_cast<float>(minimum)};
}

// Groups of 32 in pairs: the low halves of 32 bytes, then the high ones.
template <typename F>
void q45_k(const uint8_t* b, const uint8_t* codes, float* out, F fifth_bit) {
  const float d = half_at(b), dmin = half_at(b + 2);
  for (int group = 0; group < 8; ++group) {
    const ScaleAndMinimum s = six_bits(b + 4, group);
    const float scale = d * s.scale, minimum = dmin * s.minimum;
    for (int j = 0; j < 32; ++j) {
      const uint8_t byte = codes[group / 2 * 32 + j];
      const float q = (group % 2 ? high(byte) : low(byte)) + fifth_bit(group, j);
      *out++ = scale * q - minimum;
    }
  }
}

void q4_k(const uint8_t* b, float* out) {
  q45_k(b, b + 16, out, [](int, int) { return 0.0f; });
}

void q5_k(const uint8_t* b, float* out) {
  q45_k(b, b + 48, out, [&](int group, int j) { return b[16 + j] >> group & 1 ? 16.0f : 0.0f; });
}

void q6_k(const uint8_t* b, float* out) {
  const float d = half_at(b + 208);
  for (int i = 0; i < 256; ++i) {
    const int half = i / 128, group = i % 128 / 32, j = i % 32;
    const uint8_t four = b[half * 64 + group % 2 * 32 + j], two = b[128 + half * 32 + j];
    const int code = (group < 2 ? four & 15 : four >> 4) | (two >> 2 * group & 3) << 4;
    const int scale = static_cast<int8_t>(b[192 + i / 16]);
    out[i] = d * static_cast<float>(scale) * static_cast<float>(code - 32);
  }
}

void iq4_xs(const uint8_t* b, float* out) {
  const float d = half_at(b);
  for (int group = 0; group < 8; ++group) {
    const int upper = (b[2] | b[3] << 8) >> 2 * group & 3, lower = b[4 + group / 2] >> group % 2 * 4 & 15;
    const float scale = d * static_cast<float>((lower | upper << 4) - 32);
    halves_of_32(b + 8 + group * 16, out + group * 32,
                 [&](float q, int) { return scale * kIQ4Values[static_cast<std::size_t>(q)]; });
  }
}

void four_bit_floats(const std::array<float, 16>& values, const uint8_t* b, float* out) {
  const float largest = float_at(b);
  for (int j = 0; j < 32; ++j) {
    out[2 * j] = values[b[4 + j] >> 4] * largest;
    out[2 * j + 1] = values[b[4 + j] & 15] * largest;
  }
}

void nf4(const uint8_t* b, float* out) { four_bit_floats(kNF4Values, b, out); }
void fp4(const uint8_t* b, float* out) { four_bit_floats(kFP4Values, b, out); }

using Dequantize = void (*)(const uint8_t* block, float* out);

Dequantize dequantize_of(DType dtype) {
  switch (dtype) {
    case DType::kQ8_0:
      return q8_0;
    case DType::kQ4_0:
      return q4_0;
    case DType::kQ4_1:
      return q4_1;
    case DType::kQ5_0:
      return q5_0;
    case DType::kQ5_1:
      return q5_1;
    case DType::kQ2K:
      return q2_k;
    case DType::kQ3K:
      return q3_k;
    case DType::kQ4K:
      return q4_k;
    case DType::kQ5K:
      return q5_k;
    case DType::kQ6K:
      return q6_k;
    case DType::kIQ4NL:
      return iq4_nl;
    case DType::kIQ4XS:
      return iq4_xs;
    case DType::kNF4:
      return nf4;
    case DType::kFP4:
      return fp4;
    default:
      fail(ErrorCode::kFailure, "expected a block type, found {}", dtype_name(dtype));
  }
}

// What makes values of random codes lie on both sides of 0: the factor of the minima for a scale of 1.
float middle(DType dtype) {
  switch (dtype) {
    case DType::kQ4_1:
      return -7.5f;
    case DType::kQ5_1:
      return -15.5f;
    case DType::kQ2K:
      return 1.5f;
    case DType::kQ4K:
      return 7.5f;
    default:
      return 15.5f;  // Q5_K
  }
}

void set_scales(DType dtype, std::byte* block, float scale) {
  const BlockScales at = block_scales(dtype);
  if (dtype == DType::kNF4 || dtype == DType::kFP4) {
    std::memcpy(block + at.scale, &scale, sizeof(scale));
    return;
  }
  const Float16 half = to_float16(scale), minimum = to_float16(scale * middle(dtype));
  std::memcpy(block + at.scale, &half, sizeof(half));
  if (at.minimum >= 0) std::memcpy(block + at.minimum, &minimum, sizeof(minimum));
}

}  // namespace

void scale_block(DType dtype, std::byte* block, float largest) {
  const int64_t elements = block_size(dtype).elements;
  float values[256], magnitude = 0;
  set_scales(dtype, block, 1);
  dequantize_blocks(dtype, block, elements, values);
  for (int64_t i = 0; i < elements; ++i) magnitude = std::max(magnitude, std::fabs(values[i]));
  set_scales(dtype, block, magnitude > 0 ? largest / magnitude : 0);
}

void dequantize_blocks(DType dtype, const std::byte* blocks, int64_t elements, float* out) {
  const Dequantize one = dequantize_of(dtype);
  const BlockSize size = block_size(dtype);
  require(elements % size.elements == 0, ErrorCode::kFailure, "{} elements of {}, whose blocks have {}",
          elements, dtype_name(dtype), size.elements);
  const uint8_t* block = reinterpret_cast<const uint8_t*>(blocks);
  for (int64_t i = 0; i < elements; i += size.elements, block += size.bytes) one(block, out + i);
}

}  // namespace darkroom
