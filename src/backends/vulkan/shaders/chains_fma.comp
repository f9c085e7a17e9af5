#version 450
#extension GL_GOOGLE_include_directive : require
#extension GL_EXT_control_flow_attributes : require
#define Number float
#define Vector vec4
// Stays an ordinary number however often it is done.
vec4 advance(vec4 x) { return fma(x, vec4(-0.75), vec4(1.5)); }
#include "chains.glsl"
