// What a device multiplies and adds at best: 16 chains in registers, independent of each other, as four vectors. The
// includer says what a Vector is and a step of one; the result is written so that nothing can be left out.
layout(local_size_x = 256) in;
layout(push_constant) uniform Push { uint rounds; };  // of kSteps steps
layout(binding = 0) writeonly buffer Results { Number results[]; };

const uint kSteps = 8;

void main() {
  Vector a = Vector(gl_LocalInvocationID.x) + Vector(0, 1, 2, 3), b = a + Vector(4), c = a + Vector(8),
         d = a + Vector(12);
  for (uint round = 0u; round < rounds; ++round) {
    [[unroll]] for (uint s = 0u; s < kSteps; ++s) {
      a = advance(a);
      b = advance(b);
      c = advance(c);
      d = advance(d);
    }
  }
  const Vector sum = a + b + c + d;
  results[gl_GlobalInvocationID.x] = sum.x + sum.y + sum.z + sum.w;
}
