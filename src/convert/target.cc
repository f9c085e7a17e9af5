#include "convert/target.h"

#include <algorithm>
#include <map>
#include <tuple>
#include <utility>

#include "base/error.h"
#include "base/printable.h"
#include "weights/quantize_blocks.h"

namespace darkroom {
namespace {

// Parameters that lie in one tensor of the output.
struct Group {
  Shape shape;  // of that tensor
  Role role = Role::kVector;
  bool sensitive = false;
  std::vector<std::pair<int64_t, Piece>> pieces;  // by their first row there

  int64_t cols() const { return shape[0] == 0 ? 0 : shape.numel() / shape[0]; }
  bool is_matrix() const { return role == Role::kMatrix; }
  bool is_merged() const {
    return std::ranges::any_of(pieces,
                               [](const auto& piece) { return piece.second.source->in_file.has_value(); });
  }
  const SourceTensor& first() const { return *pieces.front().second.source; }
};

struct Numbers {
  DType dtype = DType::kF32;
  int64_t scales = 0;
  bool operator==(const Numbers&) const = default;
};

Shape with_rows(const Shape& shape, int64_t rows) {
  std::vector<int64_t> extents = {rows};
  for (int i = 1; i < shape.rank(); ++i) extents.push_back(shape[i]);
  return Shape(extents);
}

std::map<std::string, Group> group(const PartSource& source, const TargetStyle& style,
                                   const Spelling& spelling) {
  std::map<std::string, Group> groups;
  for (const SourceTensor& tensor : source.tensors) {
    const Param& param = tensor.param;
    const StoredPlace place = style.own_names ? StoredPlace{.name = tensor.name} : spelling(param).front();
    Group& to = groups[place.name];
    to.shape = place.rows.empty() ? param.shape : with_rows(param.shape, place.all_rows);
    to.role = param.role;
    to.sensitive = to.sensitive || param.sensitive;
    const std::vector<RowRange> all = {{0, param.shape[0]}};
    int64_t row = 0;
    for (const RowRange& rows : place.rows.empty() ? all : place.rows) {
      to.pieces.push_back({rows.first, Piece{&tensor, {row, rows.count}}});
      row += rows.count;
    }
  }
  for (auto& [name, to] : groups) {
    std::ranges::sort(to.pieces, {}, [](const auto& piece) { return piece.first; });
    int64_t row = 0;
    for (const auto& [first, piece] : to.pieces) {
      require(first == row, ErrorCode::kFailure, "'{}' has a hole at row {}", name, row);
      row += piece.rows.count;
    }
    require(row == to.shape[0], ErrorCode::kFailure, "'{}' ends at row {}", name, row);
  }
  return groups;
}

// How the pieces are stored, all of them; nothing if they differ in that.
std::optional<Numbers> stored_numbers(const Group& group) {
  const Tensor& first = group.first().stored;
  if (group.pieces.size() == 1) return Numbers{first.dtype, first.scale_count};
  bool one_scale = first.scale_count == 1, of_rows = true;
  std::vector<float> scale;
  for (const auto& [row, piece] : group.pieces) {
    const Tensor& stored = piece.source->stored;
    if (stored.dtype != first.dtype || (stored.scale_count == 0) != (first.scale_count == 0)) return {};
    of_rows = of_rows && (stored.dtype == DType::kI8 || stored.scale_count == stored.rows());
    one_scale = one_scale && stored.scale_count == 1;
    if (!one_scale) continue;
    const std::vector<float> own = piece.source->source->read_scales(piece.source->param);
    one_scale = scale.empty() || scale == own;
    scale = own;
  }
  if (first.scale_count == 0) return Numbers{first.dtype, 0};
  if (one_scale) return Numbers{first.dtype, 1};
  return of_rows ? std::optional(Numbers{first.dtype, group.shape[0]}) : std::nullopt;
}

bool are_plain_floats(const Group& group) {
  return std::ranges::all_of(group.pieces, [](const auto& piece) {
    const DType dtype = piece.second.source->stored.dtype;
    return dtype == DType::kF32 || dtype == DType::kF16 || dtype == DType::kBF16;
  });
}

bool can_hold(const TargetStyle& style, const Numbers& numbers) {
  if (!style.gguf) return !is_block(numbers.dtype);
  if (is_block(numbers.dtype)) return numbers.dtype != DType::kNF4 && numbers.dtype != DType::kFP4;
  return is_float(numbers.dtype) && dtype_bytes(numbers.dtype) > 1 && numbers.scales == 0;
}

[[noreturn]] void refuse(const Group& group, const std::optional<Numbers>& stored, const TargetStyle& style) {
  if (!stored) {
    fail(ErrorCode::kUsage,
         "{} cannot be kept as it is stored: it shares a tensor with {} more in this layout, and they have "
         "types or scales of their own; convert the weights, to bf16 or others",
         group.first().place(), group.pieces.size() - 1);
  }
  fail(ErrorCode::kUsage, "{} is {}{}, which {} files cannot hold; convert the weights, to {}",
       group.first().place(), stored_type_name(stored->dtype), stored->scales > 0 ? " with scales" : "",
       style.gguf ? "GGUF" : "safetensors",
       style.gguf ? "q8_0, bf16 or others" : "bf16, or use --layout gguf");
}

bool is_converted(const std::string& name, const Group& group, const TargetStyle& style) {
  if (!group.is_matrix() || style.form == WeightStorage::kAsStored) return false;
  if (group.sensitive && is_quantised_storage(style.form)) return false;
  const DType dtype = storage_dtype(style.form);
  if (!is_block(dtype)) return true;
  return !name.starts_with("final_layer.") && group.cols() % block_size(dtype).elements == 0;
}

// What LoRAs were merged into is kept in the type of the file, where that has a quantiser.
Numbers merged_numbers(const Group& group, const TargetStyle& style) {
  const auto of_file = [](const SourceTensor& source) -> const Tensor& {
    return source.in_file ? *source.in_file : source.stored;
  };
  const Tensor& first = of_file(group.first());
  const bool same = std::ranges::all_of(
      group.pieces, [&](const auto& piece) { return of_file(*piece.second.source).dtype == first.dtype; });
  const bool has_quantiser =
      is_block(first.dtype) ? is_quantizable_block(first.dtype) : first.dtype != DType::kF8E5M2;
  Numbers numbers{first.dtype, 0};
  if (first.dtype == DType::kI8) numbers.scales = group.shape[0];
  if (first.dtype == DType::kF8E4M3 && first.scale_count > 0) numbers.scales = 1;
  return same && has_quantiser && can_hold(style, numbers) ? numbers : Numbers{DType::kBF16, 0};
}

Numbers target_numbers(const std::string& name, const Group& group, const TargetStyle& style,
                       const std::optional<Numbers>& stored) {
  if (is_converted(name, group, style)) {
    return {storage_dtype(style.form), storage_scales(style.form, group.shape[0])};
  }
  if (style.gguf && group.shape.rank() == 1) return {};
  if (group.is_merged()) return merged_numbers(group, style);
  if (stored && can_hold(style, *stored)) return *stored;
  if (are_plain_floats(group)) return {};
  if (style.strict) refuse(group, stored, style);
  return {DType::kBF16, 0};
}

StoredTensor stored_as(std::string name, DType dtype, std::vector<int64_t> extents) {
  StoredTensor out;
  out.name = std::move(name);
  out.type = stored_type_name(dtype);
  out.dtype = dtype;
  out.elements = 1;
  for (const int64_t extent : extents) out.elements *= extent;
  out.extents = std::move(extents);
  out.bytes = row_bytes(dtype, out.elements);
  return out;
}

std::vector<int64_t> extents_of(const Group& group, Part part, const TargetStyle& style) {
  if (style.own_names && !group.first().extents.empty()) return group.first().extents;
  std::vector<int64_t> extents;
  for (int i = 0; i < group.shape.rank(); ++i) extents.push_back(group.shape[i]);
  // Black Forest Labs have convolutions where diffusers has linear layers.
  if (part == Part::kVae && style.names == Names::kBfl && group.is_matrix() && !style.own_names)
    extents.insert(extents.end(), {1, 1});
  return extents;
}

std::string scale_of(const std::string& name, DType dtype, bool comfy) {
  constexpr std::string_view kWeight = "weight";
  if (!comfy || dtype == DType::kI8 || !name.ends_with(kWeight)) return name + "_scale";
  return name.substr(0, name.size() - kWeight.size()) + "scale_weight";
}

}  // namespace

std::string Target::place() const {
  if (!pieces.empty()) return pieces.front().source->place();
  return (extra ? extra->where + ": " : "") + "tensor '" + printable(weight.name) + "'";
}

std::vector<Target> plan_targets(const PartSource& source, Part part, const TargetStyle& style,
                                 const SpellingSizes& sizes) {
  std::vector<Target> targets;
  bool scaled = false;
  for (const auto& [name, group] : group(source, style, spelling_of(part, style.names, sizes))) {
    const std::optional<Numbers> stored = stored_numbers(group);
    const Numbers numbers = target_numbers(name, group, style, stored);
    Target target{.part = part,
                  .weight = stored_as(style.prefix + name, numbers.dtype, extents_of(group, part, style)),
                  .converts = stored != numbers};
    for (const auto& [first, piece] : group.pieces) target.pieces.push_back(piece);
    if (numbers.scales > 0) {
      std::vector<int64_t> extents;
      if (numbers.scales > 1 || numbers.dtype == DType::kI8) extents = {numbers.scales};
      target.scale =
          stored_as(scale_of(target.weight.name, numbers.dtype, style.comfy), DType::kF32, extents);
      scaled = scaled || numbers.dtype == DType::kF8E4M3;
    }
    targets.push_back(std::move(target));
  }
  if (style.own_names) {
    for (const ExtraTensor& extra : source.extras) {
      targets.push_back({.part = part, .weight = extra.stored, .extra = &extra});
      targets.back().weight.name = style.prefix + extra.stored.name;
    }
  }
  // Two elements: ComfyUI multiplies in full precision.
  if (scaled && style.comfy) {
    targets.push_back({.part = part, .weight = stored_as(style.prefix + "scaled_fp8", DType::kF8E4M3, {2})});
  }
  std::ranges::sort(targets, {}, [](const Target& target) -> std::string_view { return target.weight.name; });
  return targets;
}

}  // namespace darkroom
