#include <vector>

#include "backends/reference/reference.h"
#include "selftest/op_cases.h"
#include "vulkan_test_util.h"

namespace darkroom {
namespace {

using VulkanEmbed = VulkanTest;

// The values of every type bit for bit, rows that begin anywhere among blocks, gaps between the result's rows.
TEST_F(VulkanEmbed, TablesOfEveryType) {
  DARKROOM_OPEN_VULKAN(core);
  const auto backend = vulkan::make_backend(core);
  const auto reference = make_reference_backend();
  const std::vector<int32_t> ids = {6, 0, 6, 3, 1, 5};
  for (int i = 0; i < kDTypes; ++i) {
    const DType dtype = static_cast<DType>(i);
    if (!is_float(dtype) && !is_block(dtype)) continue;
    for (const int64_t cols : {int64_t{256}, is_block(dtype) ? int64_t{2304} : int64_t{2050}}) {
      for (const DType out_dtype : {DType::kF32, DType::kBF16}) {
        SCOPED_TRACE(std::string(dtype_name(dtype)) + " " + std::string(dtype_name(out_dtype)));
        Operands on_host(out_dtype, dtype),
            on_device(out_dtype, dtype, Operands::Scales::kNone, false, backend.get());
        const Tensor want = on_host.strided({6, cols}), got = on_device.strided({6, cols});
        reference->embed({on_host.weight({7, cols}), ids, want});
        backend->embed({on_device.weight({7, cols}), ids, got});
        std::vector<float> expected(static_cast<std::size_t>(6 * cols)), result(expected.size());
        reference->download(want, expected);
        backend->download(got, result);
        ASSERT_EQ(result, expected);
      }
    }
  }
}

}  // namespace
}  // namespace darkroom
