// Files that look right and are not: each is an error of one line, or passed over.
#include <gtest/gtest.h>

#include "base/expect_error.h"
#include "checkpoint/search.h"
#include "small_files.h"

namespace darkroom {
namespace {

namespace fs = std::filesystem;

class Broken : public HubTest {
 protected:
  Broken() { file_.add_all(small_.in(Part::kTransformer, Names::kBfl)); }
  // Opens the file and reads every parameter.
  void expect(const std::string& message) const {
    file_.write(folder_ / "x.safetensors", metadata_);
    expect_error(ErrorCode::kModel, message, [&] { read(folder_ / "x.safetensors"); });
  }
  void read(const fs::path& path) const {
    const PartFiles files = open_part_file(path, Part::kTransformer);
    const flux::Config config = transformer_config(files);
    CatalogSource source(*files.catalog,
                         spelling_of(Part::kTransformer, files.names, {.inner_dim = config.inner_dim()}));
    flux::Weights().visit(config, [&](const Param& param, Tensor&) { load(source, param); });
  }
  // One matrix packed by bitsandbytes.
  void pack(bool nested) {
    const std::vector<float> codes(kNF4Values.begin(), kNF4Values.end());
    file_.add(kMatrix, DType::kU8, {128 * 256, 1}, std::vector<uint8_t>(128 * 256, 0x77));
    file_.add(matrix(".quant_map"), DType::kF32, {16}, codes);
    nlohmann::json state = {{"blocksize", 64}, {"shape", {256, 256}}, {"quant_type", "nf4"}};
    if (nested) {
      state.update({{"nested_blocksize", 256}, {"nested_offset", 0.5}});
      file_.add(matrix(".absmax"), DType::kU8, {1024}, std::vector<uint8_t>(1024, 3));
      file_.add(matrix(".nested_absmax"), DType::kF32, {4}, std::vector<float>(4, 1));
      file_.add(matrix(".nested_quant_map"), DType::kF32, {256}, std::vector<float>(256, 0.25f));
    } else {
      file_.add(matrix(".absmax"), DType::kF32, {1024}, std::vector<float>(1024, 1));
    }
    state_ = state;
    set_state(state.dump());
  }
  void set_state(const std::string& text) { file_.add_text(matrix(".quant_state.bitsandbytes__nf4"), text); }
  static std::string matrix(const std::string& ending) { return kMatrix + ending; }

  static inline const std::string kMatrix = "double_blocks.0.img_attn.proj.weight";
  const SmallModel small_{false};
  FileMaker file_;
  std::map<std::string, std::string> metadata_;
  nlohmann::json state_;
};

TEST_F(Broken, StatesOfBitsandbytesThatMakeNoSense) {
  pack(false);
  file_.write(folder_ / "good.safetensors");
  read(folder_ / "good.safetensors");
  for (const char* text :
       {"", "x", "{", "[]", "{}", "null", "\xff\xfe", "{\"blocksize\":64}", "{\"blocksize\":\"64\"}",
        "{\"blocksize\":64,\"shape\":[]}", "{\"blocksize\":64,\"shape\":[\"a\",2]}"}) {
    SCOPED_TRACE(text);
    set_state(text);
    expect(kMatrix);
  }
  const auto with = [&](const char* key, const nlohmann::json& value) {
    nlohmann::json state = state_;
    state[key] = value;
    set_state(state.dump());
  };
  for (const nlohmann::json& value : {nlohmann::json(0), nlohmann::json(-64), nlohmann::json(1e30),
                                      nlohmann::json(64.5), nlohmann::json(48), nlohmann::json(1 << 19)}) {
    with("blocksize", value);
    expect(kMatrix);
  }
  for (const auto& shape :
       {std::vector<int64_t>{256}, std::vector<int64_t>{256, 128}, std::vector<int64_t>{512, 256},
        std::vector<int64_t>{-256, -256}, std::vector<int64_t>{int64_t{1} << 40, 64},
        std::vector<int64_t>{int64_t{1} << 31, int64_t{1} << 31}, std::vector<int64_t>{65536, 1},
        std::vector<int64_t>{256, 16, 16}, std::vector<int64_t>{128, 512}}) {
    with("shape", shape);
    expect(kMatrix);
  }
}

TEST_F(Broken, CompanionsOfBitsandbytesThatContradict) {
  pack(false);
  file_.add(matrix(".absmax"), DType::kF32, {1000}, std::vector<float>(1000, 1));
  expect("its '.absmax' is F32 [1000], expected F32 of 1024 elements");
  file_.erase(matrix(".absmax"));
  expect("is packed by bitsandbytes and its '.absmax' is not there");
  for (const float scale : {NAN, INFINITY, -INFINITY}) {
    std::vector<float> scales(1024, 1);
    scales[1000] = scale;
    file_.add(matrix(".absmax"), DType::kF32, {1024}, scales);
    expect("has the scale");
  }
  pack(false);
  file_.add(matrix(".quant_map"), DType::kF32, {16}, std::vector<float>(16, NAN));
  expect("code 0 of its quant_map is nan, bitsandbytes' own is -1");
  file_.add(matrix(".quant_map"), DType::kF32, {16}, std::vector<float>(16, 0));
  expect("code 0 of its quant_map is 0");
  file_.erase(matrix(".quant_map"));
  expect("its '.quant_map' is not there");
  pack(true);
  file_.write(folder_ / "good.safetensors");
  read(folder_ / "good.safetensors");
  for (const char* ending : {".nested_quant_map", ".nested_absmax", ".absmax"}) {
    pack(true);
    file_.erase(matrix(ending));
    expect("its '" + std::string(ending) + "' is not there");
  }
  pack(true);
  file_.add(matrix(".absmax"), DType::kF32, {1024}, std::vector<float>(1024, 1));
  expect("its '.absmax' is F32 [1024], expected U8 of 1024 elements");
  pack(true);
  file_.add(matrix(".nested_quant_map"), DType::kF32, {256}, std::vector<float>(256, NAN));
  expect("has the scale nan");
  pack(true);
  file_.erase(matrix(".quant_state.bitsandbytes__nf4"));
  expect(kMatrix);
}

TEST_F(Broken, FormatsOfComfyThatAreNotKnown) {
  const std::string layer = "single_blocks.0.linear2.";
  file_.add(layer + "weight", DType::kF8E4M3, {256, 1280}, std::vector<uint8_t>(256 * 1280, 0x38));
  file_.add(layer + "weight_scale", DType::kF32, {1}, std::vector<float>{0.5f});
  file_.add_text(layer + "comfy_quant", R"({"format":"float8_e4m3fn"})");
  file_.write(folder_ / "good.safetensors");
  read(folder_ / "good.safetensors");
  for (const char* text : {"", "{", "7", "[]", "{}", R"({"format":"nvfp4"})", R"({"format":7})", "\xc3\x28",
                           R"({"format":"float8_e4m3fn","block":[32,32]})"}) {
    SCOPED_TRACE(text);
    file_.add_text(layer + "comfy_quant", text);
    expect("comfy_quant");
  }
  file_.erase(layer + "comfy_quant");
  for (const char* text : {"{", R"({"layers":7})", R"({"layers":{"a":{"format":"int3"}}})"}) {
    metadata_ = {{"_quantization_metadata", text}};
    expect("_quantization_metadata");
  }
  metadata_.clear();
  for (const float scale : {NAN, INFINITY, 0.0f, -1.0f, 1e7f, 1e-42f}) {
    file_.add(layer + "weight_scale", DType::kF32, {1}, std::vector<float>{scale});
    expect("a scale is positive and at most");
  }
}

TEST_F(Broken, ShardsOfTwoModels) {
  const Tensors all = small_.of(Part::kTransformer);
  nlohmann::json map;
  FileMaker first, second, stranger;
  std::size_t n = 0;
  for (const auto& [name, numbers] : all) {
    const bool early = n++ < all.size() / 2;
    map[name] = early ? "d-00001-of-00002.safetensors" : "d-00002-of-00002.safetensors";
    (early ? first : second).add(name, numbers, DType::kF32);
    if (early && name != all.begin()->first) stranger.add(name, numbers, DType::kF32);
  }
  const fs::path index = folder_ / "d.safetensors.index.json";
  std::ofstream(index) << nlohmann::json{{"weight_map", map}};
  second.write(folder_ / "d-00002-of-00002.safetensors");
  expect_error(ErrorCode::kModel, "this file is missing (1 of the 2", [&] { read(index); });
  stranger.write(folder_ / "d-00001-of-00002.safetensors");
  expect_error(ErrorCode::kModel, "the files do not belong together", [&] { read(index); });
  first.write(folder_ / "d-00001-of-00002.safetensors");
  read(index);
  map[all.begin()->first] = "../d-00001-of-00002.safetensors";
  std::ofstream(index) << nlohmann::json{{"weight_map", map}};
  expect_error(ErrorCode::kModel, "expected the plain name of a .safetensors file", [&] { read(index); });
}

std::string with_header(const std::string& header, const std::string& data = "") {
  std::string out;
  for (int i = 0; i < 8; ++i) out += static_cast<char>(static_cast<uint64_t>(header.size()) >> (8 * i));
  return out + header + data;
}

TEST_F(Broken, NamesOfAMebibyteAndNamesTwice) {
  const std::string shape = R"(":{"dtype":"F32","shape":[1],"data_offsets":[0,4]})";
  const auto expect_text = [&](const std::string& text, const std::string& message) {
    expect_error(ErrorCode::kModel, message, [&] { read(folder_.write("x.safetensors", text)); });
  };
  const std::string one = "\"" + std::string(1 << 20, 'a') + shape;
  expect_text(with_header("{" + one + "}", "1234"), "x.safetensors");
  const std::string prefixed = "\"double_blocks.0.img_attn.qkv.weight" + std::string(1 << 20, '.') + shape;
  expect_text(with_header("{" + prefixed + "}", "1234"), "x.safetensors");
  const std::string twice = "\"a" + shape;
  expect_text(with_header("{" + twice + "," + twice + "}", "1234"), "a");
  expect_text(
      with_header(
          R"({"img_in.weight":{"dtype":"F32","shape":[],"data_offsets":[0,4]},)"
          R"("double_blocks.0.img_attn.qkv.weight":{"dtype":"F32","shape":[0],"data_offsets":[4,4]}})",
          "1234"),
      "x.safetensors");
}

// Found by fuzz_checkpoint: extents of tensors without elements may be of any size.
TEST_F(Broken, SizesFromTensorsWithoutElements) {
  const auto expect_no_size = [&](Part part, const char* name, const std::vector<int64_t>& extents) {
    FileMaker file;
    file.add_all(small_.of(part));
    file.erase(name);
    std::string text = with_header(fmt::format(
        R"({{"{}":{{"dtype":"F32","shape":[{}],"data_offsets":[0,0]}}}})", name, fmt::join(extents, ",")));
    fs::remove(folder_ / "x.safetensors");
    file.write(folder_ / "part-00001-of-00002.safetensors");
    folder_.write("part-00002-of-00002.safetensors", text);
    nlohmann::json map;
    for (const auto& [tensor, unused] : small_.of(part))
      map[tensor] = fmt::format("part-0000{}-of-00002.safetensors", tensor == name ? 2 : 1);
    folder_.write("part.safetensors.index.json", nlohmann::json{{"weight_map", map}}.dump());
    expect_error(ErrorCode::kModel, "which tells no size", [&] {
      const PartFiles files = open_part_file(folder_ / "part.safetensors.index.json", part);
      part == Part::kT5 ? static_cast<void>(t5_config(files)) : static_cast<void>(clip_config(files));
    });
  };
  const int64_t huge = int64_t{1} << 62;
  expect_no_size(Part::kT5, "encoder.block.0.layer.1.DenseReluDense.wi_0.weight", {huge, 0});
  expect_no_size(Part::kClip, "text_model.encoder.layers.0.mlp.fc1.weight", {huge, 0});
  expect_no_size(Part::kClip, "text_model.embeddings.position_embedding.weight", {0, huge});
}

}  // namespace
}  // namespace darkroom
