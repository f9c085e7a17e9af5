// The models of fuzz/broken/checkpoint and the LoRAs of fuzz/broken/lora, and what cannot be committed: links that
// lead in a circle or out of the model, names of a MiB. Each is an error of one line.
#include <gtest/gtest.h>

#include <functional>
#include <set>

#include "base/expect_error.h"
#include "base/file_map.h"
#include "checkpoint/lora.h"
#include "small_files.h"

namespace darkroom {
namespace {

namespace fs = std::filesystem;

const fs::path kBroken = DARKROOM_SOURCE_DIR "/fuzz/broken";
using Messages = std::map<std::string, std::string>;

// What was opened is read, so that an error may come late.
void open_and_read(const fs::path& path) {
  const Checkpoint model = Checkpoint::open(path);
  const auto weights = model.open_weights(Part::kTransformer);
  model.visit(Part::kTransformer, [&](const Param& param, Tensor&) { load(*weights, param); });
}

template <typename Open>
void expect_all(const fs::path& folder, const Messages& messages, const Open& open) {
  std::set<std::string> found;
  for (const auto& entry : fs::directory_iterator(folder)) {
    const std::string name = entry.path().stem().string();
    SCOPED_TRACE(name);
    found.insert(name);
    const auto expected = messages.find(name);
    expect_error(ErrorCode::kModel, expected == messages.end() ? "no message is known" : expected->second,
                 [&] { open(entry.path()); });
  }
  EXPECT_EQ(found.size(), messages.size());
}

const Messages kCheckpoints = {
    {"config_2_to_63",
     "transformer/config.json: 'num_layers' is 9223372036854775808, expected a whole number from 0 to 1000"},
    {"config_axes", "transformer/config.json: 'axes_dims_rope' sums to 10, 'attention_head_dim' is 8"},
    {"config_cut", "transformer/config.json: not valid JSON:"},
    {"config_deep", "transformer/config.json: JSON nested 2000 deep, at most 64 is supported"},
    {"config_list", "transformer/config.json: expected a JSON object, found array"},
    {"config_negative",
     "transformer/config.json: 'num_single_layers' is -1, expected a whole number from 0 to 1000"},
    {"config_no_heads",
     "transformer/config.json: 'num_attention_heads' is 0, expected a whole number from 1 to 1024"},
    {"config_overflow",
     "transformer/config.json: 'num_attention_heads' is 2147483648, expected a whole number from 1 to 1024"},
    {"data_beyond_file", "cut short: the file has 188 bytes, its header needs 4184; fetch it again"},
    {"dims_2_to_63", "tensor 'x_embedder.weight': the extent 9223372036854775808 is too large"},
    {"dims_overflow", "tensor 'x_embedder.weight': the size of F32 [4294967296, 4294967296, 4] overflows"},
    {"file_dims_overflow",
     "x.safetensors: tensor 'double_blocks.0.img_attn.qkv.weight': the size of F32 [4294967296, 4294967296] "
     "overflow"},
    {"file_no_rows",
     "x.safetensors: tensor 'img_in.weight' is F32 [0, 4611686018427387904], which tells no size"},
    {"file_of_strangers", "x.safetensors: none of its 1 tensors belongs to a FLUX.1 transformer"},
    {"file_of_two_models", "x.safetensors: states of width 12 do not divide into heads of 8"},
    {"file_without_blocks", "x.safetensors: the model has no blocks"},
    {"file_without_sizes",
     "x.safetensors: there is no tensor 'img_in.weight', which tells the size of the model"},
    {"gguf_alignment_0", "x.gguf: the field 'general.alignment' is 0, expected a power of two up to 1048576"},
    {"gguf_beyond_file", "x.gguf: cut short: the file has 160 bytes, its header needs 3200; fetch it again"},
    {"gguf_count_2_to_63",
     "x.gguf: the header promises 9223372036854775808 tensors, at most 100000 are allowed"},
    {"gguf_dims_overflow",
     "x.gguf: tensor 'double_blocks.0.img_attn.qkv.weight': the size of F32 [4294967296, 4294967296] "
     "overflows"},
    {"gguf_fields_2_to_63",
     "x.gguf: the header promises 9223372036854775808 fields, at most 100000 are allowed"},
    {"gguf_name_twice", "x.gguf: two tensors named 'double_blocks.0.img_attn.qkv.weight'"},
    {"half_a_download", "transformer: the folder holds no .safetensors file"},
    {"header_2_to_63",
     "neither safetensors nor GGUF: its first 8 bytes promise a header of 9223372036854775808 bytes, at most "
     "1000000"},
    {"header_beyond_file",
     "neither safetensors nor GGUF: its first 8 bytes promise a header of 1099511627776 bytes, at most "
     "100000000 are"},
    {"header_cut", "cut short: "},
    {"hub_ref_above", "refs/main: '../../outside' is no name of a snapshot"},
    {"hub_ref_absolute", "refs/main: '/etc' is no name of a snapshot"},
    {"hub_ref_empty", "refs/main: '' is no name of a snapshot"},
    {"hub_ref_gone", "its refs/main is the snapshot 2, which is not there; download the model again"},
    {"hub_two_snapshots",
     "snapshots: 2 snapshots and no refs/main that names one; pass the folder of one of them"},
    {"index_above",
     "tensor 'x_embedder.weight' is said to be in '../diffusion_pytorch_model.safetensors', expected the "
     "plain name "},
    {"index_absolute",
     "tensor 'x_embedder.weight' is said to be in '/etc/passwd.safetensors', expected the plain name of a "
     ".safetenso"},
    {"index_empty", "'weight_map' must be an object of 1 to 100000 names"},
    {"index_hidden",
     "tensor 'x_embedder.weight' is said to be in '.a.safetensors', expected the plain name of a "
     ".safetensors file b"},
    {"index_inner_folder",
     "tensor 'x_embedder.weight' is said to be in 'sub/a.safetensors', expected the plain name of a "
     ".safetensors fil"},
    {"index_is_list", "expected a JSON object, found array"},
    {"index_nul",
     "tensor 'x_embedder.weight' is said to be in 'a\\x00.safetensors', expected the plain name of a "
     ".safetensors fil"},
    {"index_number",
     "tensor 'x_embedder.weight' is said to be in number, expected the plain name of a .safetensors file "
     "beside it"},
    {"index_of_nothing",
     "transformer/diffusion_pytorch_model-00001-of-00002.safetensors: this file is missing (1 of the"},
    {"lfs_pointer",
     "not a safetensors file but a git-lfs pointer, not the file itself: run 'git lfs pull' in its "
     "repository"},
    {"name_twice", "tensor 'x_embedder.weight': its data begins at 16, expected 0: a hole"},
    {"no_json", "neither safetensors nor GGUF: the header does not begin with '{'"},
    {"offsets_swapped", "tensor 'x_embedder.weight': its data ends at 0, before it begins at 16"},
    {"only_a_text", "neither a model in diffusers layout"},
    {"pickle",
     "transformer: the folder holds no .safetensors file; diffusion_pytorch_model.bin is a PyTorch pickle, "
     "which is "},
    {"pickle_alone", "neither a model in diffusers layout"},
    {"shard_missing",
     "transformer/diffusion_pytorch_model-00002-of-00002.safetensors: this file is missing (1 of the"},
    {"shards_of_two_models",
     "transformer/diffusion_pytorch_model-00002-of-00002.safetensors: tensor 'context_embedder.weight' is "
     "not in thi"},
    {"shards_without_index",
     "transformer: there is diffusion_pytorch_model-00001-of-00002.safetensors, but "
     "diffusion_pytorch_model.safetens"},
    {"two_files", "2 transformers lie in this folder: a.safetensors, b.safetensors; pass one of these files"},
    {"web_page",
     "not a safetensors file but a web page saved under this name, often a login or error page: download the "
     "file ag"},
};

TEST(BrokenFiles, Checkpoints) { expect_all(kBroken / "checkpoint", kCheckpoints, open_and_read); }

const Messages kLoras = {
    {"alpha_of_two", "alpha' (BF16 [2]) is no number, expected one number of at most 1000000"},
    {"alpha_whole", "alpha' (U8 []) is no number, expected one number of at most 1000000"},
    {"control",
     "this is a control LoRA (Canny or Depth): its 'img_in' takes more inputs than the model's 64, the "
     "others being "},
    {"data_beyond_file", "cut short: the file has 348 bytes, its header needs 1272; fetch it again"},
    {"diff_b_shape", "diff_b' is BF16 [64], the model asks for [192]"},
    {"diff_shape", "diff' is BF16 [4, 4], the model asks for [192, 64]"},
    {"dims_2_to_63", "lora_A.weight': the extent 9223372036854775808 is too large"},
    {"dims_overflow", "lora_A.weight': the size of BF16 [4294967296, 4294967296] overflows"},
    {"dora",
     "this is a DoRA ('transformer.transformer_blocks.0.attn.to_q' has magnitudes), which is not supported; "
     "a LoRA, "},
    {"down_alone",
     "of 'transformer.transformer_blocks.0.attn.to_q' a tensor is missing: it has only "
     "'transformer.transformer_bloc"},
    {"empty", "none of its 0 tensors is a LoRA's for this model"},
    {"fused_rows", "lora_up.weight' is BF16 [191, 4], the model asks for [192, 4]"},
    {"header_2_to_63",
     "neither safetensors nor GGUF: its first 8 bytes promise a header of 9223372036854775808 bytes, at most "
     "1000000"},
    {"header_beyond_file",
     "neither safetensors nor GGUF: its first 8 bytes promise a header of 1099511627776 bytes, at most "
     "100000000 are"},
    {"loha_half",
     "of 'lora_unet_double_blocks_0_img_attn_qkv' a tensor is missing: it has only "
     "'lora_unet_double_blocks_0_img_at"},
    {"lokr_overflow", "lokr_w1' is BF16 [4611686018427387904, 0], expected a matrix"},
    {"lokr_without_w2",
     "of 'lora_unet_double_blocks_0_img_attn_qkv' a tensor is missing: it has only "
     "'lora_unet_double_blocks_0_img_at"},
    {"model",
     "none of its 1 tensors is a LoRA's for this model; the first is 'double_blocks.0.img_attn.qkv.weight'"},
    {"name_twice", "lora_B.weight': its data begins at 512, expected 0: a hole"},
    {"no_match",
     "none of its 2 tensors is a LoRA's for this model; the first is "
     "'transformer.transformer_blocks.99.attn.to_q.lo"},
    {"pickle",
     "not a safetensors file but a PyTorch pickle, which can hold code and is never read here: get or make "
     "the safet"},
    {"rank_0", "lora_A.weight' is BF16 [0, 64], expected a matrix"},
    {"rank_2_to_62", "lora_A.weight' is BF16 [4611686018427387904, 0], expected a matrix"},
    {"rank_of_3", "lora_A.weight' is BF16 [4, 64, 2], expected a matrix"},
    {"ranks_differ", "lora_B.weight' is BF16 [64, 3], the model asks for [64, 4]"},
    {"scalar", "lora_A.weight' is BF16 [], expected a matrix"},
    {"sdxl", "this is a LoRA for Stable Diffusion 1 or 2, not for FLUX.1"},
    {"swapped", "lora_A.weight' is BF16 [64, 4], the model asks for [64, 64]"},
    {"up_alone",
     "of 'transformer.transformer_blocks.0.attn.to_q' a tensor is missing: it has only "
     "'transformer.transformer_bloc"},
    {"web_page",
     "not a safetensors file but a web page saved under this name, often a login or error page: download the "
     "file ag"},
    {"whole_numbers", "lora_A.weight' is I64 [4, 64]: a LoRA in this type is not supported"},
    {"wrong_height", "lora_B.weight' is BF16 [65, 4], the model asks for [64, 4]"},
    {"wrong_width", "lora_A.weight' is BF16 [4, 63], the model asks for [4, 64]"},
};

TEST(BrokenFiles, Loras) {
  const Checkpoint model = Checkpoint::dummy("tiny");
  expect_all(kBroken / "lora", kLoras, [&](const fs::path& path) { Lora::open(path, model); });
}

// What a link leads to is read as weights or not at all; nothing is searched in a circle.
class Links : public testing::Test {
 protected:
  Links() { small_.write(model_ / "x.safetensors", Part::kTransformer, Names::kBfl); }
  void expect(const std::string& message) const {
    try {
      Checkpoint::open(model_);
      ADD_FAILURE() << "no error, expected one with: " << message;
    } catch (const Error& e) {
      EXPECT_EQ(e.code(), ErrorCode::kModel);
      EXPECT_NE(std::string(e.what()).find(message), std::string::npos) << e.what();
      EXPECT_EQ(std::string(e.what()).find("secret words"), std::string::npos) << e.what();
    }
  }
  const SmallModel small_{false};
  const TempFolder folder_;
  const fs::path model_ = folder_ / "model";
};

TEST_F(Links, InACircleEndTheSearch) {
  fs::create_directory_symlink(".", model_ / "text_encoders");
  fs::create_directory_symlink("..", model_ / "clip");
  fs::create_directory_symlink("vae", model_ / "vae");
  fs::create_directory_symlink(".", model_ / "models");
  fs::create_directory_symlink("unet", model_ / "unet");
  fs::create_symlink("b.safetensors", model_ / "a.safetensors");
  fs::create_symlink("a.safetensors", model_ / "b.safetensors");
  expect("no CLIP-L text encoder was found");
  fs::remove(model_ / "x.safetensors");
  expect("neither a model in diffusers layout");
  fs::create_directory_symlink("transformer", model_ / "transformer");
  expect("transformer is a link to transformer, which is not there");
}

TEST_F(Links, OutOfTheModelGiveWeightsAndNothingElse) {
  folder_.write("secret", "secret words");
  for (const char* name : {"ae.safetensors", "clip.gguf", "t5.sft"})
    fs::create_symlink("../secret", model_ / name);
  expect("no CLIP-L text encoder was found");
  fs::remove(model_ / "x.safetensors");
  fs::create_symlink("../secret", model_ / "x.safetensors");
  expect("ae.safetensors: neither safetensors nor GGUF");
  small_.write_model(folder_ / "elsewhere");
  fs::create_directory_symlink("../elsewhere/transformer", model_ / "transformer");
  fs::create_symlink("../secret", model_ / "model_index.json");
  expect("there is no text_encoder/config.json");
  for (const Part part : {Part::kClip, Part::kT5, Part::kVae})
    fs::create_directory_symlink(folder_ / "elsewhere" / part_folder(part), model_ / part_folder(part));
  EXPECT_TRUE(Checkpoint::open(model_).has_part(Part::kVae));
  fs::create_directory(model_ / "scheduler");
  fs::create_symlink("../../secret", model_ / "scheduler/scheduler_config.json");
  expect("scheduler_config.json: not valid JSON");
}

// Messages stay a line that can be read.
TEST(BrokenFiles, NamesOfAMebibyte) {
  const TempFolder folder;
  const std::string name(std::size_t{1} << 20, 'n');
  FileMaker file;
  file.add(name, {{2, 2}, {1, 2, 3, 4}}, DType::kF32);
  file.write(folder / "x.safetensors");
  const Checkpoint dummy = Checkpoint::dummy("tiny");
  const auto expect_short = [](const std::function<void()>& open) {
    try {
      open();
      ADD_FAILURE() << "no error";
    } catch (const Error& e) {
      EXPECT_EQ(e.code(), ErrorCode::kModel) << e.what();
      EXPECT_LT(std::string_view(e.what()).size(), 2000u);
    }
  };
  expect_short([&] { Checkpoint::open(folder / "x.safetensors"); });
  expect_short([&] { Lora::open(folder / "x.safetensors", dummy); });
  const std::string q = "transformer.transformer_blocks.0.attn.to_q.lora_";
  file.add(q + "A.weight", {{4, 64}, std::vector<float>(256)}, DType::kF32);
  file.add(q + "B.weight", {{64, 4}, std::vector<float>(256)}, DType::kF32);
  for (const char* ending : {".lora_A.weight", ".alpha", ".diff"})
    file.add(name + ending, {{2, 2}, {1, 2, 3, 4}}, DType::kF32);
  file.write(folder / "l.safetensors");
  const auto lora = Lora::open(folder / "l.safetensors", dummy);
  EXPECT_FALSE(lora->notes().empty());
  for (const std::string& note : lora->notes()) EXPECT_LT(note.size(), 2000u);
  const nlohmann::json weight_map = {
      {"metadata", nlohmann::json::object()},
      {"weight_map", {{"x", name + ".safetensors"}, {name, "../a.safetensors"}}}};
  folder.write("i.safetensors.index.json", weight_map.dump());
  expect_short([&] { Checkpoint::open(folder / "i.safetensors.index.json"); });
}

}  // namespace
}  // namespace darkroom
