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

}  // namespace darkroom::cpu
