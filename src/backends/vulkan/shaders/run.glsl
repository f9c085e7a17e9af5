// Values of 8 consecutive columns, and what is loaded for them: kept like this while other work hides the wait.
struct Run {
  vec4 first, last;
};
struct RawRun {
  uvec4 first, last;
};
