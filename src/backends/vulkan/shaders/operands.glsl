// Bindings as elements of any floating type. Storage has no arithmetic here: all becomes f32.
#include "types.glsl"

const uint kEither = 255;  // f32 or bf16, as a push constant says: for drivers that compile slowly

// One binding seen as elements of each size, and NAME_at(type, i): element i as f32.
#define READABLE(number, name)                                                  \
  layout(binding = number) readonly buffer name##Of32 { float name##_32[]; };   \
  layout(binding = number) readonly buffer name##Of16 { uint16_t name##_16[]; }; \
  layout(binding = number) readonly buffer name##Of8 { uint8_t name##_8[]; };   \
  float name##_at(uint type, uint i) {                                          \
    if (type == kF32) return name##_32[i];                                      \
    if (type == kBF16) return from_bf16(uint(name##_16[i]));                    \
    if (type == kF16) return from_f16(uint(name##_16[i]));                      \
    const uint bits = uint(name##_8[i]);                                        \
    return type == kF8E5M2 ? from_f8_e5m2(bits) : from_f8_e4m3(bits);           \
  }

// Activations, f32 or bf16: NAME_at() as above, and NAME_set(type, i, value).
#define WRITABLE(number, name)                                                      \
  layout(binding = number) buffer name##Of32 { float name##_32[]; };                \
  layout(binding = number) buffer name##Of16 { uint16_t name##_16[]; };             \
  float name##_at(uint type, uint i) {                                              \
    return type == kF32 ? name##_32[i] : from_bf16(uint(name##_16[i]));             \
  }                                                                                 \
  void name##_set(uint type, uint i, float value) {                                 \
    if (type == kF32) {                                                             \
      name##_32[i] = value;                                                         \
    } else {                                                                        \
      name##_16[i] = uint16_t(to_bf16(value));                                      \
    }                                                                               \
  }

// Activations of kType, four (a quad) at a time. NAME_quad(i): elements i to i + 3, i a multiple of 4. NAME_few(i,
// count): any i, elements from `count` on as zeros.
#define QUADS(number, name)                                                                                  \
  layout(binding = number) readonly buffer name##Of32 { float name##_32[]; };                                \
  layout(binding = number) readonly buffer name##Of16 { uint16_t name##_16[]; };                             \
  layout(binding = number) readonly buffer name##Quad32 { vec4 name##_quad32[]; };                           \
  layout(binding = number) readonly buffer name##Quad16 { uvec2 name##_quad16[]; };                          \
  vec4 name##_quad(uint i) {                                                                                 \
    if (kType == kF32) return name##_quad32[i / 4u];                                                         \
    const uvec2 bits = name##_quad16[i / 4u];                                                                \
    return uintBitsToFloat(uvec4(bits << 16, bits & 0xFFFF0000u).xzyw);                                      \
  }                                                                                                          \
  float name##_at(uint i) { return kType == kF32 ? name##_32[i] : from_bf16(uint(name##_16[i])); }           \
  vec4 name##_few(uint i, uint count) {                                                                      \
    vec4 quad = vec4(0.0);                                                                                   \
    if (count > 0u) quad.x = name##_at(i);                                                                   \
    if (count > 1u) quad.y = name##_at(i + 1u);                                                              \
    if (count > 2u) quad.z = name##_at(i + 2u);                                                              \
    if (count > 3u) quad.w = name##_at(i + 3u);                                                              \
    return quad;                                                                                             \
  }
