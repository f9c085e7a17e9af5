// Every parameter of each part is found in the files of every program, with the right rows.
#include <gtest/gtest.h>

#include "base/expect_error.h"
#include "small_files.h"

namespace darkroom {
namespace {

struct Case {
  Part part;
  Names names;
};
constexpr Case kCases[] = {{Part::kTransformer, Names::kDiffusers},
                           {Part::kTransformer, Names::kBfl},
                           {Part::kClip, Names::kDiffusers},
                           {Part::kT5, Names::kDiffusers},
                           {Part::kT5, Names::kLlama},
                           {Part::kT5, Names::kDistill},
                           {Part::kVae, Names::kDiffusers},
                           {Part::kVae, Names::kBfl}};

SpellingSizes sizes_of(const ModelConfig& config) {
  return {.inner_dim = config.transformer.inner_dim(),
          .vae_levels = static_cast<int64_t>(config.vae.block_out_channels.size())};
}

std::vector<float> floats(WeightSource& source, const Param& param) {
  const OwnedTensor loaded = load(source, param);
  const float* first = static_cast<const float*>(loaded.tensor.data);
  return {first, first + param.shape.numel()};
}

void expect_numbers(const Catalog& catalog, const Case& c, const SmallModel& model) {
  CatalogSource source(catalog, spelling_of(c.part, c.names, sizes_of(model.config)));
  visit_part(model.config, c.part, [&](const Param& param, Tensor&) {
    EXPECT_EQ(floats(source, param), model.of(c.part).at(param.name).values) << param.name;
  });
}

TEST(Spelling, EveryParameterIsFoundInEachWithItsRows) {
  const TempFolder folder;
  for (const Case& c : kCases) {
    SCOPED_TRACE(std::string(part_title(c.part)) + ", " + std::string(names_title(c.names)));
    SmallModel model(false);
    if (c.names == Names::kDistill) {
      model.config.t5.projection = 96;
      model.parts[static_cast<std::size_t>(Part::kT5)] = numbers_of(model.config, Part::kT5);
    }
    model.write(folder / "x.safetensors", c.part, c.names);
    const Catalog catalog(folder / "x.safetensors");
    const FoundPart found = require_part(catalog, c.part);
    EXPECT_EQ(found.names, c.names);
    EXPECT_EQ(found.prefix, "");
    expect_numbers(catalog, c, model);
    // GGUF has no 1x1 convolutions of [out, in], and lists extents the other way round.
    FileMaker file;
    file.add_all(model.in(c.part, c.names));
    file.write_as_gguf(folder / "x.gguf");
    expect_numbers(Catalog(folder / "x.gguf"), c, model);
  }
}

TEST(Spelling, SizesFollowFromShapes) {
  const TempFolder folder;
  const SmallModel model(false);
  for (const Case& c : kCases) {
    if (c.names == Names::kDistill) continue;
    model.write(folder / "x.safetensors", c.part, c.names);
    const PartFiles files = open_part_file(folder / "x.safetensors", c.part);
    const ModelConfig& want = model.config;
    switch (c.part) {
      case Part::kClip: {
        const clip::Config got = clip_config(files);
        EXPECT_EQ(
            std::tuple(got.vocab_size, got.hidden_size, got.intermediate_size, got.num_layers, got.num_heads),
            std::tuple(8, 64, 64, 2, 1));
        break;
      }
      case Part::kT5: {
        const t5::Config got = t5_config(files);
        EXPECT_EQ(std::tuple(got.d_model, got.d_kv, got.d_ff, got.num_layers, got.num_heads, got.projection),
                  std::tuple(64, 32, 64, 2, 2, 0));
        break;
      }
      case Part::kTransformer: {
        const flux::Config got = transformer_config(files);
        EXPECT_EQ(std::tuple(got.num_layers, got.num_single_layers, got.num_heads, got.head_dim,
                             got.guidance_embeds),
                  std::tuple(2, 2, 2, 128, true));
        EXPECT_EQ(got.axes_dims_rope, want.transformer.axes_dims_rope);
        break;
      }
      case Part::kVae: {
        const vae::Config got = vae_config(files);
        EXPECT_EQ(got.block_out_channels, want.vae.block_out_channels);
        EXPECT_EQ(
            std::tuple(got.latent_channels, got.layers_per_block, got.norm_num_groups, got.use_quant_conv),
            std::tuple(16, 2, 32, false));
        EXPECT_TRUE(got.mid_block_add_attention);
        break;
      }
    }
  }
}

// A file with both names: the model's own counts.
TEST(Spelling, TheExactNameComesFirst) {
  const TempFolder folder;
  const SmallModel model(false);
  const auto check = [&](Part part, Names names, const std::string& own, const std::string& other,
                         const std::string& param) {
    SCOPED_TRACE(own);
    const Tensors tensors = model.in(part, names);
    Numbers wrong = tensors.at(own);
    for (float& value : wrong.values) value += 1;
    FileMaker both, only_other;
    both.add_all(tensors);
    both.add(other, wrong, DType::kF32);
    both.write(folder / "both.safetensors");
    only_other.add_all(tensors);
    only_other.erase(own);
    only_other.add(other, tensors.at(own), DType::kF32);
    only_other.write(folder / "other.safetensors");
    for (const char* name : {"both.safetensors", "other.safetensors"}) {
      const Catalog catalog(folder / name);
      EXPECT_EQ(require_part(catalog, part).names, names);
      CatalogSource source(catalog, spelling_of(part, names, sizes_of(model.config)));
      visit_part(model.config, part, [&](const Param& p, Tensor&) {
        if (p.name != param) return;
        EXPECT_EQ(floats(source, p), model.of(part).at(param).values) << name;
      });
    }
  };
  check(Part::kT5, Names::kDiffusers, "shared.weight", "encoder.embed_tokens.weight", "shared.weight");
  check(Part::kClip, Names::kDiffusers, "text_model.final_layer_norm.bias", "final_layer_norm.bias",
        "text_model.final_layer_norm.bias");
  check(Part::kClip, Names::kDiffusers, "text_model.embeddings.token_embedding.weight",
        "embeddings.token_embedding.weight", "text_model.embeddings.token_embedding.weight");
  check(Part::kTransformer, Names::kBfl, "double_blocks.1.img_attn.norm.query_norm.scale",
        "double_blocks.1.img_attn.norm.query_norm.weight", "transformer_blocks.1.attn.norm_q.weight");
  check(Part::kTransformer, Names::kBfl, "single_blocks.0.norm.key_norm.scale",
        "single_blocks.0.norm.key_norm.weight", "single_transformer_blocks.0.attn.norm_k.weight");
  check(Part::kVae, Names::kDiffusers, "decoder.mid_block.attentions.0.to_q.weight",
        "decoder.mid_block.attentions.0.query.weight", "decoder.mid_block.attentions.0.to_q.weight");
}

TEST(Spelling, ClipWithoutItsPrefixIsClip) {
  const TempFolder folder;
  const SmallModel model(false);
  FileMaker file;
  for (const auto& [name, numbers] : model.of(Part::kClip)) file.add(name.substr(11), numbers, DType::kF32);
  file.add("logit_scale", DType::kF32, {1}, std::vector<float>{4.6f});
  file.write(folder / "x.safetensors");
  expect_numbers(Catalog(folder / "x.safetensors"), {Part::kClip, Names::kDiffusers}, model);
}

TEST(Spelling, ASharedTensorOfAnotherHeightIsRefused) {
  const TempFolder folder;
  const SmallModel model(false);
  const auto expect = [&](const char* name, int64_t rows, const std::string& message) {
    FileMaker file;
    file.add_all(model.in(Part::kTransformer, Names::kBfl));
    file.add(name, DType::kF32, {rows, 256}, std::vector<float>(static_cast<std::size_t>(rows * 256)));
    file.write(folder / "x.safetensors");
    CatalogSource source(Catalog(folder / "x.safetensors"),
                         spelling_of(Part::kTransformer, Names::kBfl, sizes_of(model.config)));
    expect_error(ErrorCode::kModel, message, [&] {
      visit_part(model.config, Part::kTransformer,
                 [&](const Param& param, Tensor&) { source.describe(param); });
    });
  };
  expect("double_blocks.0.img_attn.qkv.weight", 512, "is F32 [512, 256], the config asks for [768, 256]");
  expect("single_blocks.1.linear1.weight", 768, "is F32 [768, 256], the config asks for [1792, 256]");
  expect("final_layer.adaLN_modulation.1.weight", 256, "is F32 [256, 256], the config asks for [512, 256]");
}

}  // namespace
}  // namespace darkroom
