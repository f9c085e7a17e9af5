// Rows of activations, f32 or bf16, by elements or in runs of 8 columns as weights.glsl has them.
//
// To be defined before: X_BF16, whether x is bf16. The binding is 0.
layout(set = 0, binding = 0) buffer X16 { uint16_t x16[]; };
layout(set = 0, binding = 0) buffer X32 { float x32[]; };
layout(set = 0, binding = 0) buffer XQuads { uvec4 x128[]; };

float x_element(uint m, uint column) {
  const uint at = args.x_at + m * args.x_stride + column;
  return X_BF16 ? from_bf16(uint(x16[at])) : x32[at];
}

// Columns [column, column + 8) of row m, `column` a multiple of 8.
RawRun x_raw(uint m, uint column) {
  const uint at = args.x_at + m * args.x_stride + column;
  if (X_BF16) return RawRun(x128[at / 8], uvec4(0));
  return RawRun(x128[at / 4], x128[at / 4 + 1]);
}

Run x_values(RawRun raw) {
  if (X_BF16) return Run(bf16_values(raw.first.xy), bf16_values(raw.first.zw));
  return Run(uintBitsToFloat(raw.first), uintBitsToFloat(raw.last));
}

Run x_run(uint m, uint column) { return x_values(x_raw(m, column)); }
