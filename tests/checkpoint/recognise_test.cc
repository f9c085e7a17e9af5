// What a file is, and what is said of one that is something else.
#include "checkpoint/recognise.h"

#include <gtest/gtest.h>

#include "base/expect_error.h"
#include "small_files.h"

namespace darkroom {
namespace {

class Recognise : public HubTest {
 protected:
  std::filesystem::path write(const std::vector<std::string>& names,
                              const char* file = "x.safetensors") const {
    FileMaker maker;
    for (const std::string& name : names) maker.add(name, DType::kF32, {1}, std::vector<float>{1});
    maker.write(folder_ / file);
    return folder_ / file;
  }
  static void expect_refused(const std::filesystem::path& path, const std::string& why) {
    expect_error(ErrorCode::kModel, why, [&] { Checkpoint::open(path); });
  }
  const SmallModel small_{false};
};

TEST_F(Recognise, OtherModelsAreNamed) {
  const std::string dev_only = "; only FLUX.1 dev and schnell are supported",
                    flux_only = "; only FLUX.1 is supported";
  struct Case {
    std::vector<std::string> names;
    std::string why;
  };
  const Case cases[] = {
      {{"distilled_guidance_layer.in_proj.weight", "double_blocks.0.img_attn.qkv.weight"},
       "x.safetensors: this is a Chroma model" + dev_only},
      {{"double_stream_modulation_img.lin.weight", "double_blocks.0.img_attn.qkv.weight"},
       "a FLUX.2 model" + dev_only},
      {{"single_stream_modulation.lin.weight", "single_blocks.0.linear1.weight"},
       "a FLUX.2 model" + dev_only},
      {{"conditioner.embedders.1.model.ln_final.weight",
        "first_stage_model.decoder.up.0.block.0.conv1.weight",
        "model.diffusion_model.input_blocks.0.0.weight"},
       "a Stable Diffusion XL checkpoint" + flux_only},
      {{"add_embedding.linear_1.weight", "down_blocks.0.attentions.0.proj_in.weight"},
       "Stable Diffusion XL U-Net"},
      {{"model.diffusion_model.joint_blocks.0.x_block.attn.qkv.weight",
        "text_encoders.clip_l.transformer.text_model.embeddings.token_embedding.weight"},
       "a Stable Diffusion 3 model" + flux_only},
      {{"pos_embed.proj.weight", "transformer_blocks.0.attn.add_q_proj.bias"}, "a Stable Diffusion 3 model"},
      {{"model.diffusion_model.input_blocks.0.0.weight",
        "first_stage_model.decoder.up.0.block.0.conv1.weight",
        "cond_stage_model.transformer.text_model.embeddings.token_embedding.weight"},
       "a Stable Diffusion 1 or 2 checkpoint" + flux_only},
      {{"down_blocks.0.attentions.0.proj_in.weight"}, "a Stable Diffusion U-Net"},
      {{"transformer.single_transformer_blocks.0.attn.to_q.lora_A.weight"},
       "this is a LoRA, not a model; give it with --lora"},
      {{"lora_unet_double_blocks_0_img_attn_qkv.lora_down.weight"}, "this is a LoRA"},
      {{"double_blocks.0.processor.qkv_lora1.down.weight"}, "this is a LoRA"},
      {{"lycoris_double_blocks_0.hada_w1_a"}, "this is a LoRA"},
      {{"transformer_blocks.0.qkv_proj.wscales", "transformer_blocks.0.qkv_proj.qweight"},
       "a Nunchaku (SVDQuant) model, whose tiles are made for its own GPU kernels; take a GGUF or fp8 file"},
      {{"vision_model.embeddings.class_embedding"}, "a CLIP vision model; a text encoder is needed"},
      {{"controlnet_x_embedder.weight"}, "a ControlNet, which is not supported"},
      {{"blk.0.attn_q.weight", "token_embd.weight"}, "a language model in llama.cpp's names"},
      {{"a", "b", "c"}, "none of its 3 tensors belongs to a FLUX.1 transformer"}};
  for (const Case& c : cases) {
    SCOPED_TRACE(c.names[0]);
    expect_refused(write(c.names), c.why);
    EXPECT_TRUE(recognise(Catalog(folder_ / "x.safetensors")).parts.empty());
  }
}

// Fill takes 384 channels, Canny and Depth 128: an input picture beside the noise.
TEST_F(Recognise, ModelsThatNeedAPictureAreNamed) {
  for (const auto& [channels, why] :
       {std::pair(
            384,
            "384 input channels and 64 output channels; this is a Fill model, which needs an input picture"),
        std::pair(128, "128 input channels and 64 output channels; this is a Canny or Depth model")}) {
    for (const Names names : {Names::kBfl, Names::kDiffusers}) {
      FileMaker file;
      file.add_all(small_.in(Part::kTransformer, names));
      file.add(names == Names::kBfl ? "img_in.weight" : "x_embedder.weight", DType::kF32, {256, channels},
               std::vector<float>(static_cast<std::size_t>(256 * channels)));
      file.write(folder_ / "x.safetensors");
      expect_refused(folder_ / "x.safetensors", why);
    }
  }
}

TEST_F(Recognise, APartGivenAsAnotherIsNamed) {
  small_.write(folder_ / "flux.safetensors", Part::kTransformer, Names::kBfl);
  small_.write(folder_ / "t5.safetensors", Part::kT5);
  small_.write(folder_ / "clip.safetensors", Part::kClip);
  const auto expect = [&](CheckpointPaths paths, const std::string& why) {
    expect_error(ErrorCode::kModel, why, [&] { Checkpoint::open(paths); });
  };
  const std::string flux = (folder_ / "flux.safetensors").string();
  expect({flux, folder_ / "t5.safetensors", {}, {}},
         "t5.safetensors: this is a T5 text encoder, not a CLIP-L text encoder");
  expect({flux, {}, folder_ / "clip.safetensors", {}},
         "this is a CLIP-L text encoder, not a T5 text encoder");
  expect({flux, {}, {}, folder_ / "flux.safetensors"}, "this is a transformer, not a VAE");
  expect({(folder_ / "t5.safetensors").string(), {}, {}, {}}, "this is a T5 text encoder, not a transformer");
}

TEST_F(Recognise, AVaeOfFourChannelsIsStableDiffusions) {
  small_.write(folder_ / "flux.safetensors", Part::kTransformer, Names::kBfl);
  ModelConfig config = small_.config;
  config.vae.latent_channels = 4;
  FileMaker file;
  file.add_all(spelled(numbers_of(config, Part::kVae), Part::kVae, Names::kBfl, 0));
  file.write(folder_ / "vae.safetensors");
  expect_error(
      ErrorCode::kModel, "a VAE of 4 latent channels, as Stable Diffusion 1 and XL have; FLUX.1's", [&] {
        Checkpoint::open({(folder_ / "flux.safetensors").string(), {}, {}, folder_ / "vae.safetensors"});
      });
}

// A whole CLIP and a whole T5 hold the encoder that is needed; what lies beside it is left alone.
TEST_F(Recognise, TheEncoderOfAWholeModelIsTaken) {
  FileMaker clip, t5;
  clip.add_all(small_.of(Part::kClip));
  for (const char* name : {"vision_model.x", "logit_scale", "text_projection.weight"})
    clip.add(name, DType::kF32, {1}, std::vector<float>{1});
  clip.write(folder_ / "clip.safetensors");
  t5.add_all(small_.of(Part::kT5));
  t5.add("decoder.block.0.layer.1.EncDecAttention.q.weight", DType::kF32, {1}, std::vector<float>{1});
  t5.write(folder_ / "t5.safetensors");
  EXPECT_EQ(open_part_file(folder_ / "clip.safetensors", Part::kClip).prefix, "");
  EXPECT_EQ(open_part_file(folder_ / "t5.safetensors", Part::kT5).names, Names::kDiffusers);
}

TEST_F(Recognise, EachPrefixIsKnown) {
  const std::pair<Part, std::vector<const char*>> kKnown[] = {
      {Part::kTransformer, {"model.diffusion_model.", "diffusion_model.", "transformer.", "model."}},
      {Part::kClip,
       {"text_encoders.clip_l.transformer.", "text_encoders.clip_l.", "cond_stage_model.transformer.",
        "clip_l."}},
      {Part::kT5, {"text_encoders.t5xxl.transformer.", "text_encoders.t5xxl.", "t5xxl.", "text_encoder_2."}},
      {Part::kVae, {"vae.", "first_stage_model."}}};
  for (const auto& [part, prefixes] : kKnown) {
    for (const char* prefix : prefixes) {
      small_.write(folder_ / "x.safetensors", part, Names::kDiffusers, prefix);
      const Contents contents = recognise(Catalog(folder_ / "x.safetensors"));
      ASSERT_EQ(contents.parts.size(), 1u) << prefix;
      EXPECT_EQ(contents.parts[0].part, part);
      EXPECT_EQ(contents.parts[0].prefix, prefix);
    }
  }
}

// By their content, whatever their names; a pickle is never opened further.
TEST_F(Recognise, FilesOfOtherKindsAreNamed) {
  const std::string pickle =
      "not a safetensors file but a PyTorch pickle, which can hold code and is never read here";
  for (const char* name : {"x.safetensors", "x.ckpt", "x.pt", "x.gguf"}) {
    SCOPED_TRACE(name);
    expect_refused(folder_.write(name, std::string("PK\x03\x04", 4) + std::string(100, 'x')), pickle);
    expect_refused(folder_.write(name, std::string("\x80\x02}q\x00", 5) + std::string(100, 'x')), pickle);
    expect_refused(folder_.write(name, "<!DOCTYPE html><html><body>Sign in</body></html>"),
                   "not a safetensors file but a web page saved under this name");
    expect_refused(folder_.write(name, "version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 7\n"),
                   "not a safetensors file but a git-lfs pointer, not the file itself: run 'git lfs pull'");
    expect_refused(folder_.write(name, ""), "is empty");
  }
  expect_refused(folder_ / "absent.safetensors", "absent.safetensors: there is no such file or folder");
}

TEST_F(Recognise, HalfADownloadIsNamed) {
  small_.write(folder_ / "x.safetensors", Part::kTransformer, Names::kBfl);
  FileMaker file;
  file.add_all(small_.in(Part::kTransformer, Names::kBfl));
  file.write_as_gguf(folder_ / "x.gguf");
  for (const char* name : {"x.safetensors", "x.gguf"}) {
    const std::uintmax_t size = std::filesystem::file_size(folder_ / name);
    for (const std::uintmax_t rest : {size - 1, size / 2, std::uintmax_t{1000}, std::uintmax_t{5}}) {
      SCOPED_TRACE(std::string(name) + " " + std::to_string(rest));
      std::filesystem::resize_file(folder_ / name, rest);
      expect_refused(folder_ / name, name);
    }
  }
}

TEST_F(Recognise, OfTwoTransformersOneMustBeNamed) {
  small_.write(folder_ / "m/a.safetensors", Part::kTransformer, Names::kBfl);
  small_.write(folder_ / "m/models/unet/flux/b.safetensors", Part::kTransformer, Names::kBfl);
  expect_refused(folder_ / "m",
                 "2 transformers lie in this folder: a.safetensors, models/unet/flux/b.safetensors; pass one "
                 "of these files");
  std::filesystem::remove_all(folder_ / "m/models");
  write({"transformer.x.lora_A.weight"}, "m/lora.safetensors");
  EXPECT_EQ(open_transformer(folder_ / "m").where, folder_ / "m/a.safetensors");
  std::filesystem::remove(folder_ / "m/a.safetensors");
  expect_refused(folder_ / "m", "this is a LoRA");
}

}  // namespace
}  // namespace darkroom
