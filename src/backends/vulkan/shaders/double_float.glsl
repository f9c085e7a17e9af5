// f64 where a device has none: the unevaluated sum of two f32, 48 bits of mantissa (Dekker 1971; Hida, Li, Bailey
// 2001). Only additions and products that Vulkan rounds correctly: fma() need not be fused, and / and sqrt() are
// not exact. Products of magnitudes above 2^115 overflow. Relative errors: sums and products below 2^-46.
struct Double {
  float high, low;
};

// a + b exactly.
Double two_sum(float a, float b) {
  precise const float sum = a + b;
  precise const float part = sum - a;
  precise const float error = (a - (sum - part)) + (b - part);
  return Double(sum, error);
}

// The same for |a| >= |b|.
Double quick_two_sum(float a, float b) {
  precise const float sum = a + b;
  precise const float error = b - (sum - a);
  return Double(sum, error);
}

// a as two halves of 12 bits.
Double split(float a) {
  precise const float scaled = 4097.0 * a;
  precise const float high = scaled - (scaled - a);
  precise const float low = a - high;
  return Double(high, low);
}

// a·b exactly.
Double two_product(float a, float b) {
  precise const float product = a * b;
  const Double x = split(a), y = split(b);
  precise const float error =
      ((x.high * y.high - product) + x.high * y.low + x.low * y.high) + x.low * y.low;
  return Double(product, error);
}

Double plus(Double a, Double b) {
  const Double high = two_sum(a.high, b.high), low = two_sum(a.low, b.low);
  precise const float carried = high.low + low.high;
  const Double sum = quick_two_sum(high.high, carried);
  precise const float rest = sum.low + low.low;
  return quick_two_sum(sum.high, rest);
}

Double times(Double a, Double b) {
  const Double high = two_product(a.high, b.high);
  precise const float low = high.low + (a.high * b.low + a.low * b.high);
  return quick_two_sum(high.high, low);
}

Double negated(Double a) { return Double(-a.high, -a.low); }

// 1/√a for a > 0: one step of Newton's method from the device's, within 2^-42.
Double inverse_sqrt(Double a) {
  const Double guess = Double(inversesqrt(a.high), 0.0);
  const Double rest = plus(Double(1.0, 0.0), negated(times(a, times(guess, guess))));
  return plus(guess, times(Double(0.5 * guess.high, 0.0), rest));
}
