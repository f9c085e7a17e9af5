// What a model becomes in each layout, and that it stays the same model.
#include <gtest/gtest.h>
#include <signal.h>
#include <sys/wait.h>

#include <cstdlib>
#include <nlohmann/json.hpp>

#include "base/expect_error.h"
#include "base/file_map.h"
#include "base/new_folder.h"
#include "base/temp_folder.h"
#include "checkpoint/own_config.h"
#include "convert/convert.h"
#include "large_model.h"
#include "memory/budget.h"
#include "process_peak.h"
#include "stored_models.h"
#include "weights/gguf.h"
#include "weights/loaded.h"

namespace darkroom {
namespace {

namespace fs = std::filesystem;

const fs::path kFixture = DARKROOM_SOURCE_DIR "/tests/fixtures/pipelines/dev_small";
const fs::path kPinhole = DARKROOM_SOURCE_DIR "/assets/pinhole";
const std::atomic<bool> kGoOn{false};

std::string bytes_of(const Catalog& catalog, std::string_view name) {
  const OwnedTensor loaded = catalog.load(name).value();
  return {static_cast<const char*>(loaded.tensor.data), loaded.tensor.bytes()};
}

class ConvertLayouts : public testing::Test {
 protected:
  fs::path out(const std::string& name = "out") const { return folder_ / name; }
  void convert(const CheckpointPaths& in, const ConvertOptions& options) {
    darkroom::convert(Checkpoint::open(in), options,
                      {.on_progress = {}, .on_note = [&](const std::string& n) { notes_.push_back(n); }},
                      kGoOn);
  }
  void convert(const fs::path& in, const ConvertOptions& options) {
    convert({in.string(), {}, {}, {}}, options);
  }
  static void expect_same_model(const fs::path& a, const fs::path& b) {
    const Checkpoint one = Checkpoint::open(a), two = Checkpoint::open(b);
    for (const Part part : kParts) {
      SCOPED_TRACE(part_folder(part));
      const auto first = one.open_weights(part), second = two.open_weights(part);
      std::size_t count = 0;
      const VisitFn compare = [&](const Param& param, Tensor&) {
        EXPECT_TRUE(widened(*first, param) == widened(*second, param)) << param.name;
        ++count;
      };
      two.visit(part, compare);
      if (part == Part::kVae) two.visit_encoder(compare);
      std::size_t wanted = 0;
      one.visit(part, [&](const Param&, Tensor&) { ++wanted; });
      EXPECT_GE(count, wanted);
    }
    const ModelConfig &c = one.config(), &d = two.config();
    EXPECT_EQ(c.transformer.axes_dims_rope, d.transformer.axes_dims_rope);
    EXPECT_EQ(c.clip.num_heads, d.clip.num_heads);
    EXPECT_EQ(c.clip.eos_token_id, d.clip.eos_token_id);
    EXPECT_EQ(c.t5.max_distance, d.t5.max_distance);
    EXPECT_EQ(c.vae.norm_num_groups, d.vae.norm_num_groups);
    EXPECT_EQ(c.vae.scaling_factor, d.vae.scaling_factor);
    EXPECT_EQ(c.vae.shift_factor, d.vae.shift_factor);
    EXPECT_EQ(c.scheduler.use_dynamic_shifting, d.scheduler.use_dynamic_shifting);
    EXPECT_EQ(c.scheduler.shift, d.scheduler.shift);
    EXPECT_EQ(to_json(one.settings()), to_json(two.settings()));
    const Tokens x = one.tokenize("a red star", 20), y = two.tokenize("a red star", 20);
    EXPECT_EQ(x.clip, y.clip);
    EXPECT_EQ(x.t5, y.t5);
  }
  const TempFolder folder_;
  std::vector<std::string> notes_;
};

TEST_F(ConvertLayouts, ThereAndBackIsTheSameModel) {
  for (const fs::path& model : {kFixture, kPinhole, kPinhole / "dev"}) {
    SCOPED_TRACE(model);
    const fs::path single = out(model.filename().string() + ".safetensors"),
                   gguf = out(model.filename().string() + "-gguf");
    convert(model, {.out = single, .weights = "as-stored", .layout = "single"});
    convert(model, {.out = gguf, .weights = "as-stored", .layout = "gguf"});
    expect_same_model(model, single);
    expect_same_model(model, gguf);
    for (const fs::path& other : {single, gguf}) {
      const fs::path back = other.string() + "-back";
      convert(other, {.out = back, .weights = "as-stored"});
      expect_same_model(model, back);
    }
    convert(single, {.out = gguf.string() + "-2", .weights = "as-stored", .layout = "gguf"});
    expect_same_model(model, gguf.string() + "-2");
    convert(gguf, {.out = single.string() + "-2", .weights = "as-stored", .layout = "single"});
    expect_same_model(model, single.string() + "-2");
  }
}

TEST_F(ConvertLayouts, ASingleFileHasTheNamesOfComfyUI) {
  convert(kFixture, {.out = out("a.safetensors"), .weights = "bf16", .layout = "single"});
  const TensorFile file(out("a.safetensors"));
  const Catalog before(kFixture / "transformer"), after(out("a.safetensors"));
  EXPECT_EQ(file.metadata().at("format"), "pt");
  EXPECT_EQ(misaligned_bytes(out("a.safetensors")), 0u);
  const std::string block = "transformer_blocks.1.attn.", model = "model.diffusion_model.";
  EXPECT_EQ(bytes_of(after, model + "double_blocks.1.img_attn.qkv.weight"),
            bytes_of(before, block + "to_q.weight") + bytes_of(before, block + "to_k.weight") +
                bytes_of(before, block + "to_v.weight"));
  EXPECT_EQ(bytes_of(after, model + "double_blocks.0.txt_attn.norm.query_norm.scale"),
            bytes_of(before, "transformer_blocks.0.attn.norm_added_q.weight"));
  const std::string single = "single_transformer_blocks.0.";
  EXPECT_EQ(bytes_of(after, model + "single_blocks.0.linear1.bias"),
            bytes_of(before, single + "attn.to_q.bias") + bytes_of(before, single + "attn.to_k.bias") +
                bytes_of(before, single + "attn.to_v.bias") + bytes_of(before, single + "proj_mlp.bias"));
  const std::string norm_out = bytes_of(before, "norm_out.linear.weight");
  EXPECT_EQ(bytes_of(after, model + "final_layer.adaLN_modulation.1.weight"),
            norm_out.substr(norm_out.size() / 2) + norm_out.substr(0, norm_out.size() / 2));
  for (const char* name :
       {"text_encoders.clip_l.transformer.text_model.embeddings.token_embedding.weight",
        "text_encoders.t5xxl.transformer.shared.weight", "vae.encoder.down.0.block.0.conv1.weight",
        "vae.decoder.up.3.block.0.conv1.bias"}) {
    EXPECT_NE(file.find(name), nullptr) << name;
  }
  const StoredTensor* q = file.find("vae.decoder.mid.attn_1.q.weight");
  ASSERT_NE(q, nullptr);
  ASSERT_EQ(q->extents.size(), 4u);
  EXPECT_EQ(q->extents[2] * q->extents[3], 1);
}

TEST_F(ConvertLayouts, PartsOfASingleFile) {
  convert(kFixture, {.out = out("t"), .weights = "bf16", .layout = "single", .parts = "transformer"});
  EXPECT_NE(TensorFile(out("t")).find("img_in.weight"), nullptr);
  convert(kFixture, {.out = out("v"), .weights = "bf16", .layout = "single", .parts = "vae"});
  convert(kFixture, {.out = out("c"), .weights = "bf16", .layout = "single", .parts = "clip"});
  convert(kFixture, {.out = out("5"), .weights = "bf16", .layout = "gguf", .parts = "t5"});
  convert({out("t").string(), out("c"), out("5"), out("v")}, {.out = out("whole"), .weights = "bf16"});
  expect_same_model(kFixture, out("whole"));
  convert(kFixture, {.out = out("two"), .weights = "bf16", .layout = "single", .parts = "vae,transformer"});
  EXPECT_NE(TensorFile(out("two")).find("model.diffusion_model.img_in.weight"), nullptr);
  convert(kFixture, {.out = out("folder"), .weights = "bf16", .parts = "t5"});
  EXPECT_TRUE(fs::exists(out("folder") / "tokenizer_2" / "tokenizer.json"));
  EXPECT_FALSE(fs::exists(out("folder") / "transformer"));
}

TEST_F(ConvertLayouts, GgufHoldsWhatQuantizeRowsMakes) {
  for (const char* kind : {"q8_0", "q4_0", "q4_1", "q5_0", "q5_1"}) {
    SCOPED_TRACE(kind);
    convert(kFixture, {.out = out(kind), .weights = kind, .text_weights = kind, .layout = "gguf"});
    const TensorFile file(out(kind) / "transformer.gguf");
    ASSERT_TRUE(file.is_gguf());
    EXPECT_EQ(file.fields()->text("general.architecture"), "flux");
    EXPECT_EQ(file.fields()->number<int32_t>("general.quantization_version"), 2);
    EXPECT_TRUE(file.fields()->has("general.file_type"));
    const Catalog before(kFixture / "transformer");
    const DType dtype = storage_dtype(*parse_storage(kind));
    const StoredTensor* fused = file.find("double_blocks.0.img_attn.qkv.weight");
    ASSERT_NE(fused, nullptr);
    EXPECT_EQ(fused->dtype, dtype);
    const OwnedTensor stored = file.load(*fused);
    int64_t row = 0;
    for (const char* piece : {"to_q", "to_k", "to_v"}) {
      const OwnedTensor matrix =
          before.load("transformer_blocks.0.attn." + std::string(piece) + ".weight").value();
      std::vector<std::byte> want(row_bytes(dtype, matrix.tensor.shape.numel()));
      quantize_rows(matrix.tensor, {}, Tensor(want.data(), dtype, matrix.tensor.shape));
      EXPECT_EQ(std::memcmp(stored.tensor.row_data(row), want.data(), want.size()), 0) << piece;
      row += matrix.tensor.rows();
    }
    for (const StoredTensor& tensor : file.tensors()) {
      const std::string& name = tensor.name;
      const bool ends = name.find("_in.") != name.npos || name.starts_with("final_layer.");
      if (tensor.extents.size() == 1) {
        EXPECT_EQ(tensor.dtype, DType::kF32) << name;
      } else {
        EXPECT_EQ(tensor.dtype, ends ? DType::kBF16 : dtype) << name;
      }
    }
    const TensorFile t5(out(kind) / "t5xxl.gguf");
    EXPECT_EQ(t5.fields()->text("general.architecture"), "t5encoder");
    EXPECT_EQ(t5.find("enc.blk.1.attn_q.weight")->dtype, dtype);
    EXPECT_EQ(t5.find("token_embd.weight")->dtype, DType::kBF16);
    EXPECT_EQ(TensorFile(out(kind) / "clip_l.safetensors")
                  .find("text_model.encoder.layers.0.mlp.fc1.weight")
                  ->dtype,
              DType::kBF16);
    const Checkpoint model = Checkpoint::open(out(kind));
    EXPECT_EQ(model.part_dtype(Part::kTransformer), dtype);
    EXPECT_EQ(model.missing(Part::kVae), "");
    // Widened again they are what the blocks say.
    convert(out(kind), {.out = out(std::string(kind) + "-wide"), .weights = "bf16"});
    const auto blocks = model.open_weights(Part::kTransformer),
               wide = Checkpoint::open(out(std::string(kind) + "-wide")).open_weights(Part::kTransformer);
    model.visit(Part::kTransformer, [&](const Param& param, Tensor&) {
      std::vector<float> want = widened(*blocks, param);
      if (param.shape.rank() == 2) {
        for (float& value : want) value = to_float(to_bfloat16(value));
      }
      EXPECT_TRUE(widened(*wide, param) == want) << param.name;
    });
  }
}

// Rows of the fixture are too short for the K types; a model of their width is made up.
TEST_F(ConvertLayouts, KTypesOfADummy) {
  for (const char* kind : {"q2_k", "q3_k", "q4_k", "q5_k", "q6_k"}) {
    const Checkpoint model = Checkpoint::dummy("tiny");
    darkroom::convert(model, {.out = out(kind), .weights = kind, .layout = "gguf", .parts = "transformer"},
                      {}, kGoOn);
    const TensorFile file(out(kind));
    const auto made = model.open_weights(Part::kTransformer, *parse_storage(kind));
    CatalogSource stored(Catalog(out(kind)),
                         spelling_of(Part::kTransformer, Names::kBfl, model.spelling_sizes()));
    model.visit(Part::kTransformer, [&](const Param& param, Tensor&) {
      if (param.name.starts_with("norm_out.") || param.name.starts_with("proj_out.")) return;
      EXPECT_TRUE(widened(*made, param) == widened(stored, param)) << kind << param.name;
    });
  }
}

TEST_F(ConvertLayouts, ScalesOfPiecesThatShareATensor) {
  write_stored_model(out("i8"), WeightStorage::kI8, true);
  write_stored_model(out("f8"), WeightStorage::kF8Scaled, true);
  // A scale for each row goes along.
  convert(out("i8"), {.out = out("i8.safetensors"), .weights = "as-stored", .layout = "single"});
  expect_same_model(out("i8"), out("i8.safetensors"));
  const Catalog single(out("i8.safetensors"));
  EXPECT_EQ(single.stored("model.diffusion_model.double_blocks.0.img_attn.qkv.weight_scale")->extents,
            (std::vector<int64_t>{3 * 64}));
  // One for each of q, k and v does not, unless they are the same.
  convert(out("f8"), {.out = out("same.safetensors"), .weights = "as-stored", .layout = "single"});
  expect_same_model(out("f8"), out("same.safetensors"));
  const fs::path weights = out("f8") / "transformer/diffusion_pytorch_model.safetensors";
  const float other = 0.25;
  const TensorFile before(weights);
  const int writable = ::open(weights.c_str(), O_WRONLY);
  pwrite_all(writable, &other, sizeof(other),
             data_begin(weights) + before.find("transformer_blocks.0.attn.to_k.weight_scale")->begin);
  ::close(writable);
  expect_error(
      ErrorCode::kUsage, "to_q.weight' cannot be kept as it is stored: it shares a tensor with 2 more", [&] {
        convert(out("f8"), {.out = out("no.safetensors"), .weights = "as-stored", .layout = "single"});
      });
  convert(out("f8"), {.out = out("f8.safetensors"), .weights = "fp8-scaled", .layout = "single"});
  const Catalog scaled(out("f8.safetensors"));
  const std::string layer = "model.diffusion_model.double_blocks.0.img_attn.qkv.";
  EXPECT_TRUE(scaled.stored(layer + "scale_weight")->extents.empty());
  EXPECT_EQ(scaled.stored("model.diffusion_model.scaled_fp8")->dtype, DType::kF8E4M3);
  const Checkpoint model = Checkpoint::open(out("f8"));
  const auto source = model.open_weights(Part::kTransformer);
  std::vector<float> wide;
  model.visit(Part::kTransformer, [&](const Param& param, Tensor&) {
    const std::string block = "transformer_blocks.0.attn.to_";
    for (const char* piece : {"q.weight", "k.weight", "v.weight"}) {
      if (param.name != block + piece) continue;
      const std::vector<float> more = widened(*source, param);
      wide.insert(wide.end(), more.begin(), more.end());
    }
  });
  const Shape shape = {3 * 64, 64};
  ASSERT_EQ(wide.size(), static_cast<std::size_t>(shape.numel()));
  const Tensor matrix(wide.data(), DType::kF32, shape);
  const float scale = f8_scale(absmax(matrix));
  std::string want(wide.size(), '\0');
  quantize_rows(matrix, {&scale, 1}, Tensor(want.data(), DType::kF8E4M3, shape));
  EXPECT_TRUE(bytes_of(scaled, layer + "weight") == want);
  EXPECT_EQ(bytes_of(scaled, layer + "scale_weight"),
            std::string(reinterpret_cast<const char*>(&scale), sizeof(scale)));
  // Apart again, each has the scale of all.
  convert(out("f8.safetensors"), {.out = out("apart"), .weights = "as-stored"});
  expect_same_model(out("f8.safetensors"), out("apart"));
}

TEST_F(ConvertLayouts, WhatALayoutCannotHoldIsRefused) {
  const auto refused = [&](const ConvertOptions& options, const std::string& part,
                           const fs::path& in = kFixture) {
    expect_error(ErrorCode::kUsage, part, [&] { convert(in, options); });
    EXPECT_FALSE(fs::exists(out("no")));
  };
  refused({.out = out("no"), .weights = "q4_k", .layout = "single"},
          "q4_k is a type of GGUF files; add --layout gguf");
  refused({.out = out("no"), .weights = "bf16", .text_weights = "q8_0"}, "q8_0 is a type of GGUF files");
  refused({.out = out("no"), .weights = "int8", .layout = "gguf"},
          "GGUF files have no int8; with 8 bits a weight they have q8_0");
  refused({.out = out("no"), .weights = "bf16", .layout = "gguf", .parts = "vae"},
          "the VAE alone makes no GGUF file");
  refused({.out = out("no"), .weights = "bf16", .layout = "onnx"},
          "the layout is 'onnx'; there are diffusers, single and gguf");
  refused({.out = out("no"), .weights = "bf16", .parts = "vae,lora"},
          "and 'lora' is none; there are transformer, clip, t5 and vae");
  convert(kFixture, {.out = out("q"), .weights = "q8_0", .layout = "gguf"});
  refused({.out = out("no"), .weights = "as-stored", .layout = "single"},
          "is Q8_0, which safetensors files cannot hold", out("q"));
  write_stored_model(out("i8"), WeightStorage::kI8, true);
  refused({.out = out("no"), .weights = "as-stored", .layout = "gguf"},
          "is I8 with scales, which GGUF files cannot hold", out("i8"));
}

TEST_F(ConvertLayouts, AFileAppearsWholeOrNotAtAll) {
  const fs::path taken = folder_.write("taken", "mine");
  const auto count = [&] { return std::distance(fs::directory_iterator(folder_.path()), {}); };
  const ConvertOptions options{.out = taken, .weights = "bf16", .layout = "single"};
  expect_error(ErrorCode::kOutput, "taken: already exists; choose another name",
               [&] { convert(kFixture, options); });
  std::atomic<bool> cancel{false};
  const ConvertListeners stop{.on_progress =
                                  [&](const ConvertProgress& p) {
                                    EXPECT_FALSE(fs::exists(out()));
                                    cancel = p.bytes_written == p.bytes_all;
                                  },
                              .on_note = {}};
  const ConvertListeners half{.on_progress = [&](const ConvertProgress& p) { cancel = p.part == Part::kT5; },
                              .on_note = {}};
  expect_error(ErrorCode::kCancelled, "stopped on request", [&] {
    darkroom::convert(Checkpoint::open(kFixture), {.out = out(), .weights = "bf16", .layout = "single"}, half,
                      cancel);
  });
  EXPECT_EQ(count(), 1);
  const ConvertListeners late{.on_progress = [&](const ConvertProgress&) { folder_.write("out", "theirs"); },
                              .on_note = {}};
  expect_error(ErrorCode::kOutput, "out: cannot rename the finished file: File exists", [&] {
    darkroom::convert(Checkpoint::open(kFixture), {.out = out(), .weights = "bf16", .layout = "single"}, late,
                      kGoOn);
  });
  EXPECT_EQ(read_text_file(out(), 100), "theirs");
  fs::remove(out());
  cancel = false;
  darkroom::convert(Checkpoint::open(kFixture), {.out = out(), .weights = "bf16", .layout = "single"}, stop,
                    kGoOn);
  EXPECT_EQ(count(), 2);
}

// kill -9 at the first tensor, in the middle and when all weights are there.
TEST_F(ConvertLayouts, AKilledProcessLeavesNoModelAndIsNoticed) {
  std::size_t left = 0;
  for (const std::string layout : {"single", "gguf"}) {
    const Checkpoint model = Checkpoint::open(kFixture);
    const ConvertOptions options{.out = out(layout), .weights = "as-stored", .layout = layout};
    int events = 0;
    darkroom::convert(model, options,
                      {.on_progress = [&](const ConvertProgress&) { ++events; }, .on_note = {}}, kGoOn);
    fs::remove_all(out(layout));
    for (const int last : {1, events / 2, events - 1}) {
      SCOPED_TRACE(fmt::format("{} {}", layout, last));
      const pid_t child = fork();
      if (child == 0) {
        int seen = 0;
        const auto die = [&](const ConvertProgress&) {
          if (++seen == last) ::raise(SIGKILL);
        };
        darkroom::convert(model, options, {.on_progress = die, .on_note = {}}, kGoOn);
        _exit(0);
      }
      int status = 0;
      ASSERT_EQ(waitpid(child, &status, 0), child);
      ASSERT_TRUE(WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL);
      EXPECT_FALSE(fs::exists(out(layout)));
      const std::vector<AbandonedFolder> abandoned = abandoned_folders(out(layout));
      ASSERT_EQ(abandoned.size(), ++left);
      for (const AbandonedFolder& folder : abandoned) {
        expect_error(ErrorCode::kModel, "", [&] { Checkpoint::open(folder.path); });
        if (fs::exists(folder.path / "file"))
          expect_error(ErrorCode::kModel, "", [&] { Checkpoint::open(folder.path / "file"); });
      }
    }
  }
}

TEST_F(ConvertLayouts, WhatIsNotUsedIsLeftOutOfOtherLayouts) {
  make_large_model(out("in"), 4, 8);
  convert(out("in"), {.out = out(), .weights = "bf16", .layout = "single"});
  const auto said = [](const std::string& note) {
    return note.find("1 tensor(s) of the transformer that darkroom does not use are left out, first ") !=
               note.npos &&
           note.find(kLargeName) != note.npos;
  };
  EXPECT_TRUE(std::ranges::any_of(notes_, said));
  convert(out("in"), {.out = out("same"), .weights = "as-stored"});
  EXPECT_EQ(bytes_of(Catalog(out("same") / "transformer"), kLargeName),
            bytes_of(Catalog(out("in") / "transformer"), kLargeName));
}

// What the metadata says is checked as a config is.
TEST_F(ConvertLayouts, SizesInTheMetadataAreChecked) {
  convert(kFixture, {.out = out("t"), .weights = "bf16", .layout = "single", .parts = "transformer"});
  std::string text = read_text_file(out("t"), 1 << 26);
  const std::string before = "\\\"num_layers\\\":2", after = "\\\"num_layers\\\":0";
  const std::size_t at = text.find(before);
  ASSERT_NE(at, text.npos);
  text.replace(at, before.size(), "\\\"num_layers\\\":x");
  expect_error(ErrorCode::kModel,
               "darkroom.config: ", [&] { Checkpoint::open(folder_.write("broken", text)); });
  text.replace(at, before.size(), "\\\"num_layers\\\":{");
  EXPECT_ANY_THROW(Checkpoint::open(folder_.write("broken", text)));
  const std::string rope = "\\\"axes_dims_rope\\\":[";
  std::string wrong = read_text_file(out("t"), 1 << 26);
  const std::size_t axes = wrong.find(rope);
  ASSERT_NE(axes, wrong.npos);
  wrong[axes + rope.size()] = '9';
  expect_error(ErrorCode::kModel, "darkroom.config, transformer: 'axes_dims_rope' ",
               [&] { Checkpoint::open(folder_.write("wrong", wrong)); });
}

// Two blocks of memory, whatever the layout.
TEST_F(ConvertLayouts, ALargeDummyPassesThroughInBlocks) {
#if !defined(__SANITIZE_ADDRESS__)
  std::atomic<bool> cancel{false};
  reset_peak();
  const std::size_t before = memory::resident_bytes();
  const ConvertListeners listeners{
      .on_progress = [&](const ConvertProgress& p) { cancel = p.bytes_written > (150 << 20); },
      .on_note = {}};
  expect_error(ErrorCode::kCancelled, "stopped", [&] {
    darkroom::convert(Checkpoint::dummy("dev"),
                      {.out = out(), .weights = "q8_0", .layout = "gguf", .parts = "transformer"}, listeners,
                      cancel);
  });
  EXPECT_LT(peak_bytes(), before + (100 << 20));
#endif
}

// The reference's reader finds what we wrote, and numbers as close as the type allows.
TEST_F(ConvertLayouts, TheReferenceReadsOurGguf) {
  const char* const named = std::getenv("DARKROOM_PYTHON");
  const std::string python = named ? named : "python3";
  if (std::system((python + " -c 'import gguf, safetensors' 2> /dev/null").c_str()) != 0)
    GTEST_SKIP() << "no Python with the packages gguf and safetensors; DARKROOM_PYTHON names one";
  const std::string script = DARKROOM_SOURCE_DIR "/tests/convert/check_gguf.py";
  convert(kFixture, {.out = out("bf16"), .weights = "bf16", .layout = "single", .parts = "transformer"});
  for (const char* kind : {"q8_0", "q4_0", "q4_1", "q5_0", "q5_1"}) {
    convert(kFixture, {.out = out(kind), .weights = kind, .layout = "gguf", .parts = "transformer"});
    const std::string command =
        fmt::format("{} {} {} {} {}", python, script, out(kind).string(), out("bf16").string(), kind);
    EXPECT_EQ(std::system(command.c_str()), 0) << command;
  }
  const Checkpoint dummy = Checkpoint::dummy("tiny");
  darkroom::convert(
      dummy, {.out = out("dummy"), .weights = "bf16", .layout = "single", .parts = "transformer"}, {}, kGoOn);
  for (const char* kind : {"q2_k", "q3_k", "q4_k", "q5_k", "q6_k"}) {
    darkroom::convert(dummy, {.out = out(kind), .weights = kind, .layout = "gguf", .parts = "transformer"},
                      {}, kGoOn);
    const std::string command =
        fmt::format("{} {} {} {} {}", python, script, out(kind).string(), out("dummy").string(), kind);
    EXPECT_EQ(std::system(command.c_str()), 0) << command;
  }
}

}  // namespace
}  // namespace darkroom
