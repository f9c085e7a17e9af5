# Kernels are compiled once per instruction set by Highway. SSSE3 and AVX3_DL would add build time and no speed here;
# the portable scalar set is kept even where a better one is certain, so that every set can be forced and tested.
# EMU128 is marked broken as Highway itself does for GCC < 12.3, so that all compilers have the same sets.
darkroom_room(backends/cpu
  SOURCES cpu.cc isa.cc kernels.cc engine.cc gemm.cc small_m.cc attention.cc conv.cc group_norm.cc ceiling.cc
    gemm_kernels.cc attention_kernels.cc row_kernels.cc ceiling_kernels.cc avx512bf16_kernels.cc
  DEPS ops LIBS PkgConfig::HIGHWAY)
target_compile_definitions(darkroom_backends_cpu PRIVATE HWY_COMPILE_ALL_ATTAINABLE
  "HWY_DISABLED_TARGETS=(HWY_SSSE3|HWY_AVX3_DL)" HWY_BROKEN_EMU128=1)
# -O3 for the unrolled tiles. No contraction: where a product and a sum may be fused, the kernels say so themselves,
# which keeps full vectors and tails bit-identical.
target_compile_options(darkroom_backends_cpu PRIVATE -O3 -ffp-contract=off)
