// One model in every layout draws the same picture, byte for byte; in every format that of the numbers which
// the file means.
#include <gtest/gtest.h>

#include <algorithm>

#include "pipeline/drawn.h"
#include "small_files.h"

namespace darkroom {
namespace {

namespace fs = std::filesystem;

std::vector<float> draw(const CheckpointPaths& paths) {
  Request request = small_request();
  request.steps = 1;
  const Picture drawn = draw(Checkpoint::open(paths), request).picture;
  std::vector<float> out = drawn.latents;
  for (const uint8_t byte : drawn.image.rgb) out.push_back(byte);  // and the VAE's work
  return out;
}

double decibel(const std::vector<float>& got, const std::vector<float>& want) {
  if (got.size() != want.size()) return -1;
  double error = 0, largest = 0;
  for (std::size_t i = 0; i < want.size(); ++i) {
    error += std::pow(static_cast<double>(got[i]) - want[i], 2);
    largest = std::max(largest, std::fabs(static_cast<double>(want[i])));
  }
  return error == 0 ? 1000 : 10 * std::log10(largest * largest * static_cast<double>(want.size()) / error);
}

// Written once for all cases.
class Layouts : public HubTest {
 protected:
  static void SetUpTestSuite() {
    model_ = new SmallModel(true);
    shared_ = new TempFolder();
    model_->write_model(*shared_ / "model");
    expected_ = new std::vector<float>(draw({(*shared_ / "model").string(), {}, {}, {}}));
  }
  static void TearDownTestSuite() {
    delete model_;
    delete shared_;
    delete expected_;
  }
  static const SmallModel& model() { return *model_; }
  static fs::path base() { return *shared_ / "model"; }
  // A transformer's file with the other parts of the base model.
  static CheckpointPaths with_base(const fs::path& file) { return {file.string(), base(), base(), base()}; }
  void expect_same(const CheckpointPaths& paths) const {
    const std::vector<float> got = draw(paths);
    const auto [at, unused] = std::ranges::mismatch(got, *expected_);
    EXPECT_TRUE(got == *expected_) << paths.model << ": number " << at - got.begin() << " of " << got.size()
                                   << ", " << decibel(got, *expected_) << " dB";
  }

  // A transformer in their names whose matrices are written by `add`, which returns what they mean, beside a
  // folder of these numbers.
  using AddMatrix = std::function<Numbers(FileMaker& file, const std::string& name, const Numbers& matrix)>;
  void expect_means(const char* name, Names names, const AddMatrix& add, bool gguf = false) const {
    SCOPED_TRACE(name);
    const Tensors theirs = model().in(Part::kTransformer, names);
    FileMaker file;
    Tensors means = theirs;
    for (const auto& [tensor, numbers] : theirs) {
      if (numbers.quantizable) {
        means[tensor] = add(file, tensor, numbers);
      } else {
        file.add(tensor, numbers, DType::kF32);
      }
    }
    const fs::path path = folder_ / (std::string(name) + (gguf ? ".gguf" : ".safetensors"));
    gguf ? file.write_as_gguf(path) : file.write(path);
    model().write_folder(folder_ / name / "transformer", Part::kTransformer,
                         unspelled(means, model().of(Part::kTransformer), Part::kTransformer, names,
                                   model().config.transformer.inner_dim()));
    const std::vector<float> got = draw(with_base(path)),
                             want = draw(with_base(folder_ / name / "transformer"));
    EXPECT_GE(decibel(got, want), 60);
    EXPECT_NE(want, *expected_);
    RecordProperty(name, std::to_string(decibel(got, want)));
  }

 private:
  static inline SmallModel* model_ = nullptr;
  static inline TempFolder* shared_ = nullptr;
  static inline std::vector<float>* expected_ = nullptr;
};

TEST_F(Layouts, FilesBesideTheTransformer) {
  model().write(folder_ / "flux1-dev.safetensors", Part::kTransformer, Names::kBfl);
  model().write(folder_ / "ae.safetensors", Part::kVae, Names::kBfl);
  model().write(folder_ / "clip_l.safetensors", Part::kClip);
  model().write(folder_ / "t5xxl.safetensors", Part::kT5);
  expect_same({(folder_ / "flux1-dev.safetensors").string(), {}, {}, {}});
  expect_same({folder_.path().string(), {}, {}, {}});
}

TEST_F(Layouts, AllInOne) {
  FileMaker file;
  file.add_all(model().in(Part::kTransformer, Names::kBfl), "model.diffusion_model.");
  file.add_all(model().in(Part::kVae, Names::kBfl), "vae.");
  file.add_all(model().of(Part::kClip), "text_encoders.clip_l.transformer.");
  file.add_all(model().of(Part::kT5), "text_encoders.t5xxl.transformer.");
  file.add("text_encoders.clip_l.logit_scale", DType::kF32, {1}, std::vector<float>{4.6f});
  file.write(folder_ / "all.safetensors");
  expect_same({(folder_ / "all.safetensors").string(), {}, {}, {}});
}

TEST_F(Layouts, TheTreeOfAnotherProgram) {
  model().write(folder_ / "models/diffusion_models/x.safetensors", Part::kTransformer, Names::kBfl,
                "model.diffusion_model.");
  model().write(folder_ / "models/vae/a.safetensors", Part::kVae);
  model().write(folder_ / "models/clip/c.safetensors", Part::kClip);
  FileMaker t5;
  for (const auto& [name, numbers] : model().in(Part::kT5, Names::kLlama)) t5.add(name, numbers, DType::kF32);
  t5.write_as_gguf(folder_ / "models/text_encoders/t5.gguf");
  expect_same({(folder_ / "models/diffusion_models/x.safetensors").string(), {}, {}, {}});
  expect_same({folder_.path().string(), {}, {}, {}});
}

TEST_F(Layouts, DiffusersNamesInAFile) {
  model().write(folder_ / "x.safetensors", Part::kTransformer, Names::kDiffusers, "transformer.");
  expect_same(with_base(folder_ / "x.safetensors"));
}

TEST_F(Layouts, GgufBlocks) {
  for (const auto& [name, dtype] : {std::pair("q8_0", DType::kQ8_0), std::pair("q4_k", DType::kQ4K)}) {
    const auto add = [dtype = dtype](FileMaker& file, const std::string& tensor, const Numbers& matrix) {
      return file.add(tensor, matrix, dtype);
    };
    expect_means(name, Names::kBfl, add, true);
  }
}

// Runs of 64 as bitsandbytes packs them; nested scales are bytes of a map, in runs of 256.
Numbers add_packed(FileMaker& file, const std::string& name, const Numbers& matrix, bool nf4, bool nested) {
  const std::array<float, 16> codes = nf4 ? kNF4Values : kFP4Values;
  const std::size_t runs = matrix.values.size() / 64;
  std::vector<float> scales(runs), map(256), outer((runs + 255) / 256, 0.25f);
  std::vector<uint8_t> inner(runs), packed(matrix.values.size() / 2);
  for (std::size_t i = 0; i < 256; ++i) map[i] = static_cast<float>(i) / 128 - 1;
  constexpr float kOffset = 0.0625f;
  Numbers means = matrix;
  for (std::size_t run = 0; run < runs; ++run) {
    const float* values = matrix.values.data() + 64 * run;
    for (int i = 0; i < 64; ++i) scales[run] = std::max(scales[run], std::fabs(values[i]));
    if (nested) {
      inner[run] =
          static_cast<uint8_t>(std::clamp((scales[run] - kOffset) / 0.25f * 128 + 128.5f, 0.0f, 255.0f));
      scales[run] = map[inner[run]] * 0.25f + kOffset;
    }
    for (std::size_t i = 0; i < 64; ++i) {
      const auto distance = [&](float code) { return std::fabs(code * scales[run] - values[i]); };
      const auto code = std::ranges::min_element(codes, {}, distance) - codes.begin();
      packed[(64 * run + i) / 2] |=
          static_cast<uint8_t>(i % 2 == 0 ? code << 4 : code);  // the first is the high half
      means.values[64 * run + i] = codes[static_cast<std::size_t>(code)] * scales[run];
    }
  }
  const auto size = [](const auto& list) { return static_cast<int64_t>(list.size()); };
  nlohmann::json state = {{"quant_type", nf4 ? "nf4" : "fp4"},
                          {"blocksize", 64},
                          {"dtype", "bfloat16"},
                          {"shape", matrix.extents}};
  file.add(name, DType::kU8, {size(packed), 1}, packed);
  file.add(name + ".quant_map", DType::kF32, {16}, std::vector<float>(codes.begin(), codes.end()));
  if (nested) {
    state.update({{"nested_blocksize", 256}, {"nested_dtype", "float32"}, {"nested_offset", kOffset}});
    file.add(name + ".absmax", DType::kU8, {size(inner)}, inner);
    file.add(name + ".nested_absmax", DType::kF32, {size(outer)}, outer);
    file.add(name + ".nested_quant_map", DType::kF32, {256}, map);
  } else {
    file.add(name + ".absmax", DType::kF32, {size(scales)}, scales);
  }
  file.add_text(name + ".quant_state.bitsandbytes__" + (nf4 ? "nf4" : "fp4"), state.dump());
  return means;
}

TEST_F(Layouts, PackedByBitsandbytes) {
  struct Case {
    const char* name;
    bool nf4, nested;
  };
  for (const Case& c :
       {Case{"nf4", true, false}, Case{"nf4-nested", true, true}, Case{"fp4", false, false}}) {
    const auto add = [&](FileMaker& file, const std::string& tensor, const Numbers& matrix) {
      return add_packed(file, tensor, matrix, c.nf4, c.nested);
    };
    expect_means(c.name, c.nested ? Names::kBfl : Names::kDiffusers, add);
  }
}

TEST_F(Layouts, ScaledFp8InBothStyles) {
  for (const bool old : {true, false}) {
    const auto add = [&](FileMaker& file, const std::string& tensor, const Numbers& matrix) {
      Numbers means = matrix;
      const Shape shape{std::span(means.extents)};
      const Tensor values(means.values.data(), DType::kF32, shape);
      std::vector<std::byte> stored(means.values.size());
      const float scale = f8_scale(absmax(values));
      const Tensor bytes(stored.data(), DType::kF8E4M3, shape);
      quantize_rows(values, {&scale, 1}, bytes);
      dequantize_rows(bytes, {&scale, 1}, values);
      file.add(tensor, DType::kF8E4M3, means.extents, stored);
      const std::string layer = tensor.substr(0, tensor.size() - 6);
      file.add(layer + (old ? "scale_weight" : "weight_scale"), DType::kF32, {1}, std::vector<float>{scale});
      if (old) {
        file.add(layer + "scale_input", DType::kF32, {1}, std::vector<float>{7});
        file.add("scaled_fp8", DType::kF8E4M3, {2}, std::vector<uint8_t>(2));
      } else {
        file.add_text(layer + "comfy_quant", R"({"format":"float8_e4m3fn"})");
      }
      return means;
    };
    expect_means(old ? "fp8-old" : "fp8-new", Names::kBfl, add);
  }
}

}  // namespace
}  // namespace darkroom
