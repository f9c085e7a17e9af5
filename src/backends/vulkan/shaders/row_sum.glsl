// Sums over a workgroup of 256 threads, always in the same order. Every thread must come by.
shared float sums[256];

float sum_of_all(float value) {
  const uint t = gl_LocalInvocationIndex;
  sums[t] = value;
  barrier();
  for (uint step = 128u; step > 0u; step /= 2u) {
    if (t < step) sums[t] += sums[t + step];
    barrier();
  }
  const float total = sums[0];
  barrier();  // before the next sum begins
  return total;
}
