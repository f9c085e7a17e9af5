// Values of 8 consecutive columns.
struct Run {
  vec4 first, last;
};
