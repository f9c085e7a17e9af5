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

struct Matrix {
  int64_t rows = 0, cols = 0;
  std::vector<double> values;
  double& at(int64_t r, int64_t c) { return values[static_cast<std::size_t>(r * cols + c)]; }
  double at(int64_t r, int64_t c) const { return values[static_cast<std::size_t>(r * cols + c)]; }
};

Matrix product(const Matrix& a, const Matrix& b) {
  Matrix out{a.rows, b.cols, std::vector<double>(static_cast<std::size_t>(a.rows * b.cols))};
  for (int64_t i = 0; i < a.rows; ++i) {
    for (int64_t j = 0; j < b.cols; ++j) {
      for (int64_t k = 0; k < a.cols; ++k) out.at(i, j) += a.at(i, k) * b.at(k, j);
    }
  }
  return out;
}

// Which rows of a module's matrix a parameter is.
struct Slice {
  std::string param;
  int64_t first = 0, count = 0;
};

// A LoRA file in the making, and what it adds to each parameter.
class Maker {
 public:
  explicit Maker(DType dtype) : dtype_(dtype) {}

  // A random matrix in the file, as its type rounds it.
  Matrix matrix(const std::string& name, int64_t rows, int64_t cols, double scale) {
    const Shape shape = cols == 0 ? Shape{rows} : Shape{rows, cols};
    const Tensor tensor = list_.make(name, dtype_, shape);
    Matrix out{rows, std::max<int64_t>(cols, 1), {}};
    for (int64_t i = 0; i < shape.numel(); ++i) {
      const float value = static_cast<float>(scale * next());
      if (dtype_ == DType::kF32) tensor.row<float>(0)[i] = value;
      if (dtype_ == DType::kBF16) tensor.row<BFloat16>(0)[i] = to_bfloat16(value);
      if (dtype_ == DType::kF16) tensor.row<Float16>(0)[i] = to_float16(value);
      dispatch_float(dtype_, [&]<typename T>() {
        out.values.push_back(static_cast<double>(to_float(tensor.row<T>(0)[i])));
      });
    }
    return out;
  }
  void alpha(const std::string& module, float value) {
    *list_.make(module + ".alpha", DType::kF32, {1}).row<float>(0) = value;
  }
  void add(Part part, const Matrix& difference, double factor, const std::vector<Slice>& slices) {
    for (const Slice& slice : slices) {
      std::vector<double>& to = added[{part, slice.param}];
      const auto from = difference.values.begin() + slice.first * difference.cols;
      const std::size_t count = static_cast<std::size_t>(slice.count * difference.cols);
      const std::size_t at = filled_[slice.param];
      to.resize(std::max(to.size(), at + count));
      for (std::size_t i = 0; i < count; ++i) to[at + i] += factor * from[static_cast<std::ptrdiff_t>(i)];
      filled_[slice.param] += count;
    }
    filled_.clear();
  }
  void low_rank(Part part, const std::string& module, int64_t out, int64_t in,
                const std::vector<Slice>& slices, const std::string& down = ".lora_down.weight",
                const std::string& up = ".lora_up.weight", bool with_alpha = true) {
    const int64_t rank = 5;
    const double factor = with_alpha ? 3.0 / static_cast<double>(rank) : 1;
    const Matrix a = matrix(module + down, rank, in, 1 / std::sqrt(static_cast<double>(in)));
    const Matrix b = matrix(module + up, out, rank, 0.5 / std::sqrt(static_cast<double>(rank)));
    if (with_alpha) alpha(module, 3);
    add(part, product(b, a), factor, slices);
  }
  void write(const fs::path& path) const { list_.write(path); }

  std::map<std::pair<Part, std::string>, std::vector<double>> added;
  std::map<std::pair<Part, std::string>, std::vector<double>> set;

 private:
  double next() {
    state_ = state_ * 6364136223846793005u + 1442695040888963407u;
    return static_cast<double>(static_cast<int64_t>(state_ >> 40)) / 8388608.0 - 1.0;
  }
  DType dtype_;
  TensorList list_;
  std::map<std::string, std::size_t> filled_;
  uint64_t state_ = 88172645463325252u;
};

constexpr int64_t kD = 64, kClip = 48, kT5 = 64, kT5Ff = 80;  // of the small checkpoint
const std::string kDouble = "transformer_blocks.0.", kSingle = "single_transformer_blocks.1.";

std::vector<Slice> whole(const std::string& param, int64_t rows) { return {{param, 0, rows}}; }
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

void make_kohya(Maker& m) {
  add_bfl(
      m, [](const std::string& name) { return "lora_unet_" + underscored(name); }, ".lora_down.weight",
      ".lora_up.weight", true);
  m.low_rank(Part::kClip, "lora_te1_text_model_encoder_layers_1_self_attn_q_proj", kClip, kClip,
             whole("text_model.encoder.layers.1.self_attn.q_proj.weight", kClip));
  m.low_rank(Part::kT5, "lora_te3_encoder_block_1_layer_1_DenseReluDense_wo", kT5, kT5Ff,
             whole("encoder.block.1.layer.1.DenseReluDense.wo.weight", kT5));
}

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

void make_comfyui(Maker& m) {
  add_bfl(
      m, [](const std::string& name) { return "diffusion_model." + name; }, ".lora_A.weight",
      ".lora_B.weight", true);
  m.low_rank(Part::kClip, "text_encoders.clip_l.transformer.text_model.encoder.layers.1.self_attn.v_proj",
             kClip, kClip, whole("text_model.encoder.layers.1.self_attn.v_proj.weight", kClip));
}

void make_onetrainer(Maker& m) {
  for (const std::string name : {"attn.to_q", "attn.add_k_proj"}) {
    m.low_rank(Part::kTransformer, "lora_transformer_" + underscored(kDouble + name), kD, kD,
               whole(kDouble + name + ".weight", kD));
  }
}

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

// A folder like `base`'s, in f32, whose weights are base's as `storage` has them, and strength times what `m`
// adds.
void write_merged(const fs::path& folder, const Checkpoint& base, WeightStorage storage, const Maker* m,
                  double strength = 1) {
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
    const std::unique_ptr<WeightSource> source = base.open_weights(part, storage);
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

struct Kind {
  const char* name;
  void (*make)(Maker&);
  DType dtype;
  bool dense;  // at all
};
constexpr Kind kKinds[] = {
    {"kohya", make_kohya, DType::kF16, false},     {"diffusers", make_diffusers, DType::kBF16, false},
    {"ComfyUI", make_comfyui, DType::kF32, false}, {"OneTrainer", make_onetrainer, DType::kF16, false},
    {"fal", make_fal, DType::kBF16, false},        {"XLabs", make_xlabs, DType::kBF16, false},
    {"LoKr", make_lokr, DType::kF16, true},        {"LoHa", make_loha, DType::kF32, true},
    {"diff", make_diff, DType::kF32, true}};

class LoraKinds : public testing::TestWithParam<Kind> {};

TEST_P(LoraKinds, DrawWhatMergedWeightsDraw) {
  const Kind& kind = GetParam();
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

INSTANTIATE_TEST_SUITE_P(All, LoraKinds, testing::ValuesIn(kKinds),
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
