// Each model, stage by stage, against what transformers and diffusers computed
// in f32 (tests/fixtures/pipelines).
#include <gtest/gtest.h>

#include <algorithm>
#include <list>
#include <nlohmann/json.hpp>

#include "backends/registry.h"
#include "base/json.h"
#include "expected.h"
#include "models/clip/clip.h"
#include "models/flux/flux.h"
#include "models/t5/t5.h"
#include "models/vae/vae.h"
#include "weights/catalog.h"
#include "weights/source.h"

namespace darkroom {
namespace {

// Rounding of f32 sums in another order, through all layers of a small model.
constexpr double kTolerance = 2e-5;

// As transformers' files spell a part: CLIP's with "text_model." or without it.
std::vector<StoredPlace> with_or_without_prefix(const Param& param) {
  constexpr std::string_view kPrefix = "text_model.";
  std::vector<StoredPlace> places = as_named(param);
  if (param.name.starts_with(kPrefix)) places.push_back({.name = param.name.substr(kPrefix.size())});
  return places;
}

// A backend with room for a small model, and one fixture folder.
class Stage : public testing::TestWithParam<std::string> {
 protected:
  Stage() : memory_(256 << 20), arena_(memory_), backend_(make_backend({.name = GetParam(), .threads = 2})) {}

  Context ctx() { return {*backend_, arena_, DType::kF32}; }

  std::vector<float> host(const Tensor& t) {
    std::vector<float> out(static_cast<std::size_t>(t.shape.numel()));
    backend_->download(t, out);
    return out;
  }

  static nlohmann::json config(const std::string& folder) {
    return read_json_file(fixture_path("pipelines/" + folder + "/config.json"), 1 << 20);
  }

  template <typename Weights, typename Config>
  void bind(Weights& weights, const Config& config, const std::string& folder) {
    sources_.push_back(std::make_unique<CatalogSource>(Catalog(fixture_path("pipelines/" + folder)),
                                                       with_or_without_prefix));
    weights.visit(config, loaded_.emplace_back(*sources_.back()).binder());
  }

  Buffer memory_;
  Arena arena_;
  std::unique_ptr<Backend> backend_;
  std::vector<std::unique_ptr<CatalogSource>> sources_;
  std::list<LoadedWeights> loaded_;
};

TEST_P(Stage, ClipPooled) {
  for (const std::string name : {"dev_small", "schnell_head128"}) {
    const Expected expected(fixture_path("pipelines/" + name + "/expected.safetensors"));
    const clip::Config c = clip::config_from_json(config(name + "/text_encoder"), name);
    clip::Weights weights;
    bind(weights, c, name + "/text_encoder");
    const std::vector<float> got = host(clip::encode_pooled(ctx(), c, weights, expected.ids("clip_ids")));
    EXPECT_LT(relative_error(got, expected.floats("clip_pooled")), kTolerance) << name;
  }
}

TEST_P(Stage, T5States) {
  for (const std::string name : {"dev_small", "schnell_head128"}) {
    const Expected expected(fixture_path("pipelines/" + name + "/expected.safetensors"));
    const t5::Config c = t5::config_from_json(config(name + "/text_encoder_2"), name);
    t5::Weights weights;
    bind(weights, c, name + "/text_encoder_2");
    const std::vector<std::vector<int32_t>> prompts(1, expected.ids("t5_ids"));
    const std::vector<float> got = host(t5::encode(ctx(), c, weights, prompts).at(0));
    EXPECT_LT(relative_error(got, expected.floats("t5_states")), kTolerance) << name;
  }
}

TEST_P(Stage, TransformerBlockByBlock) {
  struct Case {
    std::string expected, model;
    float guidance;
    int64_t rows, cols;
  };
  for (const Case& test :
       {Case{"dev_small", "dev_small", 3.5f, 4, 4}, Case{"dev_true_cfg", "dev_small", 2.0f, 5, 3},
        Case{"schnell_head128", "schnell_head128", 0.0f, 3, 6}}) {
    SCOPED_TRACE(test.expected);
    const Expected expected(fixture_path("pipelines/" + test.expected + "/expected.safetensors"));
    const flux::Config c = flux::config_from_json(config(test.model + "/transformer"), test.model);
    flux::Weights weights;
    bind(weights, c, test.model + "/transformer");
    const std::vector<float> states = expected.floats("t5_states"), noise = expected.floats("noise_packed");
    const int64_t txt_tokens = static_cast<int64_t>(states.size()) / c.joint_attention_dim;
    const Tensor text = ops::upload(ctx(), states, DType::kF32, {txt_tokens, c.joint_attention_dim});
    const Tensor latents = ops::upload(ctx(), noise, DType::kF32, {test.rows * test.cols, c.in_channels});
    const std::vector<float> pooled_values = expected.floats("clip_pooled");
    const Tensor pooled = ops::upload(ctx(), pooled_values, DType::kF32, {1, c.pooled_projection_dim});

    const std::vector<float> timesteps = expected.floats("timesteps");
    const std::vector<float> guidance(timesteps.size(), test.guidance);
    const Tensor modulation = flux::modulation_vectors(ctx(), c, weights, timesteps, guidance, pooled);
    ASSERT_EQ(modulation.cols(), flux::modulation_width(c));
    const Tensor first = modulation.slice_rows(0, 1);
    const flux::Rope rope = flux::rope_tables(ctx(), c, txt_tokens, test.rows, test.cols);
    const flux::Hidden hidden = flux::embed(ctx(), c, weights, latents, text);
    EXPECT_LT(relative_error(host(hidden.txt()), expected.floats("step1.txt_in")), kTolerance);
    EXPECT_LT(relative_error(host(hidden.img()), expected.floats("step1.img_in")), kTolerance);
    for (int64_t block = 0; block < c.num_blocks(); ++block) {
      flux::run_blocks(ctx(), c, weights, first, rope, hidden, block, block + 1);
      const bool is_double = block < c.num_layers;
      const std::string name = fmt::format("step1.{}.{}", is_double ? "double" : "single",
                                           is_double ? block : block - c.num_layers);
      EXPECT_LT(relative_error(host(hidden.txt()), expected.floats(name + ".txt")), kTolerance) << name;
      EXPECT_LT(relative_error(host(hidden.img()), expected.floats(name + ".img")), kTolerance) << name;
    }
    const Tensor output = flux::project(ctx(), c, weights, first, hidden);
    EXPECT_LT(relative_error(host(output), expected.floats("step1.output")), kTolerance);
  }
}

// [1, C, H, W] as PyTorch has it -> [H, W, C] as we have it.
std::vector<float> to_pixels(const Tensor& planes) {
  const int64_t c = planes.shape[1], h = planes.shape[2], w = planes.shape[3];
  const float* in = static_cast<const float*>(planes.data);
  std::vector<float> out(static_cast<std::size_t>(c * h * w));
  for (int64_t i = 0; i < c; ++i) {
    for (int64_t p = 0; p < h * w; ++p) out[static_cast<std::size_t>(p * c + i)] = in[i * h * w + p];
  }
  return out;
}

TEST_P(Stage, VaeWithQuantConv) {
  const Expected expected(fixture_path("pipelines/vae_quant_conv/expected.safetensors"));
  const vae::Config c = vae::config_from_json(config("vae_quant_conv/vae"), "vae");
  ASSERT_TRUE(c.use_post_quant_conv);
  ASSERT_FALSE(c.mid_block_add_attention);
  vae::DecoderWeights weights;
  bind(weights, c, "vae_quant_conv/vae");
  const OwnedTensor z_owned = expected.load("z");
  const Tensor& z_planes = z_owned.tensor;
  const Tensor z = ops::upload(ctx(), to_pixels(z_planes), DType::kF32,
                               {z_planes.shape[2], z_planes.shape[3], c.latent_channels});
  std::vector<float> got;
  vae::decode(ctx(), c, weights, z, {}, nullptr, [&](int64_t, const Tensor& rows) {
    const std::vector<float> values = host(rows);
    got.insert(got.end(), values.begin(), values.end());
  });
  EXPECT_LT(relative_error(got, to_pixels(expected.load("decoded").tensor)), kTolerance);
}

TEST_P(Stage, VaeEncodes) {
  for (const auto& [name, folder, pixels_name] :
       {std::tuple("vae_quant_conv", "vae_quant_conv/vae", "pixels"),
        std::tuple("dev_img2img", "dev_small/vae", "init")}) {
    SCOPED_TRACE(name);
    const Expected expected(fixture_path(fmt::format("pipelines/{}/expected.safetensors", name)));
    const vae::Config c = vae::config_from_json(config(folder), "vae");
    vae::EncoderWeights weights;
    bind(weights, c, folder);
    const OwnedTensor owned = expected.load(pixels_name);
    const Tensor& stored = owned.tensor;
    std::vector<float> pixels;
    Shape shape = stored.shape;
    if (stored.dtype == DType::kF32) {
      pixels = to_pixels(stored);
      shape = {stored.shape[2], stored.shape[3], 3};
    } else {
      for (const uint8_t level : expected.bytes(pixels_name)) {
        pixels.push_back(2.0f * (static_cast<float>(level) / 255.0f) - 1.0f);
      }
    }
    const Tensor picture = ops::upload(ctx(), pixels, DType::kF32, shape);
    const Tensor moments = vae::encode(ctx(), c, weights, picture, {}, nullptr);
    EXPECT_LT(relative_error(host(moments), to_pixels(expected.load("moments").tensor)), kTolerance);
  }
}

INSTANTIATE_TEST_SUITE_P(Backends, Stage, testing::Values("reference", "cpu"),
                         [](const auto& variant) { return variant.param; });

TEST(T5, RelativeBuckets) {
  const Expected expected(fixture_path("ops.safetensors"));
  const std::vector<int32_t> distances = expected.ids("t5_buckets.distance");
  for (const auto& [buckets, limit] : {std::pair{32, 128}, std::pair{16, 64}}) {
    const std::vector<int32_t> want = expected.ids(fmt::format("t5_buckets.{}_{}", buckets, limit));
    t5::Config c;
    c.num_buckets = buckets;
    c.max_distance = limit;
    for (std::size_t i = 0; i < want.size(); ++i) {
      EXPECT_EQ(t5::relative_bucket(c, distances[i]), want[i]) << "distance " << distances[i];
    }
  }
}

TEST(Flux, TimestepEmbedding) {
  const Expected expected(fixture_path("ops.safetensors"));
  const std::vector<float> times = expected.floats("sinusoid.t"), want = expected.floats("sinusoid.y");
  for (std::size_t i = 0; i < times.size(); ++i) {
    const std::vector<float> got = flux::timestep_embedding(times[i], 256);
    for (std::size_t j = 0; j < got.size(); ++j) {
      // exp() of two libraries may differ by one unit in the last place, which the time then multiplies.
      EXPECT_NEAR(got[j], want[i * 256 + j], 1e-6 + 1.2e-7 * times[i]) << "t " << times[i] << " column " << j;
    }
  }
}

TEST(Flux, ParameterCountsOfTheRealModels) {
  for (const bool guidance : {true, false}) {
    flux::Config c;
    c.guidance_embeds = guidance;
    int64_t all = 0, modulation = 0;
    flux::Weights().visit(c, [&](const Param& param, Tensor&) {
      all += param.shape.numel();
      if (param.unit.stage == darkroom::Stage::kModulation) modulation += param.shape.numel();
    });
    EXPECT_EQ(all, guidance ? 11'901'408'320 : 11'891'178'560);
    // 19 · 2 · (6·D·D + 6·D) + 38 · (3·D·D + 3·D) + 2·D·D + 2·D, and the time, guidance and pooled embedders.
    EXPECT_EQ(modulation,
              3'247'448'064 + 10'229'760 * (guidance ? 2 : 1) + (768 + 1) * 3072 + (3072 + 1) * 3072);
    EXPECT_EQ(flux::modulation_width(c), 1'056'768);
  }
}

TEST(Configs, HostileValuesAreRefused) {
  using nlohmann::json;
  EXPECT_THROW(flux::config_from_json(json::array(), "x"), Error);
  EXPECT_THROW(flux::config_from_json({{"num_layers", -1}}, "x"), Error);
  EXPECT_THROW(flux::config_from_json({{"num_layers", "19"}}, "x"), Error);
  EXPECT_THROW(flux::config_from_json({{"attention_head_dim", 64}}, "x"), Error);  // axes sum to 128
  EXPECT_THROW(flux::config_from_json({{"axes_dims_rope", {15, 57, 56}}}, "x"), Error);
  EXPECT_THROW(flux::config_from_json({{"in_channels", 384}, {"out_channels", 64}}, "x"), Error);
  EXPECT_THROW(t5::config_from_json({{"relative_attention_num_buckets", 30}}, "x"), Error);
  EXPECT_THROW(t5::config_from_json({{"feed_forward_proj", "relu"}}, "x"), Error);
  EXPECT_THROW(clip::config_from_json({{"num_attention_heads", 7}}, "x"), Error);
  EXPECT_THROW(clip::config_from_json({{"hidden_act", "relu"}}, "x"), Error);
  EXPECT_THROW(vae::config_from_json({{"norm_num_groups", 7}}, "x"), Error);
  EXPECT_THROW(vae::config_from_json({{"block_out_channels", json::array()}}, "x"), Error);
}

// What a file says goes into a terminal only as printable text.
TEST(Configs, MessagesArePrintable) {
  const nlohmann::json object = {
      {"hidden_act", "\x1b[2J\x7f"}, {"act_fn", "\x1b[2J\x7f"}, {"dense_act_fn", "\x7f"}};
  const auto message = [&](auto read) -> std::string {
    try {
      read(object);
    } catch (const Error& error) {
      return error.what();
    }
    return "";
  };
  for (const std::string& text : {message([](const auto& json) { clip::config_from_json(json, "x"); }),
                                  message([](const auto& json) { vae::config_from_json(json, "x"); }),
                                  message([](const auto& json) { t5::config_from_json(json, "x"); })}) {
    EXPECT_NE(text.find("\\x7f"), std::string::npos) << text;
    EXPECT_TRUE(std::ranges::all_of(text, [](char c) { return c >= ' ' && c <= '~'; })) << text;
  }
}

}  // namespace
}  // namespace darkroom
