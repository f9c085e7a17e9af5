# Kernels are compiled once per instruction set by Highway. SSSE3 and AVX3_DL would add build time and no speed here;
# the portable scalar set is kept even where a better one is certain, so that every set can be forced and tested.
# SVE's vectors have no length that is known at compile time; ARM processors have NEON besides.
# EMU128 is marked broken as Highway itself does for GCC < 12.3, so that all compilers have the same sets.
darkroom_room(backends/cpu
  SOURCES cpu.cc isa.cc kernels.cc engine.cc gemm.cc int8_gemm.cc small_m.cc attention.cc int8_attention.cc conv.cc
    winograd.cc group_norm.cc ceiling.cc
    gemm_kernels.cc block_kernels.cc attention_kernels.cc row_kernels.cc ceiling_kernels.cc avx512bf16_kernels.cc
    winograd_kernels.cc int8_kernels.cc int8_attention_kernels.cc vnni_kernels.cc sdot_kernels.cc
  DEPS ops LIBS PkgConfig::HIGHWAY)
target_compile_definitions(darkroom_backends_cpu PRIVATE HWY_COMPILE_ALL_ATTAINABLE
  "HWY_DISABLED_TARGETS=(HWY_SSSE3|HWY_AVX3_DL|HWY_SVE|HWY_SVE2|HWY_SVE_256|HWY_SVE2_128)" HWY_BROKEN_EMU128=1)
# -O3 for the unrolled tiles; with sanitizers that takes minutes per file and buys nothing. Undefined behaviour is looked for
# in the drivers and in the reference backend, which see the same cases, and races in the drivers: in kernels of all sets
# these checks take two thirds of the build. Highway reads itself once per set, so nothing may be precompiled.
set(kernel_options -O3)
if(DARKROOM_SANITIZE)
  set(kernel_options -O1)
  foreach(check undefined thread)
    if(DARKROOM_SANITIZE MATCHES ${check})
      list(APPEND kernel_options -fno-sanitize=${check})
    endif()
  endforeach()
endif()
foreach(kernels gemm winograd int8 int8_attention vnni sdot block attention row ceiling avx512bf16)
  set_source_files_properties(${PROJECT_SOURCE_DIR}/src/backends/cpu/${kernels}_kernels.cc
    PROPERTIES COMPILE_OPTIONS "${kernel_options}" SKIP_PRECOMPILE_HEADERS ON)
endforeach()
