#include "weights/source.h"

#include <gtest/gtest.h>

#include <cmath>
#include <cstring>
#include <filesystem>
#include <numeric>
#include <set>
#include <string>
#include <vector>

#include "base/expect_error.h"
#include "base/temp_folder.h"
#include "weights/files.h"
#include "weights/loaded.h"
#include "weights/requantizing_source.h"
#include "weights/safetensors.h"

namespace darkroom {
namespace {

// A catalog of F32 tensors, all zero but the first element, which is the tensor's number from 1.
Catalog catalog_of(const TempFolder& folder, const std::vector<std::pair<std::string, Shape>>& tensors) {
  std::vector<std::vector<float>> values;
  std::vector<NamedTensor> named;
  for (const auto& [name, shape] : tensors) {
    values.emplace_back(static_cast<std::size_t>(shape.numel()), 0.0f);
    values.back()[0] = static_cast<float>(values.size());
    named.push_back({name, Tensor(values.back().data(), DType::kF32, shape)});
  }
  write_safetensors(folder / "model.safetensors", named);
  return Catalog(folder / "model.safetensors");
}

float first(const Tensor& tensor) { return tensor.row<float>(0)[0]; }

TEST(CatalogSource, GivesTensorsByNameAndShape) {
  const TempFolder folder;
  CatalogSource source(catalog_of(folder, {{"a.weight", {2, 3}}, {"a.bias", {2}}}));
  const Param weight{"a.weight", {2, 3}};
  const Tensor described = source.describe(weight);
  EXPECT_EQ(described.shape, Shape({2, 3}));
  EXPECT_EQ(described.dtype, DType::kF32);
  EXPECT_EQ(described.device, Device::kNone);
  EXPECT_EQ(described.data, nullptr);
  const OwnedTensor loaded = load(source, weight);
  EXPECT_EQ(std::vector<float>(loaded.tensor.row<float>(0), loaded.tensor.row<float>(0) + 6),
            (std::vector<float>{1, 0, 0, 0, 0, 0}));
  EXPECT_EQ(first(load(source, {"a.bias", {2}}).tensor), 2.0f);
  EXPECT_EQ(source.locate({"a.bias", {2}}).name, "a.bias");
  EXPECT_THROW(source.locate({"b.bias", {2}}), Error);
}

TEST(CatalogSource, AWrongShapeNamesBothShapesAndTheFile) {
  const TempFolder folder;
  CatalogSource source(catalog_of(folder, {{"a.weight", {2, 3}}}));
  const std::string path = (folder / "model.safetensors").string();
  expect_error(ErrorCode::kModel, path + ": tensor 'a.weight' is F32 [2, 3], the config asks for [3, 2]",
               [&] {
                 source.describe({"a.weight", {3, 2}});
               });
  expect_error(ErrorCode::kModel, "asks for [6]", [&] { load(source, {"a.weight", {6}}); });
}

TEST(CatalogSource, AMissingNameShowsTheNearestOnes) {
  const TempFolder folder;
  CatalogSource source(catalog_of(folder, {{"blocks.0.attn.to_q.weight", {1}},
                                           {"blocks.0.attn.to_k.weight", {1}},
                                           {"blocks.11.attn.to_q.weight", {1}},
                                           {"zzzzzzzzzzzzzzzzzzzzzzzzzz", {1}}}));
  expect_error(ErrorCode::kModel,
               "model.safetensors: there is no tensor 'blocks.1.attn.to_q.weight' (nearest: "
               "'blocks.0.attn.to_q.weight', 'blocks.11.attn.to_q.weight', 'blocks.0.attn.to_k.weight')",
               [&] {
                 source.describe({"blocks.1.attn.to_q.weight", {1}});
               });
  CatalogSource empty{Catalog(folder.write("empty.safetensors", scalars_file({})))};
  expect_error(ErrorCode::kModel, "there is no tensor 'x'", [&] { load(empty, {"x", {1}}); });
}

TEST(CatalogSource, NearestNamesStayBoundedOnHostileFiles) {
  std::vector<std::string> names(20000);
  for (std::size_t i = 0; i < names.size(); ++i) names[i] = std::string(190, 'x') + std::to_string(i);
  names.push_back(std::string(100000, 'y'));
  const TempFolder folder;
  CatalogSource source{Catalog(folder.write("a.safetensors", scalars_file(names)))};
  expect_error(ErrorCode::kModel, "(nearest: 'xxx", [&] { source.describe({std::string(300, 'x'), {1}}); });
}

TEST(CatalogSource, PointwiseConvolutionsComeInTwoShapes) {
  const TempFolder folder;
  CatalogSource source(
      catalog_of(folder, {{"conv", {4, 3, 1, 1}}, {"matrix", {4, 3}}, {"real", {4, 3, 3, 3}}}));
  EXPECT_EQ(load(source, {"conv", {4, 3}}).tensor.shape, Shape({4, 3}));
  EXPECT_EQ(load(source, {"matrix", {4, 3, 1, 1}}).tensor.shape, Shape({4, 3, 1, 1}));
  EXPECT_EQ(load(source, {"conv", {4, 3, 1, 1}}).tensor.shape, Shape({4, 3, 1, 1}));
  expect_error(ErrorCode::kModel, "[4, 3, 3, 3]", [&] { source.describe({"real", {4, 3}}); });
  expect_error(ErrorCode::kModel, "[4, 3, 1, 1]", [&] { source.describe({"conv", {3, 4}}); });
  expect_error(ErrorCode::kModel, "[4, 3, 1, 1]", [&] { source.describe({"conv", {12}}); });
}

TEST(CatalogSource, TakesTheFirstPlaceThatTheFileHas) {
  const Spelling spelling = [](const Param& param) {
    return std::vector<StoredPlace>{{.name = "new." + param.name}, {.name = "old." + param.name}};
  };
  const TempFolder both, one;
  CatalogSource with_both(catalog_of(both, {{"new.x", {1}}, {"old.x", {1}}, {"x", {1}}}), spelling);
  EXPECT_EQ(first(load(with_both, {"x", {1}}).tensor), 1.0f);
  EXPECT_EQ(with_both.locate({"x", {1}}).name, "new.x");
  CatalogSource with_old(catalog_of(one, {{"old.x", {1}}, {"y", {1}}}), spelling);
  EXPECT_EQ(with_old.locate({"x", {1}}).name, "old.x");
  expect_error(ErrorCode::kModel, "tensor 'old.x' is F32 [1], the config asks for [2]", [&] {
    with_old.describe({"x", {2}});
  });
  expect_error(ErrorCode::kModel, "there is no tensor 'new.y'", [&] { with_old.describe({"y", {1}}); });
}

// One tensor of six rows, of which the parameter is the last two and, behind them, the first.
TEST(CatalogSource, TakesRowsOneAfterTheOther) {
  const Spelling spelling = [](const Param&) {
    return std::vector<StoredPlace>{{.name = "fused.weight", .rows = {{4, 2}, {0, 1}}, .all_rows = 6}};
  };
  std::vector<float> values(12), scales = {1, 2, 3, 4, 5, 6};
  std::iota(values.begin(), values.end(), 0.0f);
  std::vector<int8_t> codes = {0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11};
  const TempFolder folder;
  const auto source_of = [&](const std::vector<NamedTensor>& tensors) {
    write_safetensors(folder / "a.safetensors", tensors, {.overwrite = true});
    return CatalogSource(Catalog(folder / "a.safetensors"), spelling);
  };
  const Param part{"part", {3, 2}, Role::kMatrix};
  const NamedTensor quantised{"fused.weight", Tensor(codes.data(), DType::kI8, {6, 2})};
  {
    CatalogSource source = source_of({{"fused.weight", Tensor(values.data(), DType::kF32, {6, 2})}});
    const OwnedTensor loaded = load(source, part);
    EXPECT_EQ(loaded.tensor.shape, Shape({3, 2}));
    EXPECT_EQ(std::vector<float>(loaded.tensor.row<float>(0), loaded.tensor.row<float>(0) + 6),
              (std::vector<float>{8, 9, 10, 11, 0, 1}));
    expect_error(ErrorCode::kModel, "tensor 'fused.weight' is F32 [6, 2], the config asks for [6, 3]", [&] {
      source.describe({"part", {3, 3}});
    });
  }
  {
    CatalogSource source =
        source_of({quantised, {"fused.weight_scale", Tensor(scales.data(), DType::kF32, {6})}});
    const OwnedTensor loaded = load(source, part);
    EXPECT_EQ(std::vector<int8_t>(loaded.tensor.row<int8_t>(0), loaded.tensor.row<int8_t>(0) + 6),
              (std::vector<int8_t>{8, 9, 10, 11, 0, 1}));
    EXPECT_EQ(scales_of(loaded.tensor), (std::vector<float>{5, 6, 1}));
    EXPECT_EQ(source.read_scales(part), (std::vector<float>{5, 6, 1}));
    std::vector<int8_t> some(4);  // over the end of the first run
    source.read_rows(part, {1, 2}, std::as_writable_bytes(std::span(some)));
    EXPECT_EQ(some, (std::vector<int8_t>{10, 11, 0, 1}));
    source.read_rows(part, {2, 1}, std::as_writable_bytes(std::span(some).first(2)));
    EXPECT_EQ(some, (std::vector<int8_t>{0, 1, 0, 1}));
    RequantizingSource wide(std::make_unique<CatalogSource>(source), WeightStorage::kBF16);
    std::vector<BFloat16> rows(2);
    wide.read_rows(part, {1, 1}, std::as_writable_bytes(std::span(rows)));
    EXPECT_EQ(to_float(rows[1]), 66.0f);
    EXPECT_TRUE(wide.read_scales(part).empty());
  }
  {
    CatalogSource source =
        source_of({quantised, {"fused.weight_scale", Tensor(scales.data(), DType::kF32, {1})}});
    EXPECT_EQ(scales_of(load(source, part).tensor), (std::vector<float>{1}));
  }
  {  // a vector: its rows are numbers
    CatalogSource source = source_of({{"fused.weight", Tensor(values.data(), DType::kF32, {6})}});
    const OwnedTensor loaded = load(source, {"part", {3}});
    EXPECT_EQ(std::vector<float>(loaded.tensor.row<float>(0), loaded.tensor.row<float>(0) + 3),
              (std::vector<float>{4, 5, 0}));
  }
  CatalogSource source = source_of({{"fused.weight", Tensor(values.data(), DType::kF32, {4, 2})}});
  expect_error(ErrorCode::kModel, "tensor 'fused.weight' is F32 [4, 2], the config asks for [6, 2]",
               [&] { source.describe(part); });
}

TEST(CatalogSource, ScalarsAndIntegers) {
  const TempFolder folder;
  const std::string header =
      R"({"s":{"dtype":"F32","shape":[],"data_offsets":[0,4]},"i":{"dtype":"I32","shape":[1],"data_offsets":[4,8]},)"
      R"("d":{"dtype":"F64","shape":[1],"data_offsets":[8,16]}})";
  CatalogSource source{
      Catalog(folder.write("a.safetensors", safetensors_bytes(header, std::string(16, '\0'))))};
  EXPECT_EQ(load(source, {"s", {1}}).tensor.shape, Shape({1}));
  expect_error(ErrorCode::kModel, "tensor 'i' is I32 [1]: weights of this type are not supported", [&] {
    source.describe({"i", {1}});
  });
  expect_error(ErrorCode::kModel, "tensor 'd' is F64 [1]: weights of this type", [&] {
    load(source, {"d", {1}});
  });
}

// --- Scales ---

// A file with `a.weight` [2, 3] in `type` (one byte an element), its scales, and what others put beside them.
std::string scaled_file(const std::string& type, const std::string& scale_name,
                        const std::string& scale_shape, const std::vector<float>& scales) {
  const std::string end = std::to_string(8 + scales.size() * 4);
  std::string header = R"({"a.weight":{"dtype":")" + type + R"(","shape":[2,3],"data_offsets":[0,6]},)" +
                       R"("scaled_fp8":{"dtype":"F8_E4M3","shape":[2],"data_offsets":[6,8]},")" + scale_name +
                       R"(":{"dtype":"F32","shape":)" + scale_shape + R"(,"data_offsets":[8,)" + end + "]}," +
                       R"("a.input_scale":{"dtype":"F32","shape":[],"data_offsets":[)" + end + "," +
                       std::to_string(12 + scales.size() * 4) + "]}}";
  header.resize((header.size() + 7) / 8 * 8, ' ');
  return safetensors_bytes(header,
                           std::string("\x01\x02\x03\x04\x05\x06\0\0", 8) + raw(scales) + raw<float>({9}));
}

TEST(CatalogSource, ScalesComeWithTheirMatrix) {
  struct Case {
    const char *type, *name, *shape;
    std::vector<float> scales;
  };
  for (const Case& c :
       {Case{"F8_E4M3", "a.weight_scale", "[]", {0.5f}}, Case{"F8_E4M3", "a.scale_weight", "[1]", {0.25f}},
        Case{"F8_E4M3", "a.weight_scale_inv", "[2,1]", {0.5f, 2}},
        Case{"I8", "a.weight_scale_inv", "[]", {3}}, Case{"I8", "a.weight_scale", "[2]", {0.5f, 2}},
        Case{"I8", "a.weight_scale", "[2,1]", {3, 4}}, Case{"F8_E5M2", "a.scale_weight", "[1,1]", {1e6f}}}) {
    SCOPED_TRACE(std::string(c.type) + c.name + c.shape);
    const TempFolder folder;
    CatalogSource source{
        Catalog(folder.write("a.safetensors", scaled_file(c.type, c.name, c.shape, c.scales)))};
    const Param param{"a.weight", {2, 3}, Role::kMatrix};
    const Tensor described = source.describe(param);
    EXPECT_EQ(described.scale_count, static_cast<int64_t>(c.scales.size()));
    EXPECT_EQ(described.bytes_with_scales(), 8 + c.scales.size() * 4);
    EXPECT_EQ(described.scales, nullptr);
    const OwnedTensor owned = load(source, param);
    LoadedWeights weights(source);
    for (const Tensor& tensor : {owned.tensor, weights.load(param)}) {
      EXPECT_EQ(scales_of(tensor), c.scales);
      EXPECT_EQ(std::memcmp(tensor.data, "\x01\x02\x03\x04\x05\x06", 6), 0);
    }
  }
}

TEST(CatalogSource, BrokenScalesAreErrors) {
  int files = 0;
  for (const auto& entry : std::filesystem::directory_iterator(DARKROOM_SOURCE_DIR "/fuzz/broken/scales")) {
    ++files;
    SCOPED_TRACE(entry.path().filename().string());
    CatalogSource source{Catalog(entry.path())};
    expect_error(ErrorCode::kModel, entry.path().string() + ": tensor 'a.", [&] {
      source.describe({"a.weight", {2, 3}});
    });
  }
  EXPECT_GE(files, 15);
  const auto refuse = [](const char* file, const char* why) {
    CatalogSource source{Catalog(std::filesystem::path(DARKROOM_SOURCE_DIR "/fuzz/broken/scales") / file)};
    expect_error(ErrorCode::kModel, why, [&] { source.describe({"a.weight", {2, 3}}); });
  };
  refuse("nan.safetensors", "'a.weight_scale' holds nan at 1; a scale is positive and at most 1e+06");
  refuse("i8_without.safetensors", "'a.weight' is I8 [2, 3] and has no scale");
  refuse("one_per_column.safetensors", "F32 [1, 3], expected F32 with one scale, or one for each of 2 rows");
  refuse("blocks.safetensors",
         "F32 [2, 2], expected F32 with one scale, or one for each of 2 rows; scales of blocks are not "
         "supported");
  refuse("of_bf16.safetensors", "'a.weight' is BF16 [2, 3] and has a scale, 'a.weight_scale'");
  // A scale for what is no matrix.
  const TempFolder folder;
  std::string conv = scaled_file("F8_E4M3", "a.weight_scale", "[]", {0.5f});
  conv.replace(conv.find("[2,3]"), 5, "[6]  ");
  CatalogSource source{Catalog(folder.write("a.safetensors", conv))};
  expect_error(ErrorCode::kModel, "only matrices", [&] { source.describe({"a.weight", {6}}); });
}

// `a.weight` [2, 3] in `type`, its weight_scale, and one tensor of bytes more.
std::string accompanied_file(const std::string& type, const std::string& name, const std::string& text = "{}",
                             const std::string& metadata = "{}") {
  const std::string end = std::to_string(12 + text.size());
  const int bytes = type == "BF16" ? 2 : 1;
  std::string header =
      R"({"__metadata__":)" + metadata + R"(,"a.weight":{"dtype":")" + type + R"(","shape":[)" +
      std::to_string(bytes == 2 ? 1 : 2) + R"(,3],"data_offsets":[0,6]},)" +
      R"("pad":{"dtype":"U8","shape":[2],"data_offsets":[6,8]},")" +
      (bytes == 2 ? "other" : "a.weight_scale") + R"(":{"dtype":"F32","shape":[],"data_offsets":[8,12]},")" +
      name + R"(":{"dtype":"U8","shape":[)" + std::to_string(text.size()) + R"(],"data_offsets":[12,)" + end +
      "]}}";
  return safetensors_bytes(header, std::string(8, '\x01') + raw<float>({0.5f}) + text);
}

TEST(Companions, WhatIsNotKnownBesideAQuantisedMatrixIsRefused) {
  for (const char* name :
       {"a.scale", "a.weight.scale", "a.weight_scale_2", "a.weight_zero_point", "a.zp", "a.qzeros", "a.SCB",
        "a.absmax", "a.weight.absmax", "a.weight.quant_state.bitsandbytes__nf4", "a.pre_quant_scale",
        "a.Scale", "a.smooth_factor", "a.scale_reciprocal", "a_scale", "a_weight_zero_point", "a.g_idx",
        "a.weight_shape"}) {
    for (const char* type : {"F8_E4M3", "F8_E5M2", "I8"}) {
      SCOPED_TRACE(std::string(name) + " " + type);
      const TempFolder folder;
      const std::string path = folder.write("a.safetensors", accompanied_file(type, name)).string();
      expect_error(
          ErrorCode::kModel,
          path + ": tensor '" + name + "' lies beside 'a.weight', " + type + " [2, 3], and is not known",
          [&] { CatalogSource source{Catalog(path)}; });
    }
    const TempFolder folder;
    CatalogSource source{Catalog(folder.write("a.safetensors", accompanied_file("BF16", name)))};
    EXPECT_NO_THROW(source.describe({"a.weight", {1, 3}})) << name;
  }
}

TEST(Companions, WhatIsKnownOrElsewhereIsLeftAlone) {
  for (const char* name : {"a.bias", "a.input_scale", "a.scale_input", "a.input_scale_ub", "scaled_fp8",
                           "model.scaled_fp8", "b.scale", "a.norm.scale", "a.to_q.bias", "ab.scale",
                           "a.lora.weight", "a.comfy", "b_scale", "scale", "a_bias"}) {
    SCOPED_TRACE(name);
    const bool beside = std::string(name) == "a.comfy";
    const TempFolder folder;
    const std::string path = folder.write("a.safetensors", accompanied_file("F8_E4M3", name)).string();
    if (beside) {
      expect_error(ErrorCode::kModel, "is not known", [&] { CatalogSource source{Catalog(path)}; });
    } else {
      EXPECT_EQ(CatalogSource(Catalog(path)).describe({"a.weight", {2, 3}}).scale_count, 1);
    }
  }
}

TEST(Companions, TwoScalesOfOneMatrixAreRefused) {
  const TempFolder folder;
  const std::string path =
      folder.write("a.safetensors", accompanied_file("F8_E4M3", "a.scale_weight")).string();
  expect_error(ErrorCode::kModel, "'a.weight' has two scales, 'a.weight_scale' and 'a.scale_weight'",
               [&] { CatalogSource source{Catalog(path)}; });
}

TEST(Companions, ComfysFormatsAreReadWhereTheyLie) {
  const std::vector<std::pair<std::string, std::string>> formats = {
      {R"({"format":"float8_e4m3fn"})", ""},
      {R"({"format":"float8_e5m2","full_precision_matrix_mult":true})", ""},
      {R"({"format":"int8_tensorwise","convrot":false,"x":null})", ""},
      {R"({"format":"int8_tensorwise","convrot":true})",
       "'convrot' is not known; what the weights mean cannot"},
      {R"({"format":"int8_blockwise"})", "the format 'int8_blockwise' is not known"},
      {R"({})", "the format '' is not known"},
      {R"([])", "expected a JSON object"},
      {R"({"format":)", "not valid JSON"},
  };
  for (const auto& [format, message] : formats) {
    SCOPED_TRACE(format);
    std::string escaped;
    for (const char c : format) escaped += c == '"' ? std::string("\\\"") : std::string(1, c);
    const std::string metadata = R"({"_quantization_metadata":"{\"layers\":{\"a\":)" + escaped + "}}\"}";
    const TempFolder folder;
    const std::string in_tensor =
        folder.write("a.safetensors", accompanied_file("I8", "a.comfy_quant", format)).string();
    const std::string in_metadata =
        folder.write("b.safetensors", accompanied_file("I8", "a.bias", "x", metadata)).string();
    for (const std::string& path : {in_tensor, in_metadata}) {
      if (message.empty()) {
        EXPECT_EQ(CatalogSource(Catalog(path)).describe({"a.weight", {2, 3}}).scale_count, 1);
      } else {
        expect_error(ErrorCode::kModel, message, [&] { CatalogSource source{Catalog(path)}; });
      }
    }
  }
}

// A model as the header describes it: two fields and one list.
struct TwoFields {
  Tensor weight, bias;
  void visit(const VisitFn& visit) {
    visit({"proj.weight", {4, 8}}, weight);
    visit({"proj.bias", {4}}, bias);
  }
};

TEST(Visit, OneListBindsCountsAndPlans) {
  const TempFolder folder;
  CatalogSource source(catalog_of(folder, {{"m.proj.weight", {4, 8}}, {"m.proj.bias", {4}}}));
  TwoFields loaded, planned;
  LoadedWeights weights(source);
  loaded.visit(weights.binder("m."));
  EXPECT_EQ(loaded.weight.shape, Shape({4, 8}));
  EXPECT_EQ(loaded.weight.device, Device::kHost);
  EXPECT_EQ(first(loaded.weight), 1.0f);  // stays when the next one is read
  EXPECT_EQ(first(loaded.bias), 2.0f);
  PlanSource plan(DType::kBF16);
  planned.visit(describe_from(plan));
  EXPECT_EQ(planned.weight.data, nullptr);
  EXPECT_EQ(planned.weight.device, Device::kNone);
  EXPECT_EQ(planned.weight.dtype, DType::kBF16);
  EXPECT_EQ(planned.weight.shape, Shape({4, 8}));
  int64_t parameters = 0;
  planned.visit([&](const Param& param, Tensor&) { parameters += param.shape.numel(); });
  EXPECT_EQ(parameters, 36);
}

// --- DummySource ---

std::vector<float> values_of(const Tensor& tensor) {
  std::vector<float> out;
  for (int64_t i = 0; i < tensor.shape.numel(); ++i) {
    out.push_back(tensor.dtype == DType::kF32 ? tensor.row<float>(0)[i]
                                              : to_float(tensor.row<BFloat16>(0)[i]));
  }
  return out;
}

struct Moments {
  double mean = 0, deviation = 0, largest = 0;
};
Moments moments(const std::vector<float>& values) {
  Moments m;
  for (const float v : values) m.mean += v;
  m.mean /= static_cast<double>(values.size());
  for (const float v : values) {
    m.deviation += (v - m.mean) * (v - m.mean);
    m.largest = std::max(m.largest, std::fabs(v - m.mean));
  }
  m.deviation = std::sqrt(m.deviation / static_cast<double>(values.size()));
  return m;
}

std::vector<float> values_of(WeightSource& source, const std::string& name, const Shape& shape) {
  return values_of(load(source, {name, shape}).tensor);
}

TEST(DummySource, DependsOnNameAndShapeOnly) {
  DummySource one(DType::kBF16), two(DType::kBF16), f32(DType::kF32);
  const std::vector<float> expected = values_of(one, "blocks.0.weight", {64, 96});
  values_of(two, "other.weight", {2048, 96});  // another order
  values_of(two, "blocks.0.bias", {64});
  EXPECT_EQ(values_of(two, "blocks.0.weight", {64, 96}), expected);
  EXPECT_EQ(values_of(f32, "blocks.0.weight", {64, 96}), expected);
  EXPECT_NE(values_of(one, "blocks.1.weight", {64, 96}), expected);
  values_of(one, "huge.weight", {65536, 96});
  EXPECT_EQ(values_of(one, "blocks.0.weight", {64, 96}), expected);
}

// The formula itself is fixed: pictures drawn with dummy weights are golden files.
TEST(DummySource, TheFormulaDoesNotChange) {
  DummySource source(DType::kF32);
  const std::vector<float> w = values_of(source, "proj.weight", {2, 64});
  const std::vector<float> n = values_of(source, "norm.weight", {4});
  const std::vector<float> b = values_of(source, "proj.bias", {4});
  const float u = std::ldexp(1.0f, -10), s = 1.0f / 128, t = std::ldexp(1.0f, -13);
  EXPECT_EQ(std::vector<float>(w.begin(), w.begin() + 4),
            (std::vector<float>{-169 * u, 17 * u, -253 * u, -101 * u}));
  EXPECT_EQ(n, (std::vector<float>{1 - 2 * s, 1 + 2 * s, 1 + 5 * s, 1 - 4 * s}));
  EXPECT_EQ(b, (std::vector<float>{-51 * t, 81 * t, -197 * t, -243 * t}));
}

TEST(DummySource, KeepsNetworksWellConditioned) {
  DummySource source(DType::kBF16);
  for (const int64_t fan_in : {16, 64, 768, 3072, 4096, 15360}) {
    const Moments m = moments(values_of(source, "w" + std::to_string(fan_in) + ".weight", {64, fan_in}));
    const double wanted = 1 / std::sqrt(static_cast<double>(fan_in));
    EXPECT_NEAR(m.mean, 0, wanted / 10);
    EXPECT_GT(m.deviation, wanted / 1.5) << fan_in;
    EXPECT_LT(m.deviation, wanted * 1.5) << fan_in;
    EXPECT_LT(m.largest, 2 * m.deviation);  // uniform
  }
  const Moments conv = moments(values_of(source, "conv.weight", {32, 32, 3, 3}));
  EXPECT_NEAR(conv.deviation * std::sqrt(288.0), 1, 0.5);
  for (const char* name : {"norm1.weight", "query_norm.scale", "layer_norm.weight"}) {
    const std::vector<float> norm = values_of(source, name, {3072});
    EXPECT_NEAR(moments(norm).mean, 1, 0.01) << name;
    EXPECT_LE(moments(norm).largest, 0.14);
  }
  const Moments bias = moments(values_of(source, "norm1.bias", {3072}));
  EXPECT_NEAR(bias.mean, 0, 0.002);
  EXPECT_NEAR(bias.deviation, 1.0 / 64, 0.005);
}

TEST(DummySource, NeighboursDoNotRepeat) {
  DummySource source(DType::kBF16);
  std::set<std::vector<float>> matrices;
  for (int i = 0; i < 100; ++i)
    matrices.insert(values_of(source, "blocks." + std::to_string(i) + ".to_q.weight", {8, 256}));
  EXPECT_GE(matrices.size(), 99u);
  const std::vector<float> values = values_of(source, "w.weight", {256, 256});
  for (std::size_t r = 1; r < 256; ++r) {
    EXPECT_NE(std::memcmp(values.data(), values.data() + r * 256, 256 * sizeof(float)), 0) << r;
  }
}

TEST(DummySource, OddSizesAndEmptyTensors) {
  DummySource f32(DType::kF32), bf16(DType::kBF16);
  for (DummySource* source : {&f32, &bf16}) {
    // Numbers are made in groups of eight; these are not all of one.
    const std::vector<float> odd = values_of(*source, "a.weight", {3, 5});
    const std::vector<float> more = values_of(*source, "a.weight", {16, 5});
    EXPECT_EQ(odd, std::vector<float>(more.begin(), more.begin() + 15));
    EXPECT_EQ(load(*source, {"b.weight", {0, 5}}).tensor.rows(), 0);
    EXPECT_EQ(values_of(*source, "c.weight", {1}).size(), 1u);
    const Param whole{"a.weight", {16, 5}};
    for (const RowRange rows :
         {RowRange{0, 16}, RowRange{3, 1}, RowRange{1, 9}, RowRange{15, 1}, RowRange{4, 0}}) {
      const OwnedTensor all = load(*source, whole);
      const std::size_t row = row_bytes(all.tensor.dtype, 5);
      std::vector<std::byte> some(static_cast<std::size_t>(rows.count) * row);
      source->read_rows(whole, rows, some);
      EXPECT_TRUE(std::ranges::equal(
          some, std::span(all.memory.data() + static_cast<std::size_t>(rows.first) * row, some.size())));
    }
    std::vector<std::byte> few(3);
    expect_error(ErrorCode::kFailure, "bytes, 3 were asked for", [&] {
      source->read({"a.weight", {3, 5}}, few);
    });
  }
  expect_error(ErrorCode::kFailure, "dummy weights are f32 or bf16, not f16",
               [] { DummySource f16(DType::kF16); });
}

}  // namespace
}  // namespace darkroom
