#version 450
#extension GL_GOOGLE_include_directive : require
#extension GL_EXT_control_flow_attributes : require
#extension GL_EXT_spirv_intrinsics : require
#define Number int
#define Vector ivec4
// OpSDotKHR on packed bytes, as gemm_i8_dot.comp has it.
spirv_instruction(extensions = ["SPV_KHR_integer_dot_product"], capabilities = [6018, 6019], id = 4450)
int packed_dot(uint a, uint b, spirv_literal int format);
int step_of(int x) { return x + packed_dot(uint(x), 0x7f35c30bu, 0); }
ivec4 advance(ivec4 x) { return ivec4(step_of(x.x), step_of(x.y), step_of(x.z), step_of(x.w)); }
#include "chains.glsl"
