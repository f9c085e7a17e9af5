#include "convert/part_source.h"

#include <algorithm>
#include <map>
#include <set>
#include <utility>

#include "base/error.h"
#include "base/printable.h"
#include "checkpoint/lora_merge.h"
#include "weights/scales.h"

namespace darkroom {
namespace {

// The second name of T5's embedding is no matrix.
bool looks_like_matrix(const StoredTensor& tensor) {
  return tensor.extents.size() == 2 && tensor.name.ends_with(".weight") &&
         !tensor.name.ends_with("embed_tokens.weight") && !tensor.name.ends_with("shared.weight");
}

class Listing {
 public:
  Listing(std::shared_ptr<CatalogSource> source, bool extra_matrices)
      : source_(std::move(source)), extra_matrices_(extra_matrices) {}

  void add(const Param& param) {
    const StoredPlace place = source_->locate(param);
    SourceTensor tensor = at(param, source_, place.name);
    const bool packed = tensor.stored.dtype == DType::kNF4 || tensor.stored.dtype == DType::kFP4;
    if (place.rows.empty() && !packed) tensor.extents = catalog().stored(place.name)->extents;
    if (packed) packed_.insert(place.name + ".");
    used_.insert(place.name);
    out_.tensors.push_back(std::move(tensor));
  }

  PartSource finish() && {
    for (const std::string_view view : catalog().names()) {
      const std::string name(view);
      if (!used_.contains(name) && !is_companion(name)) add_extra(name);
    }
    return std::move(out_);
  }

 private:
  const Catalog& catalog() const { return source_->catalog(); }

  static SourceTensor at(const Param& param, const std::shared_ptr<CatalogSource>& source,
                         const std::string& name) {
    return {source->catalog().where(name), name, param, source, source->describe(param)};
  }
  // Whether it goes with a tensor that is listed.
  bool is_companion(const std::string& name) const {
    const auto longest = packed_.upper_bound(name);
    if (longest != packed_.begin() && name.starts_with(*std::prev(longest))) return true;
    if (!is_scale_name(name)) return false;
    if (!is_matrix_scale_name(name)) return true;
    const StoredTensor* weight = scaled_weight(catalog(), name);
    require(weight, ErrorCode::kModel,
            "{}: tensor '{}' is a scale, but the matrix that it belongs to is not there",
            catalog().where(name), printable(name));
    return extra_matrices_ || used_.contains(weight->name);
  }
  void add_extra(const std::string& name) {
    const StoredTensor& stored = *catalog().stored(name);
    if (extra_matrices_ && looks_like_matrix(stored)) {
      if (!as_named_) as_named_ = std::make_shared<CatalogSource>(catalog());
      const Param param{name, Shape(stored.extents), Role::kMatrix};
      out_.tensors.push_back(at(param, as_named_, name));
      out_.tensors.back().extents = stored.extents;
      return;
    }
    const auto read = [source = source_, name](std::size_t offset, std::span<std::byte> out) {
      source->catalog().read(name, offset, out);
    };
    out_.extras.push_back({catalog().where(name), stored, read});
  }

  std::shared_ptr<CatalogSource> source_, as_named_;
  bool extra_matrices_;
  std::set<std::string> used_, packed_;  // names; those of packed matrices with the dot that follows
  PartSource out_;
};

PartSource list_dummy(const Checkpoint& model, Part part) {
  const std::shared_ptr<WeightSource> source = model.open_weights(part);
  PartSource out;
  const VisitFn add = [&](const Param& param, Tensor&) {
    out.tensors.push_back({model.name(), param.name, param, source, source->describe(param)});
  };
  model.visit(part, add);
  if (part == Part::kVae) model.visit_encoder(add);
  return out;
}

bool has_encoder(const Checkpoint& model, const CatalogSource& source) {
  bool has = false;
  model.visit_encoder([&](const Param& param, Tensor&) { has = has || source.has(param); });
  return has;
}

}  // namespace

std::string SourceTensor::place() const { return where + ": tensor '" + printable(name) + "'"; }

PartSource list_tensors(const Checkpoint& model, Part part, bool extra_matrices) {
  if (model.is_dummy()) return list_dummy(model, part);
  const PartFiles* files = model.part_files(part);
  if (!files) fail(ErrorCode::kModel, "{}", model.missing(part));
  require(files->catalog != nullptr, ErrorCode::kModel, "{}", files->problem);
  const auto source = std::make_shared<CatalogSource>(
      *files->catalog, spelling_of(part, files->names, model.spelling_sizes()));
  Listing listing(source, extra_matrices);
  const VisitFn add = [&](const Param& param, Tensor&) { listing.add(param); };
  model.visit(part, add);
  if (part == Part::kVae && has_encoder(model, *source)) model.visit_encoder(add);
  return std::move(listing).finish();
}

void merge_loras(PartSource& source, Part part, const LoraUses& loras, ThreadPool& pool) {
  if (loras.empty()) return;
  std::map<WeightSource*, std::shared_ptr<MergedSource>> merged;
  for (SourceTensor& tensor : source.tensors) {
    std::shared_ptr<MergedSource>& with = merged[tensor.source.get()];
    if (!with) with = std::make_shared<MergedSource>(tensor.source, part, loras, pool);
    if (!with->changes(tensor.param)) continue;
    const Tensor before = std::exchange(tensor.stored, with->describe(tensor.param));
    if (!tensor.in_file) tensor.in_file = before;
    tensor.source = with;
  }
}

}  // namespace darkroom
