// libFuzzer target: a model file made of the input, with the names of real ones, recognised, measured and
// described. Errors of kModel are fine; crashes, hangs and other errors are not.
#include <fmt/format.h>

#include <cstdint>
#include <filesystem>
#include <fstream>
#include <map>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "checkpoint/part_files.h"
#include "checks.h"
#include "scratch_file.h"
#include "tensor/blocks.h"
#include "weights/gguf_head.h"
#include "weights/source.h"

namespace darkroom {
namespace {

namespace fs = std::filesystem;

const fs::path& scratch_file() {
  static const ScratchPath file("checkpoint");
  return file.path();
}

// Takes numbers off the input; 0 at its end.
class Input {
 public:
  Input(const uint8_t* data, std::size_t size) : rest_(data, size) {}
  bool empty() const { return rest_.empty(); }
  std::size_t byte() {
    if (rest_.empty()) return 0;
    const uint8_t first = rest_[0];
    rest_ = rest_.subspan(1);
    return first;
  }
  std::size_t word() {
    const std::size_t low = byte();
    return low + 256 * byte();
  }
  template <typename List>
  const auto& pick(const List& list) {
    return list[byte() % std::size(list)];
  }
  std::string text() {
    const std::size_t size = std::min(byte(), rest_.size());
    const std::string out(reinterpret_cast<const char*>(rest_.data()), size);
    rest_ = rest_.subspan(size);
    return out;
  }

 private:
  std::span<const uint8_t> rest_;
};

struct Content {
  std::string type;
  std::vector<int64_t> extents;
  std::string data;  // how it begins; zeros follow
};
using FileContents = std::map<std::string, Content>;

constexpr const char* kPrefixes[] = {"",
                                     "model.diffusion_model.",
                                     "transformer.",
                                     "model.",
                                     "text_encoders.clip_l.transformer.",
                                     "clip_l.",
                                     "text_encoders.t5xxl.transformer.",
                                     "t5xxl.",
                                     "vae.",
                                     "first_stage_model."};
constexpr const char* kTypes[] = {"F32", "BF16", "F16", "F8_E4M3", "F8_E5M2",
                                  "I8",  "U8",   "F64", "I64",     "BOOL"};
constexpr DType kGgufTypes[] = {DType::kF32, DType::kF16, DType::kBF16, DType::kQ8_0, DType::kQ4_0,
                                DType::kQ4K, DType::kQ6K, DType::kI8,   DType::kIQ4XS};
constexpr int64_t kExtents[] = {0,
                                1,
                                2,
                                3,
                                4,
                                8,
                                16,
                                24,
                                31,
                                32,
                                48,
                                64,
                                128,
                                192,
                                256,
                                384,
                                448,
                                4096,
                                1 << 20,
                                int64_t{1} << 40,
                                int64_t{1} << 62,
                                INT64_MAX};
constexpr const char* kEndings[] = {"",
                                    "_scale",
                                    "_scale_inv",
                                    ".absmax",
                                    ".quant_map",
                                    ".nested_absmax",
                                    ".nested_quant_map",
                                    ".quant_state.bitsandbytes__nf4",
                                    ".quant_state.bitsandbytes__fp4"};
// Names of other models, and of layers beside weights.
constexpr const char* kMore[] = {"scaled_fp8",
                                 "logit_scale",
                                 "distilled_guidance_layer.in_proj.weight",
                                 "single_stream_modulation.lin.weight",
                                 "double_blocks.0.img_attn.qkv.comfy_quant",
                                 "double_blocks.0.img_attn.qkv.scale_weight",
                                 "double_blocks.0.img_attn.qkv.wscales",
                                 "single_blocks.0.linear1.lora_A.weight",
                                 "conditioner.embedders.1.x",
                                 "joint_blocks.0.x",
                                 "vision_model.x",
                                 "quant_conv.weight",
                                 "post_quant_conv.weight",
                                 "encoder.embed_tokens.weight",
                                 "blk.0.attn_q.weight"};

struct Set {
  Part part;
  Names names;
};
constexpr Set kSets[] = {{Part::kTransformer, Names::kBfl}, {Part::kTransformer, Names::kDiffusers},
                         {Part::kClip, Names::kDiffusers},  {Part::kT5, Names::kDiffusers},
                         {Part::kT5, Names::kLlama},        {Part::kT5, Names::kDistill},
                         {Part::kVae, Names::kBfl},         {Part::kVae, Names::kDiffusers}};

void visit(Part part, const VisitFn& visit) {
  switch (part) {
    case Part::kClip:
      return clip::Weights().visit(
          {.vocab_size = 16, .hidden_size = 64, .intermediate_size = 64, .num_layers = 1}, visit);
    case Part::kT5:
      return t5::Weights().visit({.vocab_size = 16,
                                  .d_model = 64,
                                  .d_kv = 32,
                                  .d_ff = 64,
                                  .num_layers = 1,
                                  .num_heads = 2,
                                  .projection = 128},
                                 visit);
    case Part::kTransformer:
      return flux::Weights().visit({.num_layers = 1,
                                    .num_single_layers = 1,
                                    .num_heads = 2,
                                    .head_dim = 32,
                                    .joint_attention_dim = 64,
                                    .pooled_projection_dim = 64,
                                    .guidance_embeds = true},
                                   visit);
    case Part::kVae:
      return vae::DecoderWeights().visit({.block_out_channels = {32, 64}, .layers_per_block = 1}, visit);
  }
}

// The tensors of a small part as files with these names have them.
const FileContents& part_contents(const Set& set) {
  static std::map<std::pair<Part, Names>, FileContents> known;
  FileContents& out = known[{set.part, set.names}];
  if (!out.empty()) return out;
  const Spelling spelling = spelling_of(set.part, set.names, {.inner_dim = 64, .vae_levels = 2});
  visit(set.part, [&](const Param& param, Tensor&) {
    const StoredPlace place = spelling(param).front();
    std::vector<int64_t> extents;
    for (int i = 0; i < param.shape.rank(); ++i) extents.push_back(param.shape[i]);
    if (!place.rows.empty()) extents[0] = place.all_rows;
    out[place.name] = {"F32", extents, ""};
  });
  return out;
}

const std::vector<std::string>& known_names() {
  static const std::vector<std::string> names = [] {
    std::vector<std::string> out(std::begin(kMore), std::end(kMore));
    for (const Set& set : kSets) {
      for (const auto& [name, unused] : part_contents(set)) out.push_back(name);
    }
    return out;
  }();
  return names;
}

std::string name_of(Input& input) {
  const std::string prefix = input.pick(kPrefixes);
  return prefix + known_names()[input.word() % known_names().size()] + input.pick(kEndings);
}

template <typename T>
std::string raw(std::span<const T> values) {
  return {reinterpret_cast<const char*>(values.data()), values.size_bytes()};
}

// A matrix that is there, packed by bitsandbytes.
void pack(FileContents& file, const std::string& name, bool nf4, bool nested) {
  const auto it = file.find(name);
  if (it == file.end() || it->second.extents.size() != 2) return;
  const std::vector<int64_t> extents = it->second.extents;
  if (extents[0] > 4096 || extents[1] > 4096 || extents[0] * extents[1] % 64 != 0) return;
  const int64_t elements = extents[0] * extents[1], runs = elements / 64;
  nlohmann::json state = {{"blocksize", 64}, {"shape", extents}};
  it->second = {"U8", {elements / 2, 1}, ""};
  file[name + ".absmax"] = {nested ? "U8" : "F32", {runs}, ""};
  file[name + ".quant_map"] = {"F32", {16}, raw(std::span<const float>(nf4 ? kNF4Values : kFP4Values))};
  if (nested) {
    state["nested_blocksize"] = 256;
    state["nested_offset"] = 0.5;
    file[name + ".nested_absmax"] = {"F32", {(runs + 255) / 256}, ""};
    file[name + ".nested_quant_map"] = {"F32", {256}, ""};
  }
  const std::string text = state.dump();
  file[name + (nf4 ? ".quant_state.bitsandbytes__nf4" : ".quant_state.bitsandbytes__fp4")] = {
      "U8", {static_cast<int64_t>(text.size())}, text};
}

FileContents make_contents(Input& input) {
  FileContents file;
  while (!input.empty()) {
    switch (input.byte() % 6) {
      case 0: {
        const Set& set = input.pick(kSets);
        const std::string prefix = input.pick(kPrefixes), type = input.pick(kTypes);
        const std::size_t left_out = input.byte();  // of each eight
        std::size_t n = 0;
        for (const auto& [name, content] : part_contents(set)) {
          if (left_out >> (n++ % 8) & 1) continue;
          file[prefix + name] = {content.extents.size() == 2 ? type : "F32", content.extents, ""};
        }
        break;
      }
      case 1:
        file.erase(name_of(input));
        break;
      case 2: {
        Content& content = file[name_of(input)];
        content.type = input.pick(kTypes);
        content.extents.resize(input.byte() % 6);
        for (int64_t& extent : content.extents) extent = input.pick(kExtents);
        content.data = input.text();
        break;
      }
      case 3: {
        const std::string name = name_of(input), text = input.text();
        file[name] = {"U8", {static_cast<int64_t>(text.size())}, text};
        break;
      }
      case 4: {
        const std::size_t kind = input.byte();
        pack(file, name_of(input), kind & 1, kind & 2);
        break;
      }
      case 5: {  // one extent of a tensor that is there
        const auto it = file.find(name_of(input));
        const std::size_t at = input.byte();
        const int64_t extent = input.pick(kExtents);
        if (it != file.end() && !it->second.extents.empty())
          it->second.extents[at % it->second.extents.size()] = extent;
        break;
      }
    }
  }
  return file;
}

constexpr std::size_t kMostData = 64 << 20;

// Of an element, or nothing for a product that is too large.
std::optional<std::size_t> bytes_of(const Content& content) {
  std::size_t bytes = content.type == "F64" || content.type == "I64" ? 8
                      : content.type == "F32"                        ? 4
                      : content.type.ends_with("16")                 ? 2
                                                                     : 1;
  for (const int64_t extent : content.extents) {
    if (__builtin_mul_overflow(bytes, static_cast<std::size_t>(extent), &bytes)) return std::nullopt;
  }
  return bytes;
}

// Header and the beginnings of the tensors; the rest of the file is holes.
void write_file(const std::string& head, std::size_t data, const std::map<std::size_t, std::string>& pieces) {
  std::ofstream out(scratch_file(), std::ios::binary | std::ios::trunc);
  out << head;
  for (const auto& [at, piece] : pieces) {
    out.seekp(static_cast<std::streamoff>(head.size() + at));
    out << piece;
  }
  out.close();
  fs::resize_file(scratch_file(), head.size() + std::min(data, kMostData));
}

void write_as_safetensors(const FileContents& file) {
  std::string text = "{";
  std::size_t at = 0;
  std::map<std::size_t, std::string> pieces;
  for (const auto& [name, content] : file) {
    const std::optional<std::size_t> bytes = bytes_of(content);
    if (!bytes || *bytes > kMostData) continue;
    text += fmt::format("{}\"{}\":{{\"dtype\":\"{}\",\"shape\":[{}],\"data_offsets\":[{},{}]}}",
                        text.size() > 1 ? "," : "", name, content.type, fmt::join(content.extents, ","), at,
                        at + *bytes);
    if (*bytes > 0 && !content.data.empty()) pieces[at] = content.data.substr(0, *bytes);
    at += *bytes;
  }
  text += "}";
  std::string head;
  for (int i = 0; i < 8; ++i) head += static_cast<char>(text.size() >> (8 * i));
  write_file(head + text, at, pieces);
}

// Matrices in the block type of the input's choice where their rows fill its blocks.
void write_as_gguf(const FileContents& file, DType matrices) {
  std::vector<StoredTensor> tensors;
  for (const auto& [name, content] : file) {
    const bool usable = content.extents.size() <= kMaxGgufRank && !content.extents.empty() &&
                        std::ranges::all_of(content.extents, [](int64_t e) { return e > 0 && e <= 4096; });
    if (!usable) continue;
    const bool blocks =
        content.extents.size() == 2 && content.extents[1] % block_size(matrices).elements == 0;
    StoredTensor stored;
    stored.name = name;
    stored.dtype = blocks ? matrices : DType::kF32;
    stored.type = stored_type_name(*stored.dtype);
    stored.extents = content.extents;
    stored.elements = 1;
    for (const int64_t extent : content.extents) stored.elements *= extent;
    if (stored.elements > int64_t{1} << 24) continue;
    const BlockSize size = block_size(*stored.dtype);
    stored.bytes = static_cast<std::size_t>(stored.elements / size.elements) * size.bytes;
    tensors.push_back(std::move(stored));
  }
  const std::size_t data = lay_out_gguf(tensors);
  write_file(gguf_head(tensors, GgufFields(), "input"), data, {});
}

template <typename Work>
void attempt(const Work& work) {
  try {
    work();
  } catch (const Error& e) {
    check_message(e);
    check(e.code() == ErrorCode::kModel);
  }
}

// Every parameter of the config that the file's shapes give, as far as the file has it.
template <typename Weights, typename Config>
void describe(const PartFiles& files, Part part, const Config& config, const SpellingSizes& sizes) {
  CatalogSource source(*files.catalog, spelling_of(part, files.names, sizes));
  std::size_t read = 0, absent = 0;  // messages about what is absent compare names, which takes time
  Weights().visit(config, [&](const Param& param, Tensor&) {
    if (absent > 2) return;
    ++absent;
    attempt([&] {
      const Tensor tensor = source.describe(param);
      --absent;
      check(tensor.shape == param.shape);
      if (tensor.bytes_with_scales() > 1 << 16 || ++read > 12) return;
      std::vector<std::byte> bytes(tensor.bytes_with_scales());
      source.read(param, bytes);
    });
  });
}

void use(const PartFiles& files, Part part) {
  switch (part) {
    case Part::kClip:
      return describe<clip::Weights>(files, part, clip_config(files), {});
    case Part::kT5:
      return describe<t5::Weights>(files, part, t5_config(files), {});
    case Part::kTransformer: {
      const flux::Config config = transformer_config(files);
      return describe<flux::Weights>(files, part, config, {.inner_dim = config.inner_dim()});
    }
    case Part::kVae: {
      const vae::Config config = vae_config(files);
      const SpellingSizes sizes = {.vae_levels = static_cast<int64_t>(config.block_out_channels.size())};
      describe<vae::DecoderWeights>(files, part, config, sizes);
      return describe<vae::EncoderWeights>(files, part, config, sizes);
    }
  }
}

void run(const uint8_t* data, std::size_t size) {
  Input input(data, size);
  const std::size_t form = input.byte();
  const FileContents file = make_contents(input);
  if (form % 4 == 3) {
    write_as_gguf(file, kGgufTypes[form / 4 % std::size(kGgufTypes)]);
  } else {
    write_as_safetensors(file);
  }
  attempt([&] {
    const auto whole = std::make_shared<const Catalog>(scratch_file());
    const Contents contents = recognise(*whole);
    check(contents.other.empty() || contents.parts.empty());
    for (const FoundPart& found : contents.parts) {
      attempt([&] { use(part_of_catalog(whole, found, scratch_file()), found.part); });
    }
    attempt([&] { require_part(*whole, kParts[size % kParts.size()]); });
  });
}

}  // namespace
}  // namespace darkroom

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, std::size_t size) {
  darkroom::run(data, size);
  return 0;
}
