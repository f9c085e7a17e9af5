// LoRAs through the whole pipeline, against weights that the same differences were merged into in f64.
#include <gtest/gtest.h>

#include <algorithm>
#include <atomic>
#include <cmath>
#include <cstring>
#include <functional>
#include <limits>
#include <map>
#include <nlohmann/json.hpp>

#include "backends/registry.h"
#include "base/expect_error.h"
#include "base/temp_folder.h"
#include "drawn.h"
#include "image/found_recipe.h"
#include "lora_files.h"
#include "options/request_json.h"
#include "pipeline/embeddings.h"
#include "pipeline/pipeline.h"
#include "stored_models.h"

namespace darkroom {
namespace {

namespace fs = std::filesystem;

double decibels(const std::vector<float>& found, const std::vector<float>& wanted) {
  double signal = 0, noise = 0;
  for (std::size_t i = 0; i < wanted.size(); ++i) {
    signal += std::pow(static_cast<double>(wanted[i]), 2);
    noise += std::pow(static_cast<double>(wanted[i]) - static_cast<double>(found[i]), 2);
  }
  return noise == 0 ? 200 : 10 * std::log10(signal / noise);
}

class LoraKinds : public testing::TestWithParam<LoraKind> {};

TEST_P(LoraKinds, DrawWhatMergedWeightsDraw) {
  const LoraKind& kind = GetParam();
  const TempFolder folder;
  Maker made(kind.dtype);
  kind.make(made);
  made.write(folder / "film.safetensors");
  write_stored_model(folder / "bf16", WeightStorage::kBF16, true);
  write_stored_model(folder / "fp8", WeightStorage::kF8Scaled, true);
  const Checkpoint bf16 = Checkpoint::open(folder / "bf16");
  write_merged(folder / "f32", bf16, WeightStorage::kAsStored, nullptr);
  struct Base {
    const char *name, *folder, *weights;
  };
  for (const Base& base : {Base{"f32", "f32", "as-stored"}, Base{"bf16", "bf16", "as-stored"},
                           Base{"fp8-scaled", "fp8", "as-stored"}, Base{"int8", "bf16", "int8"},
                           Base{"q8_0", "bf16", "q8_0"}, Base{"q4_k", "bf16", "q4_k"}}) {
    SCOPED_TRACE(base.name);
    const std::string weights = base.weights;
    // A dense difference is quantised with the weight, which is another matrix than the weight's and it.
    if (kind.dense && weights != "as-stored") continue;
    const Checkpoint model = Checkpoint::open(folder / base.folder);
    Request request = small_request(weights);
    const std::vector<float> plain = draw(model, request).picture.latents;
    request.loras = {{folder / "film.safetensors", 0.75}};
    const Drawn drawn = draw(model, request);
    const std::string merged = std::string("merged-") + base.name;
    write_merged(folder / merged, model, *parse_storage(weights), &made, 0.75);
    const std::vector<float> wanted =
        draw(Checkpoint::open(folder / merged), small_request()).picture.latents;
    const double db = decibels(drawn.picture.latents, wanted), changed = decibels(plain, wanted);
    std::printf("%s on %s: %.1f dB (without it %.1f)\n", kind.name, base.name, db, changed);
    EXPECT_GE(db, 55);
    EXPECT_LT(changed, 40);
    for (const std::string& note : drawn.notes) EXPECT_EQ(note.find("match nothing"), note.npos) << note;
    request.loras[0].strength = 0;
    EXPECT_EQ(draw(model, request).picture.latents, plain);
  }
}

INSTANTIATE_TEST_SUITE_P(All, LoraKinds, testing::ValuesIn(lora_kinds()),
                         [](const auto& kind) { return std::string(kind.param.name); });

TEST(Lora, TwoOnOneMatrixAddUp) {
  const TempFolder folder;
  write_stored_model(folder / "bf16", WeightStorage::kBF16, true);
  const Checkpoint model = Checkpoint::open(folder / "bf16");
  Maker first(DType::kF16), second(DType::kBF16);
  make_kohya(first);
  make_diffusers(second);
  first.write(folder / "a.safetensors");
  second.write(folder / "b.safetensors");
  Request request = small_request();
  request.loras = {{folder / "a.safetensors", 0.5}, {folder / "b.safetensors", -0.25}};
  Maker both(DType::kF32);
  for (const auto& [maker, strength] : {std::pair(&first, 0.5), std::pair(&second, -0.25)}) {
    for (const auto& [name, values] : maker->added) {
      std::vector<double>& to = both.added[name];
      to.resize(values.size());
      for (std::size_t i = 0; i < values.size(); ++i) to[i] += strength * values[i];
    }
  }
  write_merged(folder / "merged", model, WeightStorage::kAsStored, &both);
  EXPECT_GE(decibels(draw(model, request).picture.latents,
                     draw(Checkpoint::open(folder / "merged"), small_request()).picture.latents),
            55);
}

// Beside products in 8 bits, from inputs that are not quantised. Measured: 42.6 dB, without it 15.1.
TEST(Lora, BesideInt8Products) {
  const TempFolder folder;
  write_stored_model(folder / "bf16", WeightStorage::kBF16, true);
  const Checkpoint model = Checkpoint::open(folder / "bf16");
  Maker made(DType::kBF16);
  make_diffusers(made);
  made.write(folder / "film.safetensors");
  const auto drawn = [&](const char* precision, bool lora) {
    Request request = small_request();
    request.precision = precision;
    if (lora) request.loras = {{folder / "film.safetensors", 0.75}};
    return draw(model, request).picture.latents;
  };
  const std::vector<float> wanted = drawn("bf16", true), got = drawn("int8", true);
  const double db = decibels(got, wanted), changed = decibels(drawn("bf16", false), wanted);
  std::printf("int8 with a LoRA: %.1f dB (without it %.1f)\n", db, changed);
  EXPECT_GE(db, 38);
  EXPECT_GE(db, changed + 10);
}

// The same difference for q, k and v in one matrix and in three: not a bit differs.
TEST(Lora, FusedIsSplit) {
  const TempFolder folder;
  write_stored_model(folder / "bf16", WeightStorage::kBF16, false);
  const Checkpoint model = Checkpoint::open(folder / "bf16");
  TensorList fused, split;
  const auto fill = [](const Tensor& tensor, int64_t first) {
    for (int64_t i = 0; i < tensor.shape.numel(); ++i)
      tensor.row<float>(0)[i] = 0.03f * static_cast<float>((first + i * 7) % 23 - 11);
  };
  fill(fused.make("lora_unet_double_blocks_0_img_attn_qkv.lora_down.weight", DType::kF32, {4, kD}), 1);
  fill(fused.make("lora_unet_double_blocks_0_img_attn_qkv.lora_up.weight", DType::kF32, {3 * kD, 4}), 5);
  for (int64_t i = 0; i < 3; ++i) {
    const std::string module = "transformer." + kDouble + "attn.to_" + "qkv"[i];
    fill(split.make(module + ".lora_A.weight", DType::kF32, {4, kD}), 1);
    fill(split.make(module + ".lora_B.weight", DType::kF32, {kD, 4}), 5 + i * kD * 4 * 7);
  }
  fused.write(folder / "fused.safetensors");
  split.write(folder / "split.safetensors");
  Request request = small_request();
  request.loras = {{folder / "fused.safetensors"}};
  const Drawn one = draw(model, request);
  request.loras = {{folder / "split.safetensors"}};
  EXPECT_EQ(one.picture.latents, draw(model, request).picture.latents);
}

TEST(Lora, ThePlanCountsIt) {
  const TempFolder folder;
  write_stored_model(folder / "bf16", WeightStorage::kBF16, true);
  const Checkpoint model = Checkpoint::open(folder / "bf16");
  const Machine machine{.workspace = {.bytes = std::size_t{16} << 20, .conv_bytes = 0}};
  const auto plan_of = [&](const Request& request) { return decide(request, model, machine).plan; };
  for (const auto& make : {make_kohya, make_lokr}) {
    Maker made(DType::kF16);
    make(made);
    made.write(folder / "film.safetensors");
    Request request = small_request();
    request.budget = "1T";
    const Plan plain = plan_of(request);
    request.loras = {{folder / "film.safetensors"}};
    const Plan with = plan_of(request);
    const PlannedPhase &a = plain.phase(Phase::kDenoise), &b = with.phase(Phase::kDenoise);
    EXPECT_GT(with.process_bytes, plain.process_bytes);
    if (make == make_kohya) {
      EXPECT_GT(b.weight_bytes, a.weight_bytes);
      EXPECT_GT(b.flops, a.flops);
      EXPECT_GT(with.phase(Phase::kEncodeT5).weight_bytes, plain.phase(Phase::kEncodeT5).weight_bytes);
    } else {
      EXPECT_EQ(b.weight_bytes, a.weight_bytes);  // bf16 stays bf16
      EXPECT_GT(b.staging_bytes, a.staging_bytes);
    }
    fs::remove(folder / "film.safetensors");
  }
}

// Blocks that are read again in every step have their LoRAs each time.
TEST(Lora, EveryBudgetDrawsTheSamePicture) {
  const TempFolder folder;
  Maker made(DType::kF16);
  make_kohya(made);
  made.write(folder / "film.safetensors");
  write_stored_model(folder / "bf16", WeightStorage::kBF16, true);
  const Checkpoint model = Checkpoint::open(folder / "bf16");
  const auto backend = make_backend({.name = "cpu", .isa = "auto", .threads = 2});
  Request request = small_request();
  request.max_text_tokens = 512;
  request.budget = "1T";
  request.loras = {{folder / "film.safetensors"}};
  const std::vector<float> expected = draw(model, request).picture.latents;
  const Plan all = decide(request, model, machine_of(*backend)).plan;
  const std::size_t most = all.phase(Phase::kDenoise).peak_bytes() + all.process_bytes;
  std::size_t others = most - all.blocks.bytes() + all.least_block_bytes;
  for (const PlannedPhase& phase : all.phases) {
    if (phase.phase != Phase::kDenoise) others = std::max(others, phase.peak_bytes() + all.process_bytes);
  }
  request.budget = std::to_string(others);
  if (others < most) {
    EXPECT_GT(decide(request, model, machine_of(*backend)).plan.blocks.streamed_bytes, 0u);
  }
  EXPECT_EQ(draw(model, request).picture.latents, expected);
}

TEST(Lora, TheRecipeDrawsItAgain) {
  const TempFolder folder;
  Maker made(DType::kF16);
  make_kohya(made);
  fs::create_directory(folder / "loras");
  made.write(folder / "loras/film.safetensors");
  write_stored_model(folder / "bf16", WeightStorage::kBF16, true);
  const Checkpoint model = Checkpoint::open(folder / "bf16");
  Request request = small_request();
  request.loras = {{folder / "loras/film.safetensors", 0.8}};
  const Drawn drawn = draw(model, request);
  const std::string text = to_json(drawn.picture.recipe);
  EXPECT_EQ(text.find(folder.path().string()), text.npos) << text;
  const Recipe read = from_json(text, "recipe");
  EXPECT_EQ(read, drawn.picture.recipe);
  ASSERT_EQ(read.loras.size(), 1u);
  EXPECT_EQ(read.loras[0].path, "film.safetensors");
  EXPECT_EQ(read.loras[0].strength, 0.8);
  EXPECT_EQ(read.loras[0].sha256, hex(file_digest(folder / "loras/film.safetensors")));
  EXPECT_NE(to_a1111_text(drawn.picture.recipe).find("on the left <lora:film:0.8>\n"), std::string::npos)
      << to_a1111_text(drawn.picture.recipe);
  // As --like fills a request: found in the folder beside the model.
  Request again = small_request();
  load_request(with_recipe({{"width", 64}}, nlohmann::json::parse(text)), again, "settings");
  again.weights = "as-stored";
  EXPECT_EQ(draw(model, again).picture.latents, drawn.picture.latents);
  // Another file of that name.
  Maker other(DType::kF16);
  make_diffusers(other);
  fs::create_directory(folder / "others");
  other.write(folder / "others/film.safetensors");
  again.lora_dir = folder / "others";
  expect_error(ErrorCode::kModel, "this is not the LoRA of the recipe", [&] { decide_values(again, model); });
  again.lora_dir.clear();
  fs::remove(folder / "loras/film.safetensors");
  expect_error(ErrorCode::kUsage, "there is no LoRA 'film.safetensors'",
               [&] { decide_values(again, model); });
}

TEST(Lora, ThePromptNamesIt) {
  const TempFolder folder;
  Maker made(DType::kF16);
  make_kohya(made);
  fs::create_directories(folder / "dir/sub");
  made.write(folder / "dir/sub/film.safetensors");
  write_stored_model(folder / "bf16", WeightStorage::kBF16, true);
  const Checkpoint model = Checkpoint::open(folder / "bf16");
  Request request = small_request();
  request.loras = {{folder / "dir/sub/film.safetensors", 0.8}};
  const std::vector<float> wanted = draw(model, request).picture.latents;
  request.loras.clear();
  request.prompt = "a red circle <lora:film:0.8> on the left";
  const Job as_text = decide_values(request, model);
  EXPECT_TRUE(as_text.loras.empty());
  EXPECT_NE(as_text.notes.back().find("--lora-dir"), std::string::npos);
  request.lora_dir = folder / "dir";
  const Drawn drawn = draw(model, request);
  EXPECT_EQ(drawn.picture.latents, wanted);
  EXPECT_EQ(drawn.picture.recipe.prompt, "a red circle on the left");
  request.prompt = "<lora:film> x";
  EXPECT_EQ(decide_values(request, model).prompt, "x");
  for (const char* bad : {"<lora:../sub/film:1>", "<lora:flim:1>"}) {
    request.prompt = bad;
    expect_error(ErrorCode::kUsage, "there are film", [&] { decide_values(request, model); });
  }
  request.prompt = "<lora:film:5>";
  expect_error(ErrorCode::kUsage, "from -4 to 4", [&] { decide_values(request, model); });
  request.prompt = "x";
  request.loras = {{folder / "dir/sub/film.safetensors", 4.5}};
  expect_error(ErrorCode::kUsage, "the strength of the LoRA film.safetensors is 4.5",
               [&] { decide_values(request, model); });
}

TEST(Lora, EmbeddingsAreKeptApart) {
  const TempFolder folder;
  Maker text(DType::kF16), blocks(DType::kF16);
  make_kohya(text);
  make_onetrainer(blocks);
  text.write(folder / "text.safetensors");
  blocks.write(folder / "blocks.safetensors");
  write_stored_model(folder / "bf16", WeightStorage::kBF16, true);
  const Checkpoint model = Checkpoint::open(folder / "bf16");
  const auto backend = make_backend({.name = "cpu", .isa = "auto", .threads = 2});
  const std::atomic<bool> cancel{false};
  const EmbedCacheOptions cache{folder / "cache"};
  const auto cached = [&](const std::vector<LoraChoice>& loras) {
    Request request = small_request();
    request.loras = loras;
    int found = 0;
    Listeners listeners;
    listeners.on_progress = [&](const Progress& progress) { found = progress.cached_prompts; };
    generate(model, *backend, decide(request, model, machine_of(*backend)), listeners, cancel, cache);
    return found;
  };
  EXPECT_EQ(cached({}), 0);
  EXPECT_EQ(cached({{folder / "blocks.safetensors"}}), 1);
  EXPECT_EQ(cached({{folder / "text.safetensors"}}), 0);
  EXPECT_EQ(cached({{folder / "text.safetensors"}}), 1);
  EXPECT_EQ(cached({{folder / "text.safetensors", 0.5}}), 0);
}

class LoraErrors : public testing::Test {
 protected:
  void expect(const std::string& message, const std::function<void(TensorList&)>& fill) {
    TensorList list;
    fill(list);
    const fs::path path = folder_ / "x.safetensors";
    fs::remove(path);
    list.write(path);
    expect_error(ErrorCode::kModel, message, [&] { Lora::open(path, model_); });
  }
  const TempFolder folder_;
  const Checkpoint model_ = Checkpoint::dummy("tiny");
};

TEST_F(LoraErrors, AreOneClearLine) {
  const std::string q = "transformer.transformer_blocks.0.attn.to_q";
  expect("'" + q + ".lora_B.weight' is F32 [64, 3], the model asks for [64, 4]", [&](TensorList& list) {
    list.make(q + ".lora_A.weight", DType::kF32, {4, 64});
    list.make(q + ".lora_B.weight", DType::kF32, {64, 3});
  });
  expect("of '" + q + "' a tensor is missing", [&](TensorList& list) {
    list.make(q + ".lora_A.weight", DType::kF32, {4, 64});
  });
  expect("this is a DoRA", [&](TensorList& list) {
    list.make(q + ".lora_A.weight", DType::kF32, {4, 64});
    list.make(q + ".lora_B.weight", DType::kF32, {64, 4});
    list.make(q + ".dora_scale", DType::kF32, {64, 1});
  });
  expect("this is a control LoRA", [&](TensorList& list) {
    list.make("img_in.lora_A.weight", DType::kF32, {4, 128});
    list.make("img_in.lora_B.weight", DType::kF32, {64, 4});
  });
  expect("is nan, expected one number", [&](TensorList& list) {
    list.make(q + ".lora_A.weight", DType::kF32, {4, 64});
    list.make(q + ".lora_B.weight", DType::kF32, {64, 4});
    *list.make(q + ".alpha", DType::kF32, {1}).row<float>(0) = std::numeric_limits<float>::quiet_NaN();
  });
  expect("a LoRA for Stable Diffusion XL, not for FLUX.1", [](TensorList& list) {
    list.make("lora_unet_down_blocks_1_attentions_0_proj_in.lora_down.weight", DType::kF32, {4, 64});
    list.make("lora_te2_text_model_encoder_layers_0_mlp_fc1.lora_down.weight", DType::kF32, {4, 64});
  });
  expect("none of its 1 tensors is a LoRA's for this model; the first is 'x.y'", [](TensorList& list) {
    list.make("x.y", DType::kF32, {4, 64});
  });
}

TEST_F(LoraErrors, NumbersThatAreNoneNameTheTensor) {
  const std::string q = "transformer.transformer_blocks.0.attn.to_q";
  TensorList list;
  list.make(q + ".lora_A.weight", DType::kF32, {4, 64}).row<float>(0)[64] =
      std::numeric_limits<float>::infinity();
  list.make(q + ".lora_B.weight", DType::kF32, {64, 4});
  list.make("transformer.a.lora_A.weight", DType::kF32, {1});
  list.make(q + ".diff_b", DType::kF32, {64});
  list.make("text_encoder_2.encoder.block.0.layer.0.SelfAttention.q.diff_b", DType::kF32, {48});
  const fs::path path = folder_ / "x.safetensors";
  list.write(path);
  Request request = small_request();
  request.loras = {{path}};
  const Job job = decide_values(request, model_);
  EXPECT_NE(
      job.notes.at(0).find("1 of its 5 tensors match nothing in this model: 'transformer.a.lora_A.weight'"),
      std::string::npos)
      << job.notes.at(0);
  EXPECT_NE(job.notes.at(1).find("1 bias difference(s) left out"), std::string::npos) << job.notes.at(1);
  expect_error(ErrorCode::kModel, "tensor '" + q + ".lora_A.weight': row 1, column 0 is inf",
               [&] { draw(model_, request); });
}

}  // namespace
}  // namespace darkroom
