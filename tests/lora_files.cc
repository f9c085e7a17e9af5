#include "lora_files.h"

#include <algorithm>
#include <functional>

namespace darkroom {

namespace fs = std::filesystem;

Matrix product(const Matrix& a, const Matrix& b) {
  Matrix out{a.rows, b.cols, std::vector<double>(static_cast<std::size_t>(a.rows * b.cols))};
  for (int64_t i = 0; i < a.rows; ++i) {
    for (int64_t j = 0; j < b.cols; ++j) {
      for (int64_t k = 0; k < a.cols; ++k) out.at(i, j) += a.at(i, k) * b.at(k, j);
    }
  }
  return out;
}

namespace {

constexpr int64_t kClip = 48, kT5 = 64, kT5Ff = 80;  // of the small checkpoint
const std::string kSingle = "single_transformer_blocks.1.";

std::vector<Slice> qkv(const std::string& block, const std::string& q, const std::string& k,
                       const std::string& v) {
  return {
      {block + q + ".weight", 0, kD}, {block + k + ".weight", kD, kD}, {block + v + ".weight", 2 * kD, kD}};
}
std::vector<Slice> linear1() {
  std::vector<Slice> out = qkv(kSingle, "attn.to_q", "attn.to_k", "attn.to_v");
  out.push_back({kSingle + "proj_mlp.weight", 3 * kD, 4 * kD});
  return out;
}

// Black Forest Labs' names as a program spells them.
void add_bfl(Maker& m, const std::function<std::string(std::string)>& key, const std::string& down,
             const std::string& up, bool alpha) {
  const auto add = [&](const std::string& module, int64_t out, int64_t in, const std::vector<Slice>& slices) {
    m.low_rank(Part::kTransformer, key(module), out, in, slices, down, up, alpha);
  };
  add("double_blocks.0.img_attn.qkv", 3 * kD, kD, qkv(kDouble, "attn.to_q", "attn.to_k", "attn.to_v"));
  add("double_blocks.0.txt_attn.qkv", 3 * kD, kD,
      qkv(kDouble, "attn.add_q_proj", "attn.add_k_proj", "attn.add_v_proj"));
  add("double_blocks.0.img_mlp.2", kD, 4 * kD, whole(kDouble + "ff.net.2.weight", kD));
  add("double_blocks.0.txt_mod.lin", 6 * kD, kD, whole(kDouble + "norm1_context.linear.weight", 6 * kD));
  add("single_blocks.1.linear1", 7 * kD, kD, linear1());
  add("single_blocks.1.linear2", kD, 5 * kD, whole(kSingle + "proj_out.weight", kD));
  // (shift, scale) there, (scale, shift) here.
  add("final_layer.adaLN_modulation.1", 2 * kD, kD,
      {{"norm_out.linear.weight", kD, kD}, {"norm_out.linear.weight", 0, kD}});
  add("time_in.in_layer", kD, 256, whole("time_text_embed.timestep_embedder.linear_1.weight", kD));
}

std::string underscored(std::string text) {
  std::ranges::replace(text, '.', '_');
  return text;
}

}  // namespace

void make_kohya(Maker& m) {
  add_bfl(
      m, [](const std::string& name) { return "lora_unet_" + underscored(name); }, ".lora_down.weight",
      ".lora_up.weight", true);
  m.low_rank(Part::kClip, "lora_te1_text_model_encoder_layers_1_self_attn_q_proj", kClip, kClip,
             whole("text_model.encoder.layers.1.self_attn.q_proj.weight", kClip));
  m.low_rank(Part::kT5, "lora_te3_encoder_block_1_layer_1_DenseReluDense_wo", kT5, kT5Ff,
             whole("encoder.block.1.layer.1.DenseReluDense.wo.weight", kT5));
}

namespace {}  // namespace

void make_diffusers(Maker& m) {
  const auto add = [&](const std::string& name, int64_t out, int64_t in) {
    m.low_rank(Part::kTransformer, "transformer." + name, out, in, whole(name + ".weight", out),
               ".lora_A.weight", ".lora_B.weight", false);
  };
  add(kDouble + "attn.to_k", kD, kD);
  add(kDouble + "attn.add_v_proj", kD, kD);
  add(kDouble + "attn.to_out.0", kD, kD);
  add(kDouble + "ff.net.0.proj", 4 * kD, kD);
  add(kDouble + "norm1.linear", 6 * kD, kD);
  add(kSingle + "proj_mlp", 4 * kD, kD);
  add("norm_out.linear", 2 * kD, kD);
  add("x_embedder", kD, 64);
  m.low_rank(Part::kClip, "text_encoder.text_model.encoder.layers.0.mlp.fc1", 2 * kClip, kClip,
             whole("text_model.encoder.layers.0.mlp.fc1.weight", 2 * kClip), ".lora_A.weight",
             ".lora_B.weight", false);
}

namespace {

void make_comfyui(Maker& m) {
  add_bfl(
      m, [](const std::string& name) { return "diffusion_model." + name; }, ".lora_A.weight",
      ".lora_B.weight", true);
  m.low_rank(Part::kClip, "text_encoders.clip_l.transformer.text_model.encoder.layers.1.self_attn.v_proj",
             kClip, kClip, whole("text_model.encoder.layers.1.self_attn.v_proj.weight", kClip));
}

}  // namespace

void make_onetrainer(Maker& m) {
  for (const std::string name : {"attn.to_q", "attn.add_k_proj"}) {
    m.low_rank(Part::kTransformer, "lora_transformer_" + underscored(kDouble + name), kD, kD,
               whole(kDouble + name + ".weight", kD));
  }
}

namespace {

void make_fal(Maker& m) {
  add_bfl(
      m, [](const std::string& name) { return "base_model.model." + name; }, ".lora_A.weight",
      ".lora_B.weight", false);
}

void make_xlabs(Maker& m) {
  const auto add = [&](const std::string& name, int64_t out, int64_t in, const std::vector<Slice>& slices) {
    m.low_rank(Part::kTransformer, name, out, in, slices, ".down.weight", ".up.weight", false);
  };
  add("double_blocks.0.processor.qkv_lora1", 3 * kD, kD, qkv(kDouble, "attn.to_q", "attn.to_k", "attn.to_v"));
  add("double_blocks.0.processor.qkv_lora2", 3 * kD, kD,
      qkv(kDouble, "attn.add_q_proj", "attn.add_k_proj", "attn.add_v_proj"));
  add("double_blocks.0.processor.proj_lora1", kD, kD, whole(kDouble + "attn.to_out.0.weight", kD));
  add("double_blocks.0.processor.proj_lora2", kD, kD, whole(kDouble + "attn.to_add_out.weight", kD));
  add("single_blocks.1.processor.qkv_lora", 3 * kD, kD, qkv(kSingle, "attn.to_q", "attn.to_k", "attn.to_v"));
  add("single_blocks.1.processor.proj_lora", kD, 5 * kD, whole(kSingle + "proj_out.weight", kD));
}

Matrix kron(const Matrix& a, const Matrix& b) {
  Matrix out{a.rows * b.rows, a.cols * b.cols, {}};
  out.values.resize(static_cast<std::size_t>(out.rows * out.cols));
  for (int64_t r = 0; r < out.rows; ++r) {
    for (int64_t c = 0; c < out.cols; ++c)
      out.at(r, c) = a.at(r / b.rows, c / b.cols) * b.at(r % b.rows, c % b.cols);
  }
  return out;
}

}  // namespace

void make_lokr(Maker& m) {
  const std::string q = "lycoris_" + underscored(kDouble + "attn.to_q"),
                    fused = "lora_unet_single_blocks_1_linear1";
  const Matrix w1 = m.matrix(q + ".lokr_w1", 4, 8, 0.5), w2 = m.matrix(q + ".lokr_w2", 16, 8, 0.2);
  m.alpha(q, 1e6f);  // means nothing beside two whole factors
  m.add(Part::kTransformer, kron(w1, w2), 1, whole(kDouble + "attn.to_q.weight", kD));
  const Matrix v1 = m.matrix(fused + ".lokr_w1", 7, 4, 0.5), a = m.matrix(fused + ".lokr_w2_a", 64, 3, 0.4),
               b = m.matrix(fused + ".lokr_w2_b", 3, 16, 0.4);
  m.alpha(fused, 2);
  m.add(Part::kTransformer, kron(v1, product(a, b)), 2.0 / 3, linear1());
}

namespace {

void make_loha(Maker& m) {
  const std::string module = "lora_unet_double_blocks_0_img_attn_qkv";
  const Matrix a = product(m.matrix(module + ".hada_w1_a", 3 * kD, 4, 0.5),
                           m.matrix(module + ".hada_w1_b", 4, kD, 0.5)),
               b = product(m.matrix(module + ".hada_w2_a", 3 * kD, 4, 0.5),
                           m.matrix(module + ".hada_w2_b", 4, kD, 0.5));
  Matrix both = a;
  for (std::size_t i = 0; i < both.values.size(); ++i) both.values[i] *= b.values[i];
  m.alpha(module, 2);
  m.add(Part::kTransformer, both, 0.5, qkv(kDouble, "attn.to_q", "attn.to_k", "attn.to_v"));
}

void make_diff(Maker& m) {
  const std::string module = "diffusion_model.single_blocks.1.linear1", end = "diffusion_model.final_layer.";
  m.add(Part::kTransformer, m.matrix(module + ".diff", 7 * kD, kD, 0.1), 1, linear1());
  const Matrix bias = m.matrix(end + "adaLN_modulation.1.diff_b", 2 * kD, 0, 0.1);
  m.add(Part::kTransformer, bias, 1, {{"norm_out.linear.bias", kD, kD}, {"norm_out.linear.bias", 0, kD}});
  const Matrix norm =
      m.matrix("diffusion_model.double_blocks.0.img_attn.norm.query_norm.set_weight", 32, 0, 2);
  m.set[{Part::kTransformer, kDouble + "attn.norm_q.weight"}] = norm.values;
  m.add(Part::kClip, m.matrix("clip_l.transformer.text_model.final_layer_norm.w_norm", kClip, 0, 0.2), 1,
        whole("text_model.final_layer_norm.weight", kClip));
  m.low_rank(Part::kTransformer, "diffusion_model.img_in", kD, 64, whole("x_embedder.weight", kD),
             ".lora_A.weight", ".lora_B.weight");
  m.add(Part::kTransformer, m.matrix("diffusion_model.img_in.lora_B.bias", kD, 0, 0.3), 3.0 / 5,
        whole("x_embedder.bias", kD));
}

constexpr LoraKind kKinds[] = {
    {"kohya", make_kohya, DType::kF16, false},     {"diffusers", make_diffusers, DType::kBF16, false},
    {"ComfyUI", make_comfyui, DType::kF32, false}, {"OneTrainer", make_onetrainer, DType::kF16, false},
    {"fal", make_fal, DType::kBF16, false},        {"XLabs", make_xlabs, DType::kBF16, false},
    {"LoKr", make_lokr, DType::kF16, true},        {"LoHa", make_loha, DType::kF32, true},
    {"diff", make_diff, DType::kF32, true}};

}  // namespace

// A folder like `base`'s, in f32, whose weights are base's as `storage` has them, and strength times what `m`
// adds.
void write_merged(const fs::path& folder, const Checkpoint& base, WeightStorage storage, const Maker* m,
                  double strength) {
  const fs::path fixture = DARKROOM_SOURCE_DIR "/tests/fixtures/pipelines/dev_small";
  fs::create_directories(folder);
  fs::copy_file(fixture / "model_index.json", folder / "model_index.json");
  for (const auto& entry : fs::directory_iterator(fixture)) {
    const std::string name = entry.path().filename().string();
    if (!entry.is_directory()) continue;
    if (name != "transformer" && name != "text_encoder" && name != "text_encoder_2") {
      fs::create_directory_symlink(entry.path(), folder / name);
      continue;
    }
    const Part part = name == "transformer"    ? Part::kTransformer
                      : name == "text_encoder" ? Part::kClip
                                               : Part::kT5;
    fs::create_directory(folder / name);
    fs::copy_file(entry.path() / "config.json", folder / name / "config.json");
    const std::unique_ptr<WeightSource> source =
        base.open_weights(part, part == Part::kTransformer ? storage : WeightStorage::kAsStored);
    TensorList list;
    base.visit(part, [&](const Param& param, Tensor&) {
      const OwnedTensor values = load(*source, param);
      Tensor from = values.tensor, to = list.make(param.name, DType::kF32, param.shape);
      if (param.shape.rank() == 1) from = from.reshape({1, param.shape[0]});
      const Tensor wide(to.data, DType::kF32, from.shape);
      dequantize_rows(from, {from.scales, static_cast<std::size_t>(from.scale_count)}, wide);
      if (!m) return;
      if (const auto found = m->added.find({part, param.name}); found != m->added.end()) {
        for (std::size_t i = 0; i < found->second.size(); ++i) {
          float& w = to.row<float>(0)[i];
          w = static_cast<float>(static_cast<double>(w) + strength * found->second[i]);
        }
      }
      if (const auto found = m->set.find({part, param.name}); found != m->set.end()) {
        for (std::size_t i = 0; i < found->second.size(); ++i)
          to.row<float>(0)[i] = static_cast<float>(found->second[i]);
      }
    });
    list.write(folder / name /
               (part == Part::kTransformer ? "diffusion_pytorch_model.safetensors" : "model.safetensors"));
  }
}

std::vector<Slice> whole(const std::string& param, int64_t rows) { return {{param, 0, rows}}; }

std::span<const LoraKind> lora_kinds() { return kKinds; }

}  // namespace darkroom
