#include "convert/layout.h"

#include <algorithm>
#include <filesystem>
#include <nlohmann/json.hpp>

#include "base/error.h"
#include "checkpoint/own_config.h"
#include "memory/budget.h"
#include "weights/gguf_head.h"
#include "weights/safetensors_head.h"
#include "weights/weight_files.h"

namespace darkroom {
namespace {

namespace fs = std::filesystem;

// Before the names of a part in an all-in-one file.
std::string_view single_prefix(Part part) {
  switch (part) {
    case Part::kClip:
      return "text_encoders.clip_l.transformer.";
    case Part::kT5:
      return "text_encoders.t5xxl.transformer.";
    case Part::kTransformer:
      return "model.diffusion_model.";
    case Part::kVae:
      return "vae.";
  }
  return "";
}

bool is_gguf_part(Part part) { return part == Part::kTransformer || part == Part::kT5; }

// Names in folders of GGUF files: those that people give them.
std::string_view gguf_file(Part part) {
  switch (part) {
    case Part::kClip:
      return "clip_l.safetensors";
    case Part::kT5:
      return "t5xxl.gguf";
    case Part::kTransformer:
      return "transformer.gguf";
    case Part::kVae:
      return "ae.safetensors";
  }
  return "";
}

std::string_view base_name(Part part) {
  return part == Part::kClip || part == Part::kT5 ? "model" : "diffusion_pytorch_model";
}

std::string shard_name(Part part, std::size_t number, std::size_t count) {
  const std::string base = fmt::format("{}/{}", part_folder(part), base_name(part));
  if (count == 1) return base + ".safetensors";
  return fmt::format("{}-{:05}-of-{:05}.safetensors", base, number + 1, count);
}

// The same tensors in the order of their data, and where they begin.
std::vector<StoredTensor*> stored_of(PlannedFile& file) {
  std::vector<StoredTensor*> out;
  for (Target& target : file.targets) {
    out.push_back(&target.weight);
    if (target.scale) out.push_back(&*target.scale);
  }
  return out;
}

void take_places(PlannedFile& file, const std::vector<StoredTensor>& laid_out) {
  std::map<std::string_view, std::size_t> begins;
  for (const StoredTensor& stored : laid_out) begins[stored.name] = stored.begin;
  for (StoredTensor* stored : stored_of(file)) {
    stored->begin = begins.at(stored->name);
    file.data_bytes += stored->bytes;
  }
  std::ranges::stable_sort(file.targets, {},
                           [](const Target& target) { return std::pair(target.part, target.weight.begin); });
}

std::vector<StoredTensor> copies_of(PlannedFile& file) {
  std::vector<StoredTensor> out;
  for (const StoredTensor* stored : stored_of(file)) out.push_back(*stored);
  return out;
}

void lay_out_safetensors(PlannedFile& file, const nlohmann::json& about) {
  // transformers refuses files that do not say this.
  std::map<std::string, std::string> metadata = {{"format", "pt"}};
  if (!about.empty()) metadata[std::string(kConfigKey)] = about.dump();
  std::vector<StoredTensor> all = copies_of(file);
  const std::size_t data = lay_out(all);
  file.head = safetensors_head(all, metadata, file.name);
  file.bytes = file.head.size() + data;
  take_places(file, all);
}

// llama.cpp's number for files of mostly this type (enum llama_ftype).
uint32_t file_type(WeightStorage form, DType stored) {
  switch (form == WeightStorage::kAsStored ? stored : storage_dtype(form)) {
    case DType::kF16:
      return 1;
    case DType::kQ4_0:
      return 2;
    case DType::kQ4_1:
      return 3;
    case DType::kQ8_0:
      return 7;
    case DType::kQ5_0:
      return 8;
    case DType::kQ5_1:
      return 9;
    case DType::kQ2K:
      return 10;
    case DType::kQ3K:
      return 11;
    case DType::kQ4K:
      return 14;
    case DType::kQ5K:
      return 16;
    case DType::kQ6K:
      return 18;
    case DType::kIQ4NL:
      return 25;
    case DType::kIQ4XS:
      return 30;
    case DType::kBF16:
      return 32;
    default:
      return 0;
  }
}

// The fields that llama.cpp asks of a T5 encoder.
void set_t5_fields(const t5::Config& c, GgufFields& fields) {
  const auto set = [&](const char* name, int64_t value) {
    fields.set(fmt::format("t5encoder.{}", name), static_cast<uint32_t>(value));
  };
  set("context_length", 512);
  set("embedding_length", c.d_model);
  set("feed_forward_length", c.d_ff);
  set("block_count", c.num_layers);
  set("attention.head_count", c.num_heads);
  set("attention.key_length", c.d_kv);
  set("attention.value_length", c.d_kv);
  set("attention.relative_buckets_count", c.num_buckets);
  fields.set("t5encoder.attention.layer_norm_epsilon", c.layer_norm_eps);
  fields.set("t5encoder.attention.layer_norm_rms_epsilon", c.layer_norm_eps);
}

void lay_out_gguf(PlannedFile& file, const Checkpoint& model, WeightStorage form, const nlohmann::json& about,
                  const TokenizerTexts& t5_tokenizer) {
  const Part part = file.targets.front().part;
  GgufFields fields(file.name);
  fields.set("general.architecture", part == Part::kT5 ? "t5encoder" : "flux");
  fields.set("general.name", model.name());
  fields.set("general.quantization_version", uint32_t{2});
  fields.set("general.file_type", file_type(form, model.part_dtype(part)));
  if (part == Part::kT5) {
    const t5::Config& config = model.config().t5;
    set_t5_fields(config, fields);
    set_t5_tokenizer(t5_tokenizer, config.vocab_size, (model.folder() / tokenizer_name(part)).string(),
                     fields);
  }
  fields.set(std::string(kConfigKey), about.dump());
  std::vector<StoredTensor> all = copies_of(file);
  const std::size_t data = lay_out_gguf(all);
  file.head = gguf_head(all, fields, file.name);
  file.bytes = file.head.size() + data;
  take_places(file, all);
}

std::vector<PlannedFile> plan_shards(Part part, std::vector<Target> targets, std::size_t shard_bytes) {
  std::vector<PlannedFile> files(1);
  std::size_t bytes = 0;
  for (Target& target : targets) {
    if (!files.back().targets.empty() && bytes + target.bytes() > shard_bytes) {
      files.emplace_back();
      bytes = 0;
    }
    bytes += target.bytes();
    files.back().targets.push_back(std::move(target));
  }
  if (files.size() > kMaxShards) {
    fail(ErrorCode::kUsage, "files of {} make {} of {}, at most {} can be read; larger ones make fewer",
         memory::byte_text(shard_bytes), files.size(), part_folder(part), kMaxShards);
  }
  for (std::size_t i = 0; i < files.size(); ++i) {
    files[i].name = shard_name(part, i, files.size());
    lay_out_safetensors(files[i], {});
  }
  return files;
}

}  // namespace

void check_layout(const LayoutOptions& options) {
  const bool gguf = options.layout == Layout::kGguf;
  for (const WeightStorage form : {options.weights, options.text_weights}) {
    if (form == WeightStorage::kAsStored) continue;
    const DType dtype = storage_dtype(form);
    if (is_block(dtype) && !gguf) {
      fail(ErrorCode::kUsage,
           "{} is a type of GGUF files; add --layout gguf (safetensors files have no blocks)",
           storage_name(form));
    }
    if (dtype_bytes(dtype) == 1 && gguf) {
      fail(ErrorCode::kUsage, "GGUF files have no {}; with 8 bits a weight they have q8_0",
           storage_name(form));
    }
  }
  if (gguf && options.one_file() && !is_gguf_part(options.parts.front())) {
    fail(ErrorCode::kUsage, "the {} alone makes no GGUF file; --layout single makes a safetensors file of it",
         part_title(options.parts.front()));
  }
}

TargetStyle style_of(const Checkpoint& model, const LayoutOptions& options, Part part) {
  TargetStyle style;
  if (part == Part::kTransformer) {
    style.form = options.weights;
    style.strict = options.strict_weights;
  } else if (part != Part::kVae) {
    style.form = options.text_weights;
    style.strict = options.strict_text_weights;
  }
  const bool ends = part == Part::kTransformer || part == Part::kVae;
  switch (options.layout) {
    case Layout::kDiffusers: {
      const PartFiles* files = model.part_files(part);
      style.own_names = model.is_diffusers() && files && !files->config.empty() &&
                        files->names != Names::kBfl && files->names != Names::kLlama;
      break;
    }
    case Layout::kSingle:
      if (ends) style.names = Names::kBfl;
      if (options.parts.size() > 1) style.prefix = single_prefix(part);
      style.comfy = true;
      break;
    case Layout::kGguf:
      if (ends) style.names = Names::kBfl;
      if (part == Part::kT5) style.names = Names::kLlama;
      style.gguf = is_gguf_part(part);
      // CLIP lies in a safetensors file.
      if (part == Part::kClip && style.form != WeightStorage::kAsStored &&
          is_block(storage_dtype(style.form)))
        style.form = WeightStorage::kAsStored;
      if (part == Part::kClip) style.strict = false;
      break;
  }
  return style;
}

std::vector<PlannedFile> plan_files(const Checkpoint& model, const LayoutOptions& options,
                                    std::map<Part, std::vector<Target>> targets,
                                    const std::map<Part, nlohmann::json>& about,
                                    const TokenizerTexts& t5_tokenizer) {
  std::vector<PlannedFile> files;
  if (options.layout == Layout::kSingle) {
    PlannedFile& file = files.emplace_back();
    file.name = "model.safetensors";
    nlohmann::json all = nlohmann::json::object();
    for (const Part part : options.parts) {
      std::ranges::move(targets[part], std::back_inserter(file.targets));
      all.update(about.at(part));
    }
    lay_out_safetensors(file, all);
    return files;
  }
  for (const Part part : options.parts) {
    if (options.layout == Layout::kDiffusers) {
      std::ranges::move(plan_shards(part, std::move(targets[part]), options.shard_bytes),
                        std::back_inserter(files));
      continue;
    }
    PlannedFile& file = files.emplace_back();
    file.name = gguf_file(part);
    file.targets = std::move(targets[part]);
    if (is_gguf_part(part)) {
      lay_out_gguf(file, model, style_of(model, options, part).form, about.at(part), t5_tokenizer);
    } else {
      lay_out_safetensors(file, about.at(part));
    }
  }
  // A folder of GGUF files is a model as soon as it has a transformer, so that comes last.
  if (options.layout == Layout::kGguf) {
    std::stable_partition(files.begin(), files.end(), [](const PlannedFile& file) {
      return file.targets.front().part != Part::kTransformer;
    });
  }
  return files;
}

std::map<std::string, std::string> index_files(const std::vector<PlannedFile>& files) {
  struct Index {
    std::size_t files = 0, bytes = 0;
    nlohmann::json weight_map = nlohmann::json::object();
  };
  std::map<std::string, Index> indices;
  for (const PlannedFile& file : files) {
    if (file.targets.empty()) continue;
    const Part part = file.targets.front().part;
    Index& index = indices[fmt::format("{}/{}.safetensors.index.json", part_folder(part), base_name(part))];
    ++index.files;
    index.bytes += file.data_bytes;
    for (const Target& target : file.targets) {
      const std::string name = fs::path(file.name).filename().string();
      index.weight_map[target.weight.name] = name;
      if (target.scale) index.weight_map[target.scale->name] = name;
    }
  }
  std::map<std::string, std::string> out;
  for (auto& [name, index] : indices) {
    if (index.files < 2) continue;
    const nlohmann::json text = {{"metadata", {{"total_size", index.bytes}}},
                                 {"weight_map", index.weight_map}};
    out[name] = text.dump(2) + "\n";
  }
  return out;
}

}  // namespace darkroom
