// What a converted model holds: each tensor against the rounding rules applied to the whole tensor at once.
#include "convert/convert.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cstring>
#include <nlohmann/json.hpp>

#include "base/expect_error.h"
#include "base/file_map.h"
#include "base/json.h"
#include "base/temp_folder.h"
#include "large_model.h"
#include "memory/budget.h"
#include "process_peak.h"
#include "weights/loaded.h"
#include "weights/quantize.h"

namespace darkroom {
namespace {

namespace fs = std::filesystem;

const fs::path kFixture = DARKROOM_SOURCE_DIR "/tests/fixtures/pipelines/dev_small";
const std::atomic<bool> kGoOn{false};

void convert(const fs::path& in, ConvertOptions options, const ConvertListeners& listeners = {}) {
  convert(Checkpoint::open(in), options, listeners, kGoOn);
}

std::string bytes_of(const Tensor& tensor) {
  return tensor.bytes() == 0 ? "" : std::string(static_cast<const char*>(tensor.data), tensor.bytes());
}

std::string bytes_of(const Catalog& catalog, std::string_view name) {
  return bytes_of(catalog.load(name).value().tensor);
}

// What becomes of a matrix, made of it in one piece.
struct Quantized {
  Quantized(const Tensor& matrix, DType dtype, std::vector<float> with)
      : scales(std::move(with)), memory(static_cast<std::size_t>(matrix.shape.numel()) * dtype_bytes(dtype)) {
    const Tensor out(memory.data(), dtype, matrix.shape);
    quantize_rows(matrix, scales, out);
    bytes = bytes_of(out);
  }
  std::vector<float> scales;
  std::vector<std::byte> memory;
  std::string bytes;
};

Quantized quantized(const Tensor& matrix, const std::string& kind) {
  if (kind == "bf16") return {matrix, DType::kBF16, {}};
  if (kind == "fp8") return {matrix, DType::kF8E4M3, {}};
  if (kind == "fp8-scaled") return {matrix, DType::kF8E4M3, {f8_scale(absmax(matrix))}};
  std::vector<float> scales(static_cast<std::size_t>(matrix.rows()));
  i8_scales(matrix, scales);
  return {matrix, DType::kI8, std::move(scales)};
}

bool is_linear(std::string_view name, const Tensor& tensor) {
  return tensor.shape.rank() == 2 && name.find("embedding.") == name.npos &&
         name.find("shared") == name.npos && name.find("embed_tokens") == name.npos &&
         name.find("attention_bias") == name.npos;
}

// Demands that `out` holds what `in` holds, the matrices as `kind` ("": as stored). Returns their number.
int expect_part(const fs::path& in, const fs::path& out, const std::string& kind) {
  const Catalog before(in), after(out);
  int matrices = 0, scales = 0;
  for (const std::string_view view : before.names()) {
    SCOPED_TRACE(view);
    const std::string name(view);
    const OwnedTensor stored = before.load(name).value();
    const Tensor& tensor = stored.tensor;
    if (!after.stored(name)) {
      ADD_FAILURE() << "is missing";
      continue;
    }
    EXPECT_EQ(after.stored(name)->extents, before.stored(name)->extents);
    const bool whole = kind == "bf16" || name.find("embed") == name.npos;
    if (kind.empty() || !whole || !is_linear(name, tensor)) {
      EXPECT_EQ(after.stored(name)->type, before.stored(name)->type);
      EXPECT_TRUE(bytes_of(after, name) == bytes_of(tensor));
      EXPECT_EQ(after.stored(name + "_scale"), nullptr);
      continue;
    }
    ++matrices;
    const Quantized wanted = quantized(tensor, kind);
    EXPECT_TRUE(bytes_of(after, name) == wanted.bytes);
    if (wanted.scales.empty()) continue;
    ++scales;
    if (!after.stored(name + "_scale")) {
      ADD_FAILURE() << "has no scale";
      continue;
    }
    const std::vector<int64_t> extents =
        kind == "int8" ? std::vector<int64_t>{tensor.rows()} : std::vector<int64_t>{};
    EXPECT_EQ(after.stored(name + "_scale")->extents, extents);
    EXPECT_EQ(after.stored(name + "_scale")->type, "F32");
    const std::string bytes = bytes_of(after, name + "_scale");
    EXPECT_TRUE(bytes.size() == wanted.scales.size() * 4 &&
                std::memcmp(bytes.data(), wanted.scales.data(), bytes.size()) == 0);
  }
  EXPECT_EQ(after.size(), before.size() + static_cast<std::size_t>(scales));
  return matrices;
}

class Convert : public testing::Test {
 protected:
  fs::path out(const std::string& name = "out") const { return folder_ / name; }
  const TempFolder folder_;
};

TEST_F(Convert, EachKindIsWhatQuantizeMakesOfEachMatrix) {
  for (const std::string kind : {"bf16", "fp8", "fp8-scaled", "int8"}) {
    SCOPED_TRACE(kind);
    convert(kFixture, {.out = out(kind), .weights = kind});
    // proj_out, norm_out, 2·14 in double blocks, 2·6 in single ones; x_embedder,
    // context_embedder, 3·2 others.
    EXPECT_EQ(expect_part(kFixture / "transformer", out(kind) / "transformer", kind),
              kind == "bf16" ? 50 : 42);
    EXPECT_GT(expect_part(kFixture / "text_encoder", out(kind) / "text_encoder", "bf16"), 0);
    EXPECT_GT(expect_part(kFixture / "text_encoder_2", out(kind) / "text_encoder_2", "bf16"), 0);
    expect_part(kFixture / "vae", out(kind) / "vae", "");
    const Checkpoint model = Checkpoint::open(out(kind));
    EXPECT_EQ(model.name(), kind);
  }
}

TEST_F(Convert, TheTransformerIsWhatTheSameKindOnLoadIs) {
  const Checkpoint plain = Checkpoint::open(kFixture);
  for (const char* kind : {"fp8", "fp8-scaled", "int8"}) {
    convert(kFixture, {.out = out(kind), .weights = kind});
    const Checkpoint converted = Checkpoint::open(out(kind));
    const auto made = plain.open_weights(Part::kTransformer, *parse_storage(kind));
    const auto stored = converted.open_weights(Part::kTransformer);
    converted.visit(Part::kTransformer, [&](const Param& param, Tensor&) {
      SCOPED_TRACE(fmt::format("{} {}", kind, param.name));
      const std::size_t bytes = stored->describe(param).bytes_with_scales();
      ASSERT_EQ(made->describe(param).dtype, stored->describe(param).dtype);
      ASSERT_EQ(made->describe(param).bytes_with_scales(), bytes);
      std::vector<std::byte> a(bytes), b(bytes);
      made->read(param, a);
      stored->read(param, b);
      EXPECT_EQ(a, b);
    });
  }
}

// The fixture's 2-byte weights stay what they are, and so does every other file that makes a model.
TEST_F(Convert, BF16ToBF16ChangesNoByte) {
  convert(kFixture, {.out = out(), .weights = "bf16"});
  for (const char* part : {"transformer", "text_encoder", "text_encoder_2", "vae"}) {
    expect_part(kFixture / part, out() / part, "");
  }
  for (const char* name : {"model_index.json", "scheduler/scheduler_config.json", "tokenizer/vocab.json",
                           "tokenizer/merges.txt", "tokenizer_2/tokenizer.json", "text_encoder/config.json",
                           "text_encoder_2/config.json", "transformer/config.json", "vae/config.json"}) {
    EXPECT_EQ(read_text_file(out() / name, 1 << 24), read_text_file(kFixture / name, 1 << 24)) << name;
  }
  EXPECT_FALSE(fs::exists(out() / "expected.safetensors")) << "weights that belong to no part are not copied";
}

TEST_F(Convert, TextEncodersHaveAKindOfTheirOwn) {
  convert(kFixture, {.out = out(), .weights = "bf16", .text_weights = "int8"});
  expect_part(kFixture / "transformer", out() / "transformer", "bf16");
  EXPECT_EQ(expect_part(kFixture / "text_encoder", out() / "text_encoder", "int8"), 12);
  EXPECT_EQ(expect_part(kFixture / "text_encoder_2", out() / "text_encoder_2", "int8"), 14);
}

TEST_F(Convert, ShardsHoldAtMostTheirSizeAndAnIndexListsThem) {
  constexpr std::size_t kShard = 64 << 10;
  convert(kFixture, {.out = out(), .weights = "int8", .shard_bytes = kShard});
  const fs::path folder = out() / "transformer";
  const WeightFiles files = find_weight_files(folder);
  EXPECT_EQ(files.index_path.filename(), "diffusion_pytorch_model.safetensors.index.json");
  EXPECT_TRUE(files.missing.empty());
  ASSERT_GT(files.present.size(), 3u);
  EXPECT_EQ(files.present[0].filename(),
            fmt::format("diffusion_pytorch_model-00001-of-{:05}.safetensors", files.present.size()));
  std::size_t total = 0;
  for (const fs::path& path : files.present) {
    const TensorFile file(path);
    EXPECT_EQ(file.metadata().at("format"), "pt");
    EXPECT_EQ(misaligned_bytes(path), 0u);
    std::size_t bytes = 0;
    for (const StoredTensor& tensor : file.tensors()) {
      bytes += tensor.bytes;
      const bool scale = tensor.name.ends_with("_scale");
      EXPECT_TRUE(!scale || file.find(tensor.name.substr(0, tensor.name.size() - 6))) << tensor.name;
    }
    EXPECT_LE(bytes, kShard);
    total += bytes;
  }
  EXPECT_EQ(files.index.total_size, static_cast<int64_t>(total));
  expect_part(kFixture / "transformer", folder, "int8");
  EXPECT_TRUE(fs::exists(out() / "text_encoder_2" / "model.safetensors.index.json"));
  expect_error(ErrorCode::kUsage, "files of 1 B make", [&] {
    darkroom::convert(Checkpoint::dummy("dev"), {.out = out("b"), .weights = "fp8", .shard_bytes = 1}, {},
                      kGoOn);
  });
}

TEST_F(Convert, WhatIsConvertedAlreadyIsCopied) {
  for (const std::string kind : {"fp8", "fp8-scaled", "int8"}) {
    SCOPED_TRACE(kind);
    const fs::path transformer = out(kind + "-2") / "transformer";
    convert(kFixture, {.out = out(kind), .weights = kind});
    convert(out(kind), {.out = out(kind + "-2"), .weights = kind});
    const Catalog first(out(kind) / "transformer"), second(transformer);
    ASSERT_EQ(first.names(), second.names());
    for (const std::string_view name : first.names()) {
      EXPECT_TRUE(bytes_of(first, name) == bytes_of(second, name)) << name;
    }
  }
}

TEST_F(Convert, QuantisedMatricesAreWidenedWithTheirScales) {
  convert(kFixture, {.out = out("scaled"), .weights = "fp8-scaled"});
  convert(out("scaled"), {.out = out("wide"), .weights = "bf16"});
  const Catalog scaled(out("scaled") / "transformer"), wide(out("wide") / "transformer");
  const std::string name = "single_transformer_blocks.1.proj_mlp.weight";
  const OwnedTensor stored = scaled.load(name).value(), scale = scaled.load(name + "_scale").value();
  std::vector<float> values(static_cast<std::size_t>(stored.tensor.shape.numel()));
  const Tensor dense(values.data(), DType::kF32, stored.tensor.shape);
  dequantize_rows(stored.tensor, {scale.tensor.row<float>(0), 1}, dense);
  EXPECT_TRUE(bytes_of(wide, name) == quantized(dense, "bf16").bytes);
  EXPECT_EQ(wide.stored(name + "_scale"), nullptr);
}

TEST_F(Convert, ADummyBecomesAFolderLikeAnyOther) {
  const Checkpoint dummy = Checkpoint::dummy("tiny");
  darkroom::convert(dummy, {.out = out(), .weights = "bf16"}, {}, kGoOn);
  const Checkpoint model = Checkpoint::open(out());
  for (const Part part : kParts) {
    std::map<std::string, Shape> wanted;
    dummy.visit(part, [&](const Param& param, Tensor&) { wanted[param.name] = param.shape; });
    const auto made = dummy.open_weights(part), read = model.open_weights(part);
    model.visit(part, [&](const Param& param, Tensor&) {
      EXPECT_EQ(wanted.at(param.name), param.shape) << param.name;
      EXPECT_TRUE(bytes_of(load(*made, param).tensor) == bytes_of(load(*read, param).tensor)) << param.name;
      wanted.erase(param.name);
    });
    EXPECT_TRUE(wanted.empty()) << part_folder(part);
  }
  EXPECT_EQ(model.config().scheduler.use_dynamic_shifting, dummy.config().scheduler.use_dynamic_shifting);
  EXPECT_EQ(model.config().vae.scaling_factor, dummy.config().vae.scaling_factor);
  const Tokens tokens = model.tokenize("a red star", 16);
  EXPECT_EQ(tokens.clip[1], 2 * ('a' - '!') + 1);
  EXPECT_EQ(tokens.t5, (std::vector<int32_t>{3, 'a' - '!' + 4, 3, 'r' - '!' + 4, 'e' - '!' + 4, 'd' - '!' + 4,
                                             3, 's' - '!' + 4, 't' - '!' + 4, 'a' - '!' + 4, 'r' - '!' + 4, 1,
                                             0, 0, 0, 0}));
}

TEST_F(Convert, TheThreadCountChangesNoByte) {
  make_large_model(folder_ / "large", 3000, 700);
  for (const int threads : {1, 3}) {
    convert(folder_ / "large", {.out = out(std::to_string(threads)), .weights = "int8", .threads = threads});
  }
  const std::string name = "transformer/diffusion_pytorch_model.safetensors";
  EXPECT_TRUE(read_text_file(out("1") / name, 1 << 26) == read_text_file(out("3") / name, 1 << 26));
}

TEST_F(Convert, AMatrixLargerThanMemoryPassesThroughInBlocks) {
  constexpr int64_t kRows = 76'800, kCols = 2048;  // 300 MiB in bf16
  make_large_model(folder_ / "large", kRows, kCols);
  reset_peak();
  const std::size_t before = memory::resident_bytes();
  std::size_t last = 0;
  const ConvertListeners listeners{.on_progress = [&](const ConvertProgress& p) { last = p.bytes_written; },
                                   .on_note = {}};
  convert(folder_ / "large", {.out = out(), .weights = "int8"}, listeners);
  // Two blocks: one as stored, one converted, half as large. AddressSanitizer keeps freed memory besides.
#if !defined(__SANITIZE_ADDRESS__)
  EXPECT_LT(peak_bytes(), before + (64 << 20)) << before;
#else
  EXPECT_GT(peak_bytes(), before);
#endif
  const Catalog catalog(out() / "transformer");
  EXPECT_GT(last, catalog.total_bytes());
  const OwnedTensor stored = catalog.load(kLargeName).value(),
                    stored_scales = catalog.load(std::string(kLargeName) + "_scale").value();
  const Tensor &matrix = stored.tensor, &scales = stored_scales.tensor;
  for (int64_t row = 0; row < kRows; ++row) {
    ASSERT_EQ(scales.row<float>(0)[row], i8_scale(large_value(row))) << row;
    ASSERT_EQ(matrix.row<int8_t>(row)[0], 127) << row;
    ASSERT_EQ(matrix.row<int8_t>(row)[1 + row % (kCols - 1)], 0) << row;
  }
}

TEST_F(Convert, ValuesBeyondTheKindAreClampedAndSaid) {
  std::vector<std::string> notes;
  make_large_model(folder_ / "large", 8, 8);
  const fs::path file = folder_ / "large/transformer/diffusion_pytorch_model.safetensors";
  const TensorFile before(file);
  const OwnedTensor large = before.load(*before.find(kLargeName));
  const std::size_t offset = data_begin(file) + before.find(kLargeName)->begin;
  ASSERT_EQ(to_float(large.tensor.row<BFloat16>(1)[0]), large_value(1));
  const BFloat16 huge = to_bfloat16(-512);
  const int writable = ::open(file.c_str(), O_WRONLY);
  pwrite_all(writable, &huge, 2, offset);
  ::close(writable);
  const ConvertListeners listeners{.on_progress = {},
                                   .on_note = [&](const std::string& note) { notes.push_back(note); }};
  convert(folder_ / "large", {.out = out(), .weights = "fp8"}, listeners);
  ASSERT_EQ(notes.size(), 1u);
  EXPECT_NE(notes[0].find("beyond 448 became 448 in 1 tensor(s), first in "), std::string::npos) << notes[0];
  EXPECT_NE(notes[0].find(kLargeName), std::string::npos) << notes[0];
  const OwnedTensor clamped = Catalog(out() / "transformer").load(kLargeName).value();
  EXPECT_EQ(to_float(clamped.tensor.row<Float8E4M3>(0)[0]), -448.0f);
  notes.clear();
  convert(folder_ / "large", {.out = out("s"), .weights = "fp8-scaled"}, listeners);
  EXPECT_TRUE(notes.empty());
  const BFloat16 more = to_bfloat16(-70'000);
  const int again = ::open(file.c_str(), O_WRONLY);
  pwrite_all(again, &more, 2, offset);
  ::close(again);
  convert(folder_ / "large", {.out = out("f16"), .weights = "f16"}, listeners);
  ASSERT_EQ(notes.size(), 1u);
  EXPECT_TRUE(notes[0].starts_with("values beyond 65504 became 65504 in 1 tensor(s), first in ")) << notes[0];
  EXPECT_TRUE(notes[0].ends_with("; bf16 keeps them")) << notes[0];
  const OwnedTensor half = Catalog(out("f16") / "transformer").load(kLargeName).value();
  EXPECT_EQ(to_float(half.tensor.row<Float16>(0)[0]), -65504.0f);
}

}  // namespace
}  // namespace darkroom
