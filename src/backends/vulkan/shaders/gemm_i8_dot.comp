#version 450
#extension GL_GOOGLE_include_directive : require
#extension GL_EXT_spirv_intrinsics : require
// OpSDotKHR of SPV_KHR_integer_dot_product on packed bytes, which this glslc has no name for.
spirv_instruction(extensions = ["SPV_KHR_integer_dot_product"], capabilities = [6018, 6019], id = 4450)
int packed_dot(uint a, uint b, spirv_literal int format);
int dot4(uint a, uint b) { return packed_dot(a, b, 0); }
#include "gemm_i8.glsl"
