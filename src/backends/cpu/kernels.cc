#include "backends/cpu/kernels.h"

namespace darkroom::cpu {

KernelTable make_kernel_table(CpuIsa isa) {
  KernelTable table{};
  add_gemm_kernels(isa, table);
  add_int8_kernels(isa, table);
  add_block_kernels(isa, table);
  add_winograd_kernels(isa, table);
  add_attention_kernels(isa, table);
  add_int8_attention_kernels(isa, table);
  add_row_kernels(isa, table);
  return table;
}

Int8Kernels int8_kernels_for(int32_t levels, CpuIsa isa, Int8Dot dot, const KernelTable& table) {
  const Int8Kernels kernels = dot_int8_kernels(isa, dot, table);
  return levels <= kInt7Levels && kernels.micro == table.int8.micro ? table.int7 : kernels;
}

}  // namespace darkroom::cpu
