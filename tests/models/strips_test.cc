// The VAE in strips, in memory and in a scratch file, against the same model written down
// over whole pictures.
#include <gtest/gtest.h>

#include <cmath>

#include "backends/dry_run/dry_run.h"
#include "backends/registry.h"
#include "base/temp_folder.h"
#include "models/vae/vae.h"
#include "weights/source.h"

namespace darkroom {
namespace {

constexpr std::size_t kArenaBytes = std::size_t{256} << 20;

vae::Config small_config() {
  vae::Config c;
  c.latent_channels = 4;
  c.block_out_channels = {8, 16, 24};
  c.layers_per_block = 1;
  c.norm_num_groups = 4;
  c.use_quant_conv = c.use_post_quant_conv = true;
  return c;
}

// The model over whole pictures, op by op.
class Whole {
 public:
  Whole(const Context& ctx, const vae::Config& config) : ctx_(ctx), config_(config) {}

  Tensor decode(const vae::DecoderWeights& w, const Tensor& z) const {
    Tensor x = ops::conv2d(ctx_, ops::conv2d(ctx_, z, w.post_quant), w.conv_in);
    x = mid(w.mid, x);
    for (const vae::UpBlock& block : w.ups) {
      for (const vae::ResBlock& one : block.resnets) x = resnet(one, x);
      if (block.upsample.weight.present()) x = ops::conv2d(ctx_, x, block.upsample, {.upsample = 2});
    }
    return ops::conv2d(ctx_, norm(w.norm_out, x, true), w.conv_out);
  }

  Tensor encode(const vae::EncoderWeights& w, const Tensor& picture) const {
    Tensor x = ops::conv2d(ctx_, picture, w.conv_in);
    for (const vae::DownBlock& block : w.downs) {
      for (const vae::ResBlock& one : block.resnets) x = resnet(one, x);
      if (block.downsample.weight.present()) x = ops::conv2d(ctx_, x, block.downsample, {.downsample = 2});
    }
    x = mid(w.mid, x);
    return ops::conv2d(ctx_, ops::conv2d(ctx_, norm(w.norm_out, x, true), w.conv_out), w.quant);
  }

 private:
  Tensor mid(const vae::MidBlock& w, const Tensor& x) const {
    return resnet(w.resnets[1], attention(w.attention, resnet(w.resnets[0], x)));
  }
  Tensor norm(const NormWeights& w, const Tensor& x, bool silu) const {
    return ops::group_norm(ctx_, x, w.weight, w.bias,
                           {.groups = config_.norm_num_groups, .epsilon = 1e-6f, .silu = silu});
  }
  Tensor resnet(const vae::ResBlock& w, const Tensor& x) const {
    const Tensor h = ops::conv2d(ctx_, norm(w.norm1, x, true), w.conv1);
    const Tensor residual = w.shortcut.weight.present() ? ops::conv2d(ctx_, x, w.shortcut) : x;
    return ops::conv2d(ctx_, norm(w.norm2, h, true), w.conv2, {.residual = residual});
  }
  Tensor attention(const vae::AttentionBlock& w, const Tensor& x) const {
    const Shape matrix{x.rows(), x.cols()};
    const Tensor n = norm(w.norm, x, false).reshape(matrix);
    const Tensor q = ops::linear(ctx_, n, w.q), k = ops::linear(ctx_, n, w.k), v = ops::linear(ctx_, n, w.v);
    const float scale = 1.0f / std::sqrt(static_cast<float>(x.cols()));
    ops::linear_residual(ctx_, ops::attention(ctx_, q, k, v, {.scale = scale}), w.out, x.reshape(matrix));
    return x;
  }

  const Context& ctx_;
  const vae::Config& config_;
};

class Strips : public testing::TestWithParam<std::string> {
 protected:
  Strips()
      : backend_(make_backend({.name = "cpu", .isa = GetParam(), .threads = 2})),
        memory_(kArenaBytes),
        source_(DType::kBF16) {
    weights_.visit(config_, loaded_.binder());
    encoder_.visit(config_, loaded_.binder());
  }

  std::vector<float> host(const Tensor& t) {
    std::vector<float> out(static_cast<std::size_t>(t.shape.numel()));
    backend_->download(t, out);
    return out;
  }

  static Tensor waves(const Context& ctx, const Shape& shape) {
    std::vector<float> values(static_cast<std::size_t>(shape.numel()));
    for (std::size_t i = 0; i < values.size(); ++i) values[i] = std::sin(static_cast<float>(i * i % 1009));
    return ops::upload(ctx, values, ctx.activation, shape);
  }
  Tensor latents(const Context& ctx, int64_t height, int64_t width) const {
    return waves(ctx, {height, width, config_.latent_channels});
  }
  // A picture of height × width latents.
  Tensor pixels(const Context& ctx, int64_t height, int64_t width) const {
    return waves(ctx, {height * config_.upscale(), width * config_.upscale(), config_.out_channels});
  }

  std::vector<float> in_strips(int64_t height, int64_t width, DType precision, const vae::StripPlan& plan) {
    const ScratchFile scratch(folder_.path(), vae::canvas_bytes(config_, height * width, precision));
    Arena arena(memory_);
    const Context ctx{*backend_, arena, precision};
    std::vector<float> picture;
    vae::decode(ctx, config_, weights_, latents(ctx, height, width), plan, plan.in_file ? &scratch : nullptr,
                [&](int64_t first, const Tensor& rows) {
                  EXPECT_EQ(first * width * config_.upscale() * 3, static_cast<int64_t>(picture.size()));
                  const std::vector<float> values = host(rows);
                  picture.insert(picture.end(), values.begin(), values.end());
                });
    return picture;
  }

  std::vector<float> encoded(int64_t height, int64_t width, DType precision, const vae::StripPlan& plan) {
    const ScratchFile scratch(folder_.path(), vae::encode_canvas_bytes(config_, height * width, precision));
    Arena arena(memory_);
    const Context ctx{*backend_, arena, precision};
    return host(vae::encode(ctx, config_, encoder_, pixels(ctx, height, width), plan,
                            plan.in_file ? &scratch : nullptr));
  }

  const vae::Config config_ = small_config();
  std::unique_ptr<Backend> backend_;
  Buffer memory_;
  DummySource source_;
  LoadedWeights loaded_{source_};
  vae::DecoderWeights weights_;
  vae::EncoderWeights encoder_;
  TempFolder folder_;
};

// 20×17 latents are more pixels than one block of keys.
TEST_P(Strips, AreTheWholePictureByteForByte) {
  for (const auto& [height, width] : {std::pair(6, 8), std::pair(5, 3), std::pair(20, 17)}) {
    for (const DType precision : {DType::kF32, DType::kBF16}) {
      Arena arena(memory_);
      const Context ctx{*backend_, arena, precision};
      const std::vector<float> whole =
          host(Whole(ctx, config_).decode(weights_, latents(ctx, height, width)));
      double power = 0;
      for (const float value : whole) power += value * value;
      ASSERT_GT(power, 0);
      for (const bool in_file : {false, true}) {
        for (const std::size_t bytes : {1, 6000, 25000, 1 << 30}) {
          EXPECT_TRUE(whole == in_strips(height, width, precision, {bytes, in_file}))
              << height << "x" << width << " " << dtype_name(precision) << ", strips of " << bytes
              << (in_file ? " in a file" : "");
        }
      }
    }
  }
}

TEST_P(Strips, EncodeTheWholePictureByteForByte) {
  for (const auto& [height, width] : {std::pair(6, 8), std::pair(5, 3), std::pair(20, 17)}) {
    for (const DType precision : {DType::kF32, DType::kBF16}) {
      Arena arena(memory_);
      const Context ctx{*backend_, arena, precision};
      const std::vector<float> whole = host(Whole(ctx, config_).encode(encoder_, pixels(ctx, height, width)));
      ASSERT_EQ(whole.size(), static_cast<std::size_t>(height * width * 2 * config_.latent_channels));
      for (const bool in_file : {false, true}) {
        for (const std::size_t bytes : {1, 6000, 25000, 1 << 30}) {
          EXPECT_TRUE(whole == encoded(height, width, precision, {bytes, in_file}))
              << height << "x" << width << " " << dtype_name(precision) << ", strips of " << bytes
              << (in_file ? " in a file" : "");
        }
      }
    }
  }
}

INSTANTIATE_TEST_SUITE_P(All, Strips, testing::ValuesIn(supported_isa_names()),
                         [](const auto& variant) { return variant.param; });

// What a decode asks for, with FLUX.1's own decoder.
std::size_t planned_bytes(int64_t height, int64_t width, const vae::StripPlan& plan) {
  DryRunBackend backend;
  Arena arena = Arena::counting();
  const Context ctx{backend, arena, DType::kBF16};
  const vae::Config config;
  PlanSource source(DType::kBF16);
  vae::DecoderWeights weights;
  weights.visit(config, describe_from(source));
  const Tensor z = ctx.allocate({height / 8, width / 8, config.latent_channels});
  vae::decode(ctx, config, weights, z, plan, nullptr, [](int64_t, const Tensor&) {});
  return arena.peak();
}

TEST(StripsPlan, HoldsABlocksInputAndOutputOrAFewRows) {
  constexpr std::size_t kMebibyte = std::size_t{1} << 20;
  // 1024² pixels of 256 channels going in and of 128 coming out are 768 MiB.
  const std::size_t in_memory = planned_bytes(1024, 1024, {});
  EXPECT_GE(in_memory, 768 * kMebibyte);
  EXPECT_LE(in_memory, (768 + 20) * kMebibyte);
  // Six rows of 16384 pixels of 256 channels, with one more on either side, are 64 MiB; of their result 48.
  for (const auto& [height, width] : {std::pair(1024, 1024), std::pair(2048, 2048), std::pair(4096, 4096),
                                      std::pair(16384, 1024), std::pair(1024, 16384)}) {
    EXPECT_LE(planned_bytes(height, width, {4 * kMebibyte, true}), 140 * kMebibyte) << height << "x" << width;
  }
}

}  // namespace
}  // namespace darkroom
