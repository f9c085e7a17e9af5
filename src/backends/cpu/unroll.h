// Before a loop over registers, which must be unrolled whole. Private to this room.
#pragma once

#ifdef __clang__
#define DARKROOM_UNROLL _Pragma("clang loop unroll(full)")
#else
#define DARKROOM_UNROLL _Pragma("GCC unroll 32")
#endif
