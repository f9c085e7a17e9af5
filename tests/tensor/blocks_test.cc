// Blocks of every type against the gguf package and bitsandbytes' tables (tools/fixtures/make_blocks.py).
#include "tensor/blocks.h"

#include <gtest/gtest.h>

#include <bit>

#include "base/expect_error.h"
#include "expected.h"

namespace darkroom {
namespace {

TEST(Blocks, EveryTypeIsWhatItsDefinitionSays) {
  const Expected expected(fixture_path("blocks.safetensors"));
  int types = 0;
  for (int i = 0; i < kDTypes; ++i) {
    const DType dtype = static_cast<DType>(i);
    if (!is_block(dtype)) continue;
    ++types;
    const std::string name(dtype_name(dtype));
    SCOPED_TRACE(name);
    const std::vector<uint8_t> blocks = expected.bytes(name + ".blocks");
    const std::vector<float> want = expected.floats(name + ".values");
    ASSERT_EQ(blocks.size(), row_bytes(dtype, static_cast<int64_t>(want.size())));
    std::vector<float> got(want.size());
    dequantize_blocks(dtype, reinterpret_cast<const std::byte*>(blocks.data()),
                      static_cast<int64_t>(want.size()), got.data());
    for (std::size_t e = 0; e < want.size(); ++e) {
      ASSERT_EQ(std::bit_cast<uint32_t>(got[e]), std::bit_cast<uint32_t>(want[e])) << e << ": " << got[e];
    }
  }
  EXPECT_EQ(types, 14);
}

TEST(Blocks, OnlyWholeBlocksOfBlockTypes) {
  std::byte blocks[64] = {};
  float out[64];
  expect_error(ErrorCode::kFailure, "48 elements of q4_0, whose blocks have 32",
               [&] { dequantize_blocks(DType::kQ4_0, blocks, 48, out); });
  expect_error(ErrorCode::kFailure, "expected a block type, found bf16",
               [&] { dequantize_blocks(DType::kBF16, blocks, 32, out); });
}

}  // namespace
}  // namespace darkroom
