#include <fmt/format.h>

#include <cmath>
#include <vector>

#include "backends/reference/reference.h"
#include "op_cases.h"
#include "vulkan_test_util.h"

namespace darkroom {
namespace {

using VulkanPointwise = VulkanTest;

TEST_F(VulkanPointwise, AddsTwoTensors) {
  DARKROOM_OPEN_VULKAN(core);
  const auto backend = vulkan::make_backend(core);
  const auto memory = backend->allocate(1 << 20);
  Arena arena(*memory);
  const Context ctx{*backend, arena, DType::kF32};
  const Tensor x = ctx.allocate({7, 300}), y = ctx.allocate({7, 300}), out = ctx.allocate({7, 300});
  std::vector<float> values(7 * 300);
  for (std::size_t i = 0; i < values.size(); ++i) values[i] = static_cast<float>(i);
  backend->upload(values, x);
  backend->upload(values, y);
  backend->add({.x = x, .y = y, .z = {}, .out = out, .y_scale = 2});
  backend->download(out, values);
  for (std::size_t i = 0; i < values.size(); ++i) ASSERT_EQ(values[i], 3 * static_cast<float>(i)) << i;
}

}  // namespace
}  // namespace darkroom
