// enum Activation, none of whose functions overflows to NaN.
const uint kNone = 0, kGeluTanh = 1, kQuickGelu = 2, kSilu = 3, kRelu = 4;

// x·sigmoid(z). exp() of at most 88 is finite, and 1/(1 + e^88) is as good as 0.
float times_sigmoid(float x, float z) { return x / (1.0 + exp(min(-z, 88.0))); }

float activated(float x, uint activation) {
  switch (activation) {
    case kGeluTanh:  // 1 + tanh(u) = 2·sigmoid(2u)
      return times_sigmoid(x, 1.5957691216057308 * (x + 0.044715 * x * x * x));
    case kQuickGelu:
      return times_sigmoid(x, 1.702 * x);
    case kSilu:
      return times_sigmoid(x, x);
    case kRelu:
      return x < 0.0 ? 0.0 : x;  // NaN stays
  }
  return x;
}
