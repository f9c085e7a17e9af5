#include "checkpoint/derive.h"

#include <algorithm>
#include <functional>
#include <numeric>

#include "base/error.h"
#include "base/printable.h"
#include "weights/bitsandbytes.h"

namespace darkroom {
namespace {

// As the configs' largest field; products of two, and a few, stay far inside 64 bits.
constexpr int64_t kMaxExtent = 10'000'000;

// Shapes of a part's parameters by the models' names.
class Shapes {
 public:
  Shapes(const Catalog& catalog, Part part, Names names, const SpellingSizes& sizes = {})
      : catalog_(catalog), spelling_(spelling_of(part, names, sizes)) {}

  bool has(const std::string& name) const { return find(name) != nullptr; }
  // Extent `index` of that parameter. Errors: kModel.
  int64_t extent(const std::string& name, std::size_t index) const {
    const StoredTensor* stored = find(name);
    require(stored, ErrorCode::kModel, "{}: there is no tensor '{}', which tells the size of the model",
            catalog_.where(), stored_name(name));
    const std::vector<int64_t> extents = extents_of(catalog_, stored->name);
    // A tensor without elements may have extents of any size.
    require(index < extents.size() && extents[index] > 0 && extents[index] <= kMaxExtent, ErrorCode::kModel,
            "{}: tensor '{}' is {}, which tells no size", catalog_.where(), printable(stored->name),
            stored->describe());
    return extents[index];
  }
  // How many of name(0), name(1), ... are there.
  int64_t count(const std::function<std::string(int64_t)>& name) const {
    int64_t n = 0;
    while (has(name(n))) ++n;
    return n;
  }

 private:
  std::string stored_name(const std::string& name) const {
    return spelling_({.name = name, .shape = {1}}).front().name;
  }
  const StoredTensor* find(const std::string& name) const {
    for (const StoredPlace& place : spelling_({.name = name, .shape = {1}})) {
      if (const StoredTensor* stored = catalog_.stored(place.name)) return stored;
    }
    return nullptr;
  }
  const Catalog& catalog_;
  Spelling spelling_;
};

// FLUX.1's are 16, 56 and 56 of 128. Each axis takes pairs of a head's columns.
std::vector<int64_t> rope_axes(int64_t head_dim) {
  int64_t first = std::max<int64_t>(2, head_dim / 8 / 2 * 2);
  if ((head_dim - first) / 2 % 2 != 0) first += 2;
  const int64_t other = (head_dim - first) / 2;
  return {first, other, other};
}

}  // namespace

clip::Config derive_clip(const Catalog& catalog, Names names) {
  const Shapes shapes(catalog, Part::kClip, names);
  clip::Config c;
  const std::string embeddings = "text_model.embeddings.", layer = "text_model.encoder.layers.";
  c.vocab_size = shapes.extent(embeddings + "token_embedding.weight", 0);
  c.hidden_size = shapes.extent(embeddings + "token_embedding.weight", 1);
  c.max_positions = shapes.extent(embeddings + "position_embedding.weight", 0);
  c.intermediate_size = shapes.extent(layer + "0.mlp.fc1.weight", 0);
  c.num_layers =
      shapes.count([&](int64_t n) { return layer + std::to_string(n) + ".self_attn.q_proj.weight"; });
  require(c.hidden_size % 64 == 0, ErrorCode::kModel,
          "{}: CLIP states of width {} do not divide into heads of 64", catalog.where(), c.hidden_size);
  c.num_heads = c.hidden_size / 64;
  return c;
}

t5::Config derive_t5(const Catalog& catalog, Names names) {
  const Shapes shapes(catalog, Part::kT5, names);
  t5::Config c;
  const std::string block = "encoder.block.", attention = block + "0.layer.0.SelfAttention.";
  c.vocab_size = shapes.extent("shared.weight", 0);
  c.d_model = shapes.extent("shared.weight", 1);
  c.num_buckets = shapes.extent(attention + "relative_attention_bias.weight", 0);
  c.num_heads = shapes.extent(attention + "relative_attention_bias.weight", 1);
  const int64_t inner = shapes.extent(attention + "q.weight", 0);
  require(inner % c.num_heads == 0, ErrorCode::kModel, "{}: T5 attention of width {} in {} heads",
          catalog.where(), inner, c.num_heads);
  c.d_kv = inner / c.num_heads;
  require(shapes.has(block + "0.layer.1.DenseReluDense.wi_1.weight"), ErrorCode::kModel,
          "{}: this T5 has no gated feed-forward (wi_0 and wi_1); FLUX.1 needs T5 v1.1", catalog.where());
  if (shapes.has("final_projection.3.weight")) c.projection = shapes.extent("final_projection.3.weight", 0);
  c.d_ff = shapes.extent(block + "0.layer.1.DenseReluDense.wi_0.weight", 0);
  c.num_layers =
      shapes.count([&](int64_t n) { return block + std::to_string(n) + ".layer.0.SelfAttention.q.weight"; });
  return c;
}

flux::Config derive_transformer(const Catalog& catalog, Names names) {
  const Shapes shapes(catalog, Part::kTransformer, names);
  flux::Config c;
  const auto norm_of = [](const char* blocks) {
    return [blocks](int64_t n) { return blocks + std::to_string(n) + ".attn.norm_q.weight"; };
  };
  const auto in_double = norm_of("transformer_blocks."), in_single = norm_of("single_transformer_blocks.");
  c.num_layers = shapes.count(in_double);
  c.num_single_layers = shapes.count(in_single);
  require(c.num_blocks() > 0, ErrorCode::kModel, "{}: the model has no blocks", catalog.where());
  const int64_t width = shapes.extent("x_embedder.weight", 0);
  c.in_channels = shapes.extent("x_embedder.weight", 1);
  c.out_channels = shapes.extent("proj_out.weight", 0);
  require(
      c.in_channels == c.out_channels, ErrorCode::kModel,
      "{}: {} input channels and {} output channels; this is a {} model, which needs an input picture and "
      "is not supported",
      catalog.where(), c.in_channels, c.out_channels,
      c.in_channels == 6 * c.out_channels   ? "Fill"
      : c.in_channels == 2 * c.out_channels ? "Canny or Depth"
                                            : "Fill, Canny or Depth");
  c.head_dim = shapes.extent(c.num_layers > 0 ? in_double(0) : in_single(0), 0);
  require(width % c.head_dim == 0 && c.head_dim >= 8 && c.head_dim % 4 == 0, ErrorCode::kModel,
          "{}: states of width {} do not divide into heads of {}", catalog.where(), width, c.head_dim);
  c.num_heads = width / c.head_dim;
  c.axes_dims_rope = rope_axes(c.head_dim);
  c.joint_attention_dim = shapes.extent("context_embedder.weight", 1);
  c.pooled_projection_dim = shapes.extent("time_text_embed.text_embedder.linear_1.weight", 1);
  c.guidance_embeds = shapes.has("time_text_embed.guidance_embedder.linear_1.weight");
  return c;
}

vae::Config derive_vae(const Catalog& catalog, Names names) {
  vae::Config c;
  const auto resnet = [](int64_t level, int64_t index) {
    return "decoder.up_blocks." + std::to_string(level) + ".resnets." + std::to_string(index) +
           ".conv1.weight";
  };
  // The levels count the other way round in one spelling, so their number comes first, from any of them.
  const int64_t levels = Shapes(catalog, Part::kVae, Names::kDiffusers).count([&](int64_t n) {
    return names == Names::kBfl ? "decoder.up." + std::to_string(n) + ".block.0.conv1.weight" : resnet(n, 0);
  });
  const Shapes shapes(catalog, Part::kVae, names, {.vae_levels = levels});
  c.latent_channels = shapes.extent("decoder.conv_in.weight", 1);
  c.layers_per_block = shapes.count([&](int64_t n) { return resnet(0, n); }) - 1;
  c.block_out_channels.clear();
  for (int64_t level = levels - 1; level >= 0; --level) {
    c.block_out_channels.push_back(shapes.extent(resnet(level, 0), 0));
  }
  c.mid_block_add_attention = shapes.has("decoder.mid_block.attentions.0.to_q.weight");
  c.use_quant_conv = shapes.has("quant_conv.weight");
  c.use_post_quant_conv = shapes.has("post_quant_conv.weight");
  c.norm_num_groups = 32;
  for (const int64_t channels : c.block_out_channels)
    c.norm_num_groups = std::gcd(c.norm_num_groups, channels);
  require(
      c.latent_channels != 4, ErrorCode::kModel,
      "{}: a VAE of 4 latent channels, as Stable Diffusion 1 and XL have; FLUX.1's (ae.safetensors) has 16",
      catalog.where());
  require(c.layers_per_block >= 1 && !c.block_out_channels.empty(), ErrorCode::kModel,
          "{}: a VAE without layers", catalog.where());
  return c;
}

}  // namespace darkroom
