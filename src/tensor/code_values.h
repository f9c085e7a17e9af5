// The values of 4-bit codes, for C++ and GLSL alike: whole numbers of IQ4_NL and IQ4_XS as in GGUF; NF4 and FP4 as in
// bitsandbytes.
#ifndef DARKROOM_TENSOR_CODE_VALUES_H
#define DARKROOM_TENSOR_CODE_VALUES_H

// clang-format off
#define DARKROOM_IQ4_VALUES \
  -127, -104, -83, -65, -49, -35, -22, -10, 1, 13, 25, 38, 53, 69, 89, 113
#define DARKROOM_NF4_VALUES                                                             \
  -1.0f, -0.6961928009986877f, -0.5250730514526367f, -0.39491748809814453f,             \
  -0.28444138169288635f, -0.18477343022823334f, -0.09105003625154495f, 0.0f,            \
  0.07958029955625534f, 0.16093020141124725f, 0.24611230194568634f, 0.33791524171829224f, \
  0.44070982933044434f, 0.5626170039176941f, 0.7229568362236023f, 1.0f
#define DARKROOM_FP4_VALUES                                                               \
  0.0f, 0.0625f / 12, 8.0f / 12, 1.0f, 4.0f / 12, 0.5f, 2.0f / 12, 0.25f,                 \
  -0.0f, -0.0625f / 12, -8.0f / 12, -1.0f, -4.0f / 12, -0.5f, -2.0f / 12, -0.25f
// clang-format on

#endif
