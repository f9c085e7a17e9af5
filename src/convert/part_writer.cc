#include "convert/part_writer.h"

#include <algorithm>
#include <nlohmann/json.hpp>

#include "base/error.h"
#include "memory/budget.h"
#include "models/flux/flux.h"
#include "weights/safetensors_head.h"
#include "weights/weight_files.h"

namespace darkroom {
namespace {

namespace fs = std::filesystem;

std::string_view base_name(Part part) {
  return part == Part::kClip || part == Part::kT5 ? "model" : "diffusion_pytorch_model";
}

std::string file_name(Part part, std::size_t number, std::size_t count) {
  if (count == 1) return fmt::format("{}.safetensors", base_name(part));
  return fmt::format("{}-{:05}-of-{:05}.safetensors", base_name(part), number + 1, count);
}

std::size_t bytes_of(const Converted& tensor) {
  return tensor.weight.bytes + (tensor.scale ? tensor.scale->bytes : 0);
}

// Fewer bits only where the same kind of weights on load has them (Model::open_weights).
WeightStorage form_of(const SourceTensor& tensor, WeightStorage form) {
  return tensor.sensitive && form != WeightStorage::kBF16 ? WeightStorage::kAsStored : form;
}

std::vector<Shard> fill_shards(const std::vector<SourceTensor>& tensors, WeightStorage form,
                               std::size_t shard_bytes) {
  std::vector<Shard> shards(1);
  for (const SourceTensor& source : tensors) {
    Converted tensor = plan_tensor(source, form_of(source, form));
    if (!shards.back().tensors.empty() && shards.back().data_bytes + bytes_of(tensor) > shard_bytes) {
      shards.emplace_back();
    }
    shards.back().data_bytes += bytes_of(tensor);
    shards.back().tensors.push_back(std::move(tensor));
  }
  return shards;
}

// Decides where in the file everything lies.
void lay_out_shard(Shard& shard, const std::string& where) {
  std::vector<StoredTensor> all;
  for (const Converted& tensor : shard.tensors) {
    all.push_back(tensor.weight);
    if (tensor.scale) all.push_back(*tensor.scale);
  }
  lay_out(all);
  // transformers refuses files that do not say this.
  shard.head = safetensors_head(all, {{"format", "pt"}}, where);
  std::map<std::string, std::size_t> begins;
  for (const StoredTensor& stored : all) begins[stored.name] = stored.begin;
  for (Converted& tensor : shard.tensors) {
    tensor.weight.begin = begins.at(tensor.weight.name);
    if (tensor.scale) tensor.scale->begin = begins.at(tensor.scale->name);
  }
  std::ranges::sort(shard.tensors, {}, [](const Converted& tensor) { return tensor.weight.begin; });
}

std::string index_text(const PartPlan& plan) {
  nlohmann::json weight_map = nlohmann::json::object();
  for (const Shard& shard : plan.shards) {
    for (const Converted& tensor : shard.tensors) {
      weight_map[tensor.weight.name] = shard.name;
      if (tensor.scale) weight_map[tensor.scale->name] = shard.name;
    }
  }
  return nlohmann::json{{"metadata", {{"total_size", plan.data_bytes()}}}, {"weight_map", weight_map}}.dump(
             2) +
         "\n";
}

}  // namespace

std::size_t PartPlan::data_bytes() const {
  std::size_t total = 0;
  for (const Shard& shard : shards) total += shard.data_bytes;
  return total;
}

std::size_t PartPlan::bytes() const {
  std::size_t total = 0;
  for (const Shard& shard : shards) total += shard.bytes();
  return total;
}

PartPlan plan_part(Part part, std::vector<SourceTensor> tensors, WeightStorage form,
                   std::size_t shard_bytes) {
  PartPlan plan{part, std::move(tensors), {}};
  plan.shards = fill_shards(plan.tensors, form, shard_bytes);
  const std::size_t count = plan.shards.size();
  if (count > kMaxShards) {
    fail(ErrorCode::kUsage, "files of {} make {} of {}, at most {} can be read; larger ones make fewer",
         memory::byte_text(shard_bytes), count, part_folder(part), kMaxShards);
  }
  for (std::size_t i = 0; i < count; ++i) {
    plan.shards[i].name = file_name(part, i, count);
    lay_out_shard(plan.shards[i], fmt::format("{}/{}", part_folder(part), plan.shards[i].name));
  }
  return plan;
}

void write_part(const PartPlan& plan, Requantizer& requantizer, NewFolder& folder) {
  const fs::path path = part_folder(plan.part);
  for (const Shard& shard : plan.shards) {
    NewFile file = folder.file(path / shard.name);
    file.write(0, std::as_bytes(std::span(shard.head)));
    for (const Converted& tensor : shard.tensors) requantizer.write(tensor, file, shard.head.size());
    file.finish();
  }
  if (plan.shards.size() > 1) {
    folder.write(path / fmt::format("{}.safetensors.index.json", base_name(plan.part)), index_text(plan));
  }
}

}  // namespace darkroom
