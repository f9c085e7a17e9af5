// Weights that are requantised as they are read, against quantize.h on the whole matrix.
#include "weights/requantizing_source.h"

#include <gtest/gtest.h>

#include <cmath>
#include <cstring>
#include <limits>
#include <random>
#include <vector>

#include "base/expect_error.h"
#include "base/temp_folder.h"
#include "weights/loaded.h"
#include "weights/quantize.h"
#include "weights/safetensors.h"

namespace darkroom {
namespace {

// More elements than one piece of a matrix that must be widened first.
constexpr int64_t kRows = 301, kCols = 1001;

// A matrix of a linear layer.
Param matrix(const std::string& name, const Shape& shape = {kRows, kCols}) {
  return {name, shape, Role::kMatrix};
}

std::vector<float> widened(const Tensor& matrix) {
  std::vector<float> values(static_cast<std::size_t>(matrix.shape.numel()));
  dequantize_rows(matrix, {matrix.scales, static_cast<std::size_t>(matrix.scale_count)},
                  Tensor(values.data(), DType::kF32, matrix.shape));
  return values;
}

class Requantize : public testing::Test {
 protected:
  Requantize() {
    std::mt19937 random(7);
    std::normal_distribution<float> normal;
    for (std::size_t i = 0; i < values_.size(); ++i) {
      values_[i] = normal(random) * std::ldexp(0.02f, static_cast<int>(i / kCols) % 5);
    }
    Tensor as_i8(i8_.data(), DType::kI8, {kRows, kCols}), as_f8(f8_.data(), DType::kF8E4M3, {kRows, kCols});
    i8_scales(f32(), i8_scales_);
    quantize_rows(f32(), i8_scales_, as_i8);
    f8_scale_ = f8_scale(absmax(f32()));
    quantize_rows(f32(), {&f8_scale_, 1}, as_f8);
    write_safetensors(
        folder_ / "model.safetensors",
        std::vector<NamedTensor>{{"f32.weight", f32()},
                                 {"i8.weight", as_i8},
                                 {"i8.weight_scale", Tensor(i8_scales_.data(), DType::kF32, {kRows})},
                                 {"f8.weight", as_f8},
                                 {"f8.scale_weight", Tensor(&f8_scale_, DType::kF32, {1})},
                                 {"norm.weight", Tensor(values_.data(), DType::kF32, {kCols})},
                                 {"embed.weight", f32()}});
  }

  Tensor f32() { return Tensor(values_.data(), DType::kF32, {kRows, kCols}); }
  std::unique_ptr<CatalogSource> files() const {
    return std::make_unique<CatalogSource>(Catalog(folder_ / "model.safetensors"));
  }
  RequantizingSource source(StorageChoice storage) const { return {files(), storage}; }

  const Shape shape_{kRows, kCols};
  TempFolder folder_;
  std::vector<float> values_ = std::vector<float>(kRows * kCols);
  std::vector<int8_t> i8_ = std::vector<int8_t>(kRows * kCols);
  std::vector<Float8E4M3> f8_ = std::vector<Float8E4M3>(kRows * kCols);
  std::vector<float> i8_scales_ = std::vector<float>(kRows);
  float f8_scale_ = 0;
};

TEST_F(Requantize, IsWhatQuantizeRowsGives) {
  RequantizingSource to_i8 = source(WeightStorage::kI8), to_f8 = source(WeightStorage::kF8Scaled),
                     to_bf16 = source(WeightStorage::kBF16);
  const OwnedTensor i8 = load(to_i8, matrix("f32.weight"));
  EXPECT_EQ(i8.tensor.dtype, DType::kI8);
  EXPECT_EQ(scales_of(i8.tensor), i8_scales_);
  EXPECT_EQ(std::memcmp(i8.tensor.data, i8_.data(), i8_.size()), 0);
  const OwnedTensor f8 = load(to_f8, matrix("f32.weight"));
  EXPECT_EQ(f8.tensor.dtype, DType::kF8E4M3);
  EXPECT_EQ(scales_of(f8.tensor), std::vector<float>{f8_scale_});
  EXPECT_EQ(std::memcmp(f8.tensor.data, f8_.data(), f8_.size()), 0);
  std::vector<Float8E4M3> codes(values_.size());
  quantize_rows(f32(), {}, Tensor(codes.data(), DType::kF8E4M3, shape_));
  RequantizingSource to_plain_f8 = source(WeightStorage::kF8);
  const OwnedTensor plain = load(to_plain_f8, matrix("f32.weight"));
  EXPECT_EQ(plain.tensor.scale_count, 0);
  EXPECT_EQ(std::memcmp(plain.tensor.data, codes.data(), codes.size()), 0);
  const OwnedTensor bf16 = load(to_bf16, matrix("f32.weight"));
  EXPECT_EQ(bf16.tensor.scale_count, 0);
  for (std::size_t i = 0; i < values_.size(); ++i) {
    ASSERT_EQ(bf16.tensor.row<BFloat16>(0)[i].bits, to_bfloat16(values_[i]).bits);
  }
}

// Those of blocks are int8, the others as chosen.
TEST_F(Requantize, BlocksInInt8) {
  Param block = matrix("f32.weight"), modulation = block, sensitive = block;
  block.unit = sensitive.unit = {Stage::kBlock, 3};
  modulation.unit = {Stage::kModulation, 1};
  sensitive.sensitive = true;
  for (const WeightStorage others : {WeightStorage::kAsStored, WeightStorage::kF8Scaled}) {
    RequantizingSource both = source({others, kInt8Levels});
    const OwnedTensor i8 = load(both, block);
    EXPECT_EQ(scales_of(i8.tensor), i8_scales_);
    EXPECT_EQ(std::memcmp(i8.tensor.data, i8_.data(), i8_.size()), 0);
    EXPECT_EQ(both.describe(modulation).dtype,
              others == WeightStorage::kAsStored ? DType::kF32 : DType::kF8E4M3);
    EXPECT_EQ(both.describe(sensitive).dtype, DType::kF32);
    EXPECT_GE(both.staging_bytes(block), values_.size() * sizeof(float));
    Param stored = matrix("i8.weight");
    stored.unit = block.unit;
    EXPECT_EQ(both.staging_bytes(stored), 0u);
  }
}

// From one quantised form to another: through f32, in pieces.
TEST_F(Requantize, TakesQuantisedMatrices) {
  for (const std::string from : {"i8.weight", "f8.weight"}) {
    const std::unique_ptr<CatalogSource> stored = files();
    std::vector<float> exact = widened(load(*stored, matrix(from)).tensor);
    const Tensor whole(exact.data(), DType::kF32, shape_);
    RequantizingSource to_i8 = source(WeightStorage::kI8), to_f8 = source(WeightStorage::kF8Scaled),
                       to_bf16 = source(WeightStorage::kBF16);
    if (from == "f8.weight") {
      std::vector<float> scales(kRows);
      std::vector<int8_t> codes(exact.size());
      i8_scales(whole, scales);
      quantize_rows(whole, scales, Tensor(codes.data(), DType::kI8, shape_));
      const OwnedTensor got = load(to_i8, matrix(from));
      EXPECT_EQ(scales_of(got.tensor), scales);
      EXPECT_EQ(std::memcmp(got.tensor.data, codes.data(), codes.size()), 0);
    } else {
      const float scale = f8_scale(absmax(whole));
      std::vector<Float8E4M3> codes(exact.size());
      quantize_rows(whole, {&scale, 1}, Tensor(codes.data(), DType::kF8E4M3, shape_));
      const OwnedTensor got = load(to_f8, matrix(from));
      EXPECT_EQ(scales_of(got.tensor), std::vector<float>{scale});
      EXPECT_EQ(std::memcmp(got.tensor.data, codes.data(), codes.size()), 0);
    }
    const OwnedTensor bf16 = load(to_bf16, matrix(from));
    for (std::size_t i = 0; i < exact.size(); ++i) {
      ASSERT_EQ(bf16.tensor.row<BFloat16>(0)[i].bits, to_bfloat16(exact[i]).bits) << from << i;
    }
  }
}

TEST_F(Requantize, LeavesTheRestAlone) {
  const std::unique_ptr<CatalogSource> stored = files();
  Param embedder = matrix("f32.weight");
  embedder.sensitive = true;
  const Param norm{"norm.weight", {kCols}}, table{"embed.weight", shape_, Role::kTable},
      conv{"embed.weight", shape_, Role::kConv};
  for (const auto& [storage, param] :
       {std::pair(WeightStorage::kI8, norm), std::pair(WeightStorage::kI8, table),
        std::pair(WeightStorage::kI8, conv), std::pair(WeightStorage::kI8, embedder),
        std::pair(WeightStorage::kBF16, embedder), std::pair(WeightStorage::kI8, matrix("i8.weight")),
        std::pair(WeightStorage::kF8, matrix("f8.weight")),
        std::pair(WeightStorage::kF8Scaled, matrix("f8.weight")),
        std::pair(WeightStorage::kAsStored, matrix("f32.weight"))}) {
    RequantizingSource same = source(storage);
    const OwnedTensor got = load(same, param), want = load(*stored, param);
    EXPECT_EQ(got.tensor.dtype, want.tensor.dtype) << param.name;
    EXPECT_EQ(scales_of(got.tensor), scales_of(want.tensor)) << param.name;
    EXPECT_EQ(std::memcmp(got.tensor.data, want.tensor.data, want.tensor.bytes()), 0) << param.name;
    EXPECT_EQ(same.staging_bytes(param), 0u) << param.name;
  }
}

TEST_F(Requantize, SaysWhatReadingTakes) {
  RequantizingSource to_i8 = source(WeightStorage::kI8), to_f8 = source(WeightStorage::kF8Scaled);
  EXPECT_EQ(to_i8.staging_bytes(matrix("f32.weight")), static_cast<std::size_t>(kRows * kCols * 4));
  // As stored, with the scales; and less than 2^18 widened elements.
  const std::size_t stored = to_i8.describe(matrix("i8.weight")).bytes_with_scales();
  EXPECT_GT(to_f8.staging_bytes(matrix("i8.weight")), stored);
  EXPECT_LE(to_f8.staging_bytes(matrix("i8.weight")), stored + (std::size_t{4} << 18));
}

// The bytes do not depend on the threads, nor does the error, which is that of the first bad row; the plan knows
// what each of them needs.
TEST_F(Requantize, OnSeveralThreads) {
  for (const WeightStorage storage : {WeightStorage::kI8, WeightStorage::kF8Scaled, WeightStorage::kBF16}) {
    StorageChoice one = storage, several = storage;
    several.threads = 5;
    for (const char* name : {"f32.weight", "i8.weight", "f8.weight"}) {
      RequantizingSource alone = source(one), together = source(several);
      const OwnedTensor want = load(alone, matrix(name)), got = load(together, matrix(name));
      ASSERT_EQ(got.tensor.bytes(), want.tensor.bytes());
      EXPECT_EQ(std::memcmp(got.tensor.data, want.tensor.data, want.tensor.bytes()), 0) << name;
      EXPECT_EQ(scales_of(got.tensor), scales_of(want.tensor));
      const std::size_t stored = files()->describe(matrix(name)).bytes_with_scales();
      if (alone.staging_bytes(matrix(name)) > 0) {
        EXPECT_EQ(together.staging_bytes(matrix(name)) - stored,
                  5 * (alone.staging_bytes(matrix(name)) - stored));
      }
    }
  }
  std::vector<float> values(1000 * 1000, 1.0f);
  for (const std::size_t row : {150, 400, 401, 999}) values[row * 1000 + 7] = INFINITY;
  write_safetensors(folder_ / "bad.safetensors",
                    std::vector<NamedTensor>{{"a.weight", Tensor(values.data(), DType::kF32, {1000, 1000})}});
  StorageChoice choice = WeightStorage::kI8;
  choice.threads = 4;
  for (int i = 0; i < 5; ++i) {
    RequantizingSource bad(std::make_unique<CatalogSource>(Catalog(folder_ / "bad.safetensors")), choice);
    expect_error(ErrorCode::kModel, "counted from row 131: row 19, column 7 is inf", [&] {
      load(bad, matrix("a.weight", {1000, 1000}));
    });
  }
}

// What was read stays when the next matrix is read.
TEST_F(Requantize, LoadedWeightsGiveTheSame) {
  RequantizingSource to_i8 = source(WeightStorage::kI8);
  LoadedWeights loaded(to_i8);
  const Tensor got = loaded.load(matrix("f32.weight"));
  EXPECT_EQ(loaded.load(matrix("f8.weight")).dtype, DType::kI8);
  EXPECT_EQ(loaded.load({"norm.weight", {kCols}}).dtype, DType::kF32);
  EXPECT_EQ(std::memcmp(got.data, i8_.data(), i8_.size()), 0);
  EXPECT_EQ(scales_of(got), i8_scales_);
}

// Matrices of blocks for products of 7 bits: within ±63 whatever is stored, int8 too, and so they say.
TEST_F(Requantize, ToFewerLevels) {
  for (const char* name : {"f32.weight", "f8.weight", "i8.weight"}) {
    SCOPED_TRACE(name);
    Param param = matrix(name);
    param.unit = {Stage::kBlock, 0};
    RequantizingSource to_i7 = source({WeightStorage::kAsStored, kInt7Levels}),
                       to_i8 = source({WeightStorage::kAsStored, kInt8Levels});
    const OwnedTensor stored = load(*files(), param), got = load(to_i7, param);
    ASSERT_EQ(got.tensor.dtype, DType::kI8);
    EXPECT_EQ(got.tensor.levels, kInt7Levels);
    const std::vector<float> values = widened(stored.tensor), back = widened(got.tensor);
    for (int64_t r = 0; r < kRows; ++r) {
      int most = 0;
      for (int64_t c = 0; c < kCols; ++c) {
        most = std::max(most, std::abs(int{got.tensor.row<int8_t>(r)[c]}));
        const auto i = static_cast<std::size_t>(r * kCols + c);
        ASSERT_LE(std::fabs(back[i] - values[i]), 0.5001f * got.tensor.scales[r]) << r << "," << c;
      }
      EXPECT_EQ(most, kInt7Levels) << r;
    }
    // The bytes are planned; int8 comes as it is where 8 bits are wanted.
    EXPECT_EQ(to_i7.staging_bytes(param) > 0, true);
    EXPECT_EQ(to_i8.staging_bytes(param) > 0, std::string(name) != "i8.weight");
    // Not of a block: as it is stored.
    param.unit = {Stage::kModulation, 0};
    EXPECT_EQ(load(to_i7, param).tensor.dtype, stored.tensor.dtype);
  }
}

TEST(RequantizeToBlocks, IsWhatQuantizeRowsGives) {
  constexpr int64_t rows = 300, cols = 1024;  // more than a piece
  const TempFolder folder;
  std::mt19937 random(8);
  std::normal_distribution<float> normal;
  std::vector<float> values(rows * cols);
  for (float& value : values) value = 0.02f * normal(random);
  std::vector<int8_t> i8(values.size());
  std::vector<float> scales(rows);
  const Tensor f32(values.data(), DType::kF32, {rows, cols}), as_i8(i8.data(), DType::kI8, {rows, cols});
  i8_scales(f32, scales);
  quantize_rows(f32, scales, as_i8);
  // Rows of 992 fill blocks of 32 and none of 256.
  write_safetensors(folder / "a.safetensors",
                    std::vector<NamedTensor>{{"a.weight", f32},
                                             {"i8.weight", as_i8},
                                             {"i8.weight_scale", Tensor(scales.data(), DType::kF32, {rows})},
                                             {"b.weight", Tensor(values.data(), DType::kF32, {rows, 992})}});
  for (const auto storage : {WeightStorage::kQ8_0, WeightStorage::kQ4_0, WeightStorage::kQ4K,
                             WeightStorage::kQ5K, WeightStorage::kQ6K}) {
    RequantizingSource source(std::make_unique<CatalogSource>(Catalog(folder / "a.safetensors")), storage);
    const DType dtype = storage_dtype(storage);
    EXPECT_EQ(dtype_name(dtype), storage_name(storage));
    for (const char* name : {"a.weight", "i8.weight"}) {
      const OwnedTensor got = load(source, {name, {rows, cols}, Role::kMatrix});
      ASSERT_EQ(got.tensor.dtype, dtype);
      EXPECT_EQ(got.tensor.scale_count, 0);
      std::vector<float> from = values;
      if (name == std::string("i8.weight")) {
        dequantize_rows(as_i8, scales, Tensor(from.data(), DType::kF32, {rows, cols}));
      }
      std::vector<std::byte> want(row_bytes(dtype, rows * cols));
      quantize_rows(Tensor(from.data(), DType::kF32, {rows, cols}), {},
                    Tensor(want.data(), dtype, {rows, cols}));
      ASSERT_EQ(got.tensor.bytes(), want.size());
      EXPECT_EQ(std::memcmp(got.tensor.data, want.data(), want.size()), 0) << name;
    }
    const DType narrow = block_size(dtype).elements == 32 ? dtype : DType::kF32;
    EXPECT_EQ(load(source, {"b.weight", {rows, 992}, Role::kMatrix}).tensor.dtype, narrow);
  }
}

TEST(RequantizeErrors, NameTheWeight) {
  const TempFolder folder;
  float values[] = {1, 2, std::numeric_limits<float>::quiet_NaN(), 4};
  write_safetensors(folder / "a.safetensors",
                    std::vector<NamedTensor>{{"a.weight", Tensor(values, DType::kF32, {2, 2})}});
  RequantizingSource source(std::make_unique<CatalogSource>(Catalog(folder / "a.safetensors")),
                            WeightStorage::kI8);
  expect_error(ErrorCode::kModel, "'a.weight' as int8: row 1, column 0 is nan, a weight must be finite", [&] {
    load(source, matrix("a.weight", {2, 2}));
  });
  expect_error(ErrorCode::kModel, "there is no tensor 'b.weight'", [&] {
    load(source, matrix("b.weight", {2, 2}));
  });
}

TEST(StorageNames, AreReadBack) {
  for (const WeightStorage storage :
       {WeightStorage::kAsStored, WeightStorage::kBF16, WeightStorage::kF8, WeightStorage::kF8Scaled,
        WeightStorage::kF16, WeightStorage::kI8, WeightStorage::kQ8_0, WeightStorage::kQ4_0,
        WeightStorage::kQ4_1, WeightStorage::kQ5_0, WeightStorage::kQ5_1, WeightStorage::kQ2K,
        WeightStorage::kQ3K, WeightStorage::kQ4K, WeightStorage::kQ5K, WeightStorage::kQ6K}) {
    EXPECT_EQ(parse_storage(storage_name(storage)), storage);
  }
  for (const char* name : {"", "FP8", "fp16", "int8 ", "q4"})
    EXPECT_EQ(parse_storage(name), std::nullopt) << name;
}

}  // namespace
}  // namespace darkroom
