// LoRAs that a conversion adds to the weights, against the same sums in f64.
#include <gtest/gtest.h>

#include <cmath>

#include "base/expect_error.h"
#include "base/temp_folder.h"
#include "convert/convert.h"
#include "lora_files.h"
#include "stored_models.h"
#include "weights/loaded.h"

namespace darkroom {
namespace {

namespace fs = std::filesystem;

const std::atomic<bool> kGoOn{false};

// Signal and error of all numbers of a part, and the type of a matrix that LoRAs change.
struct Compared {
  double signal = 0, error = 0, largest_error = 0;
  DType dtype = DType::kF32;
  double decibels() const { return error == 0 ? 300 : 10 * std::log10(signal / error); }
};

std::vector<float> widened(WeightSource& source, const Param& param) {
  const OwnedTensor loaded = load(source, param);
  Tensor rows = loaded.tensor;
  rows.shape = {rows.rows(), rows.cols()};
  std::vector<float> out(static_cast<std::size_t>(rows.shape.numel()));
  dequantize_rows(rows, {rows.scales, static_cast<std::size_t>(rows.scale_count)},
                  Tensor(out.data(), DType::kF32, rows.shape));
  return out;
}

Compared compare(const fs::path& found, const fs::path& wanted, Part part) {
  const Checkpoint a = Checkpoint::open(found), b = Checkpoint::open(wanted);
  const auto one = a.open_weights(part), two = b.open_weights(part);
  Compared out;
  b.visit(part, [&](const Param& param, Tensor&) {
    const std::vector<float> x = widened(*one, param), y = widened(*two, param);
    ASSERT_EQ(x.size(), y.size());
    if (param.name == kDouble + "attn.to_q.weight") out.dtype = one->describe(param).dtype;
    for (std::size_t i = 0; i < x.size(); ++i) {
      const double error = static_cast<double>(x[i]) - static_cast<double>(y[i]);
      out.signal += std::pow(static_cast<double>(y[i]), 2);
      out.error += error * error;
      out.largest_error = std::max(out.largest_error, std::fabs(error));
    }
  });
  return out;
}

class ConvertLora : public testing::TestWithParam<LoraKind> {
 protected:
  void convert(const std::string& in, const std::string& out, ConvertOptions options,
               double strength = 0.75) {
    options.out = folder_ / out;
    options.loras = {{folder_ / "film.safetensors", strength}};
    darkroom::convert(Checkpoint::open(folder_ / in), options, {}, kGoOn);
  }
  void make_lora(const LoraKind& kind) {
    Maker made(kind.dtype);
    kind.make(made);
    made.write(folder_ / "film.safetensors");
    write_stored_model(folder_ / "bf16", WeightStorage::kBF16, true);
    const Checkpoint bf16 = Checkpoint::open(folder_ / "bf16");
    write_merged(folder_ / "f32", bf16, WeightStorage::kAsStored, nullptr);
    write_merged(folder_ / "wanted", bf16, WeightStorage::kAsStored, &made, 0.75);
  }
  TempFolder folder_;
};

TEST_P(ConvertLora, AddsWhatTheFileSays) {
  make_lora(GetParam());
  convert("f32", "merged", {.out = {}, .weights = "as-stored"});
  convert("bf16", "merged.safetensors", {.out = {}, .weights = "as-stored", .layout = "single"});
  convert("bf16", "int8", {.out = {}, .weights = "int8", .text_weights = "as-stored"});
  for (const Part part : {Part::kTransformer, Part::kClip, Part::kT5}) {
    SCOPED_TRACE(part_folder(part));
    const Compared exact = compare(folder_ / "merged", folder_ / "wanted", part);
    EXPECT_GE(exact.decibels(), 130);
    const Compared rounded = compare(folder_ / "merged.safetensors", folder_ / "wanted", part);
    EXPECT_GE(rounded.decibels(), 50);
    const Compared quantised = compare(folder_ / "int8", folder_ / "wanted", part);
    EXPECT_GE(quantised.decibels(), 40);
    if (part != Part::kTransformer) continue;
    EXPECT_EQ(exact.dtype, DType::kF32);
    EXPECT_EQ(rounded.dtype, DType::kBF16);
    EXPECT_EQ(quantised.dtype, DType::kI8);
  }
}

INSTANTIATE_TEST_SUITE_P(All, ConvertLora, testing::ValuesIn(lora_kinds()),
                         [](const auto& kind) { return std::string(kind.param.name); });

class ConvertOneLora : public ConvertLora {};

TEST_P(ConvertOneLora, QuantisedFilesKeepTheirType) {
  make_lora(GetParam());
  const Checkpoint bf16 = Checkpoint::open(folder_ / "bf16");
  struct Case {
    const char *weights, *layout;
    DType dtype;
    double decibels;
  };
  for (const Case& c :
       {Case{"fp8-scaled", "diffusers", DType::kF8E4M3, 28}, Case{"int8", "diffusers", DType::kI8, 40},
        Case{"q8_0", "gguf", DType::kQ8_0, 40}, Case{"q4_0", "gguf", DType::kQ4_0, 19}}) {
    SCOPED_TRACE(c.weights);
    const std::string base = c.weights, merged = base + "-merged", plain = base + "-wanted";
    darkroom::convert(bf16, {.out = folder_ / base, .weights = c.weights, .layout = c.layout}, {}, kGoOn);
    convert(base, merged, {.out = {}, .weights = "as-stored", .layout = c.layout});
    const Compared found = compare(folder_ / merged, folder_ / "wanted", Part::kTransformer);
    EXPECT_EQ(found.dtype, c.dtype);
    EXPECT_GE(found.decibels(), c.decibels);
  }
}

TEST_P(ConvertOneLora, OfNoPartThatIsWrittenIsRefused) {
  make_lora(GetParam());
  expect_error(ErrorCode::kUsage, "changes none of the parts that are written",
               [&] { convert("bf16", "vae", {.out = {}, .weights = "as-stored", .parts = "vae"}); });
  EXPECT_FALSE(fs::exists(folder_ / "vae"));
  expect_error(ErrorCode::kUsage, "strength",
               [&] { convert("bf16", "out", {.out = {}, .weights = "bf16"}, 9); });
}

INSTANTIATE_TEST_SUITE_P(All, ConvertOneLora, testing::ValuesIn(lora_kinds().first(1)),
                         [](const auto& kind) { return std::string(kind.param.name); });

}  // namespace
}  // namespace darkroom
