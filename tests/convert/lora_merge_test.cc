// LoRAs that a conversion adds to the weights, against the same sums in f64.
#include "checkpoint/lora_merge.h"

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

struct Compared {
  double signal = 0, error = 0;
  DType dtype = DType::kF32;  // of a matrix that LoRAs change
  double decibels() const { return error == 0 ? 300 : 10 * std::log10(signal / error); }
};

// The parameters of a part that `wanted` has other numbers for than `plain`, in `found` and in `wanted`.
Compared compare(const fs::path& found, const fs::path& wanted, const fs::path& plain, Part part) {
  const Checkpoint a = Checkpoint::open(found), b = Checkpoint::open(wanted), c = Checkpoint::open(plain);
  const auto one = a.open_weights(part), two = b.open_weights(part), three = c.open_weights(part);
  Compared out;
  b.visit(part, [&](const Param& param, Tensor&) {
    const std::vector<float> x = widened(*one, param), y = widened(*two, param);
    ASSERT_EQ(x.size(), y.size());
    if (y == widened(*three, param)) return;
    if (param.role == Role::kMatrix && param.unit.stage == Stage::kBlock)
      out.dtype = one->describe(param).dtype;
    for (std::size_t i = 0; i < x.size(); ++i) {
      out.signal += std::pow(static_cast<double>(y[i]), 2);
      out.error += std::pow(static_cast<double>(x[i]) - static_cast<double>(y[i]), 2);
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
    darkroom::convert(Checkpoint::open(folder_ / in), options,
                      {.on_progress = {}, .on_note = [&](const std::string& n) { notes_.push_back(n); }},
                      kGoOn);
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
  Compared merged(const std::string& name, Part part = Part::kTransformer) const {
    return compare(folder_ / name, folder_ / "wanted", folder_ / "f32", part);
  }
  const TempFolder folder_;
  std::vector<std::string> notes_;
};

TEST_P(ConvertLora, AddsWhatTheFileSays) {
  make_lora(GetParam());
  convert("f32", "merged", {.out = {}, .weights = "as-stored"});
  convert("bf16", "merged.safetensors", {.out = {}, .weights = "as-stored", .layout = "single"});
  convert("bf16", "int8", {.out = {}, .weights = "int8", .text_weights = "as-stored"});
  for (const Part part : {Part::kTransformer, Part::kClip, Part::kT5}) {
    SCOPED_TRACE(part_folder(part));
    const Compared without = merged("f32", part);
    if (without.signal == 0) {  // the LoRA leaves this part alone
      EXPECT_NE(part, Part::kTransformer);
      continue;
    }
    EXPECT_LT(without.decibels(), 30);
    EXPECT_GE(merged("merged", part).decibels(), 130);
    EXPECT_GE(merged("merged.safetensors", part).decibels(), 50);
    EXPECT_GE(merged("int8", part).decibels(), 38);
  }
  EXPECT_EQ(merged("merged").dtype, DType::kF32);
  EXPECT_EQ(merged("merged.safetensors").dtype, DType::kBF16);
  EXPECT_EQ(merged("int8").dtype, DType::kI8);
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
    const std::string base = c.weights, with = base + "-merged";
    darkroom::convert(bf16, {.out = folder_ / base, .weights = c.weights, .layout = c.layout}, {}, kGoOn);
    convert(base, with, {.out = {}, .weights = "as-stored", .layout = c.layout});
    const Compared found = merged(with);
    EXPECT_LT(merged(base).decibels(), found.decibels() - 1);
    EXPECT_EQ(found.dtype, c.dtype);
    EXPECT_GE(found.decibels(), c.decibels);
  }
}

TEST_P(ConvertOneLora, SumsDependNeitherOnCutsNorThreads) {
  make_lora(GetParam());
  const Checkpoint model = Checkpoint::open(folder_ / "bf16");
  const LoraUses loras = {{Lora::open(folder_ / "film.safetensors", model), 0.75}};
  ThreadPool one(1), four(4);
  MergedSource whole(model.open_weights(Part::kTransformer), Part::kTransformer, loras, one),
      cut(model.open_weights(Part::kTransformer), Part::kTransformer, loras, four);
  int changed = 0;
  model.visit(Part::kTransformer, [&](const Param& param, Tensor&) {
    if (!whole.changes(param)) return;
    ++changed;
    std::vector<float> all(static_cast<std::size_t>(param.shape.numel())), pieces;
    whole.read(param, std::as_writable_bytes(std::span(all)));
    for (int64_t first = 0, count = 1; first < param.shape[0]; first += count, count += 3) {
      count = std::min(count, param.shape[0] - first);
      std::vector<float> piece(static_cast<std::size_t>(count * param.cols()));
      cut.read_rows(param, {first, count}, std::as_writable_bytes(std::span(piece)));
      pieces.insert(pieces.end(), piece.begin(), piece.end());
    }
    EXPECT_EQ(pieces, all) << param.name;
  });
  EXPECT_GE(changed, 10);
}

TEST_P(ConvertOneLora, OfNoPartThatIsWrittenIsRefused) {
  make_lora(GetParam());
  convert("bf16", "transformer", {.out = {}, .weights = "as-stored", .parts = "transformer"});
  ASSERT_EQ(notes_.size(), 2u);
  EXPECT_NE(notes_[0].find("it also changes the CLIP-L text encoder, which is not written"),
            std::string::npos)
      << notes_[0];
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
