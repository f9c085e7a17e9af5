#include "checkpoint/lora_source.h"

#include <algorithm>
#include <cstring>
#include <utility>

#include "base/error.h"
#include "base/printable.h"
#include "checkpoint/lora_dense.h"
#include "weights/quantize.h"

namespace darkroom {
namespace {

constexpr std::string_view kWeight = ".weight", kDown = ".lora_down", kUp = ".lora_up";
// Elements of a piece that is widened at once.
constexpr int64_t kPieceElements = 1 << 16;

// "X" of "X.weight".
std::string without_ending(const std::string& name, std::string_view ending) {
  return name.substr(0, name.size() - ending.size());
}

int64_t piece_rows(int64_t cols) { return std::max<int64_t>(1, kPieceElements / std::max<int64_t>(1, cols)); }

void require_finite(const TensorFile& file, const StoredTensor& stored, const Tensor& rows) {
  try {
    absmax(rows);
  } catch (const Error& e) {
    fail(e.code(), "{}: tensor '{}': {}", file.where(), printable(stored.name), e.what());
  }
}

// A vector as a column.
Tensor as_matrix(Tensor tensor) {
  if (tensor.shape.rank() == 2) return tensor;
  const int64_t scales = std::exchange(tensor.scale_count, 0);
  Tensor out = tensor.reshape({tensor.shape.numel(), 1});
  out.scale_count = scales;
  return out;
}

}  // namespace

LoraSource::LoraSource(std::unique_ptr<WeightSource> base, Part part, LoraUses loras)
    : base_(std::move(base)), part_(part), loras_(std::move(loras)) {
  std::erase_if(loras_, [&](const LoraUse& use) { return use.strength == 0 || !use.lora->touches(part); });
}

std::vector<LoraSource::LowRank> LoraSource::low_rank_of_matrix(const std::string& name) const {
  std::vector<LowRank> out;
  for (const LoraUse& use : loras_) {
    const Lora::Change* change = use.lora->find(part_, name);
    if (!change) continue;
    for (const Lora::LowRank& each : change->low_rank)
      out.push_back({&use.lora->file(), &each, use.strength});
  }
  return out;
}

std::vector<LoraSource::LowRank> LoraSource::low_rank_of(const Param& param) const {
  for (const std::string_view ending : {kDown, kUp}) {
    if (param.name.ends_with(ending))
      return low_rank_of_matrix(without_ending(param.name, ending) + std::string(kWeight));
  }
  return {};
}

std::vector<LoraSource::Dense> LoraSource::dense_of(const Param& param) const {
  std::vector<Dense> out;
  for (const LoraUse& use : loras_) {
    const Lora::Change* change = use.lora->find(part_, param.name);
    if (!change) continue;
    for (const Lora::Dense& each : change->dense) out.push_back({&use.lora->file(), &each, use.strength});
  }
  return out;
}

// That of the files, if they agree, else f32.
DType LoraSource::joint_dtype(std::span<const LowRank> changes, bool down) {
  const auto dtype_of = [&](const LowRank& each) {
    return *(down ? each.change->down : each.change->up)->dtype;
  };
  const DType first = dtype_of(changes.front());
  const bool same =
      std::ranges::all_of(changes, [&](const LowRank& each) { return dtype_of(each) == first; });
  return same ? first : DType::kF32;
}

std::optional<LoraParams> LoraSource::lora_of(const Param& param) {
  if (param.role != Role::kMatrix || !param.name.ends_with(kWeight)) return std::nullopt;
  int64_t rank = 0;
  for (const LowRank& each : low_rank_of_matrix(param.name)) rank += each.change->rank;
  if (rank == 0) return std::nullopt;
  LoraParams out{param, param};
  for (Param* each : {&out.down, &out.up}) {
    each->sensitive = true;
    each->lora_down = each->lora_up = nullptr;
  }
  const std::string module = without_ending(param.name, kWeight);
  out.down.name = module + std::string(kDown);
  out.down.shape = {rank, param.shape[1]};
  out.up.name = module + std::string(kUp);
  out.up.shape = {param.shape[0], rank};
  return out;
}

Tensor LoraSource::describe(const Param& param) {
  const std::vector<LowRank> beside = low_rank_of(param);
  if (!beside.empty()) {
    const bool down = param.name.ends_with(kDown);
    Tensor out(nullptr, joint_dtype(beside, down), param.shape, Device::kNone);
    if (down) out.scale_count = param.shape[0];
    return out;
  }
  Tensor out = base_->describe(param);
  if (dense_of(param).empty()) return out;
  const bool wide = out.dtype == DType::kF32 || param.role == Role::kVector;
  return Tensor(nullptr, wide ? DType::kF32 : DType::kBF16, param.shape, Device::kNone);
}

// The factors stand in the scales, so that the numbers stay those of the files.
void LoraSource::read_down(const Param& param, std::span<const LowRank> changes,
                           std::span<std::byte> out) const {
  const DType dtype = joint_dtype(changes, true);
  const Tensor to(out.data(), dtype, param.shape);
  float* scale = reinterpret_cast<float*>(out.data() + to.scales_offset());
  int64_t row = 0;
  for (const auto& [file, change, strength] : changes) {
    const Tensor rows = to.slice_rows(row, change->rank);
    if (*change->down->dtype == dtype) {
      file->read(*change->down, {static_cast<std::byte*>(rows.data), rows.bytes()});
      require_finite(*file, *change->down, rows);
    } else {
      const LoraMatrix wide = load_lora_matrix(*file, *change->down);
      std::memcpy(rows.data, wide.values.data(), rows.bytes());
    }
    scale = std::fill_n(scale, change->rank, static_cast<float>(strength * change->factor));
    row += change->rank;
  }
}

// One beside the other along the rank, each the rows of its own module.
void LoraSource::read_up(const Param& param, std::span<const LowRank> changes,
                         std::span<std::byte> out) const {
  const Tensor to(out.data(), joint_dtype(changes, false), param.shape);
  const std::size_t element = dtype_bytes(to.dtype);
  int64_t col = 0;
  for (const auto& [file, change, strength] : changes) {
    const std::vector<RowRange> all = {{0, param.shape[0]}};
    int64_t row = 0;
    for (const RowRange& range : change->rows.empty() ? all : change->rows) {
      for (int64_t done = 0; done < range.count;) {
        const int64_t count = std::min(piece_rows(change->rank), range.count - done);
        const Tensor part = to.slice_rows(row, count).slice_cols(col, change->rank);
        const std::size_t bytes = static_cast<std::size_t>(count * change->rank);
        if (*change->up->dtype == to.dtype) {
          std::vector<std::byte> piece(bytes * element);
          file->read(*change->up, static_cast<std::size_t>((range.first + done) * change->rank) * element,
                     piece);
          const Tensor from(piece.data(), to.dtype, {count, change->rank});
          require_finite(*file, *change->up, from);
          for (int64_t r = 0; r < count; ++r) {
            std::memcpy(part.row_data(r), from.row_data(r), static_cast<std::size_t>(change->rank) * element);
          }
        } else {
          const LoraMatrix wide = load_lora_matrix(*file, *change->up, range.first + done, count);
          for (int64_t r = 0; r < count; ++r) std::ranges::copy(wide.row(r), part.row<float>(r));
        }
        done += count;
        row += count;
      }
    }
    col += change->rank;
  }
}

void LoraSource::read(const Param& param, std::span<std::byte> out) {
  const std::vector<LowRank> beside = low_rank_of(param);
  if (!beside.empty()) {
    return param.name.ends_with(kDown) ? read_down(param, beside, out) : read_up(param, beside, out);
  }
  const std::vector<Dense> changes = dense_of(param);
  if (changes.empty()) return base_->read(param, out);
  Tensor stored = base_->describe(param);
  const Buffer memory(stored.bytes_with_scales());
  base_->read(param, {memory.data(), stored.bytes_with_scales()});
  stored.lay_into(memory.data());
  Tensor result = describe(param);
  result.lay_into(out.data());
  const Tensor from = as_matrix(stored), to = as_matrix(result);
  std::vector<DenseRows> differences;
  for (const Dense& each : changes)
    differences.emplace_back(*each.file, *each.change, each.strength, from.cols());
  std::vector<float> wide;
  for (int64_t row = 0; row < from.rows();) {
    const int64_t count = std::min(piece_rows(from.cols()), from.rows() - row);
    const Tensor rows = from.slice_rows(row, count);
    wide.resize(static_cast<std::size_t>(count * from.cols()));
    const Tensor sum(wide.data(), DType::kF32, rows.shape);
    dequantize_rows(rows, {rows.scales, static_cast<std::size_t>(rows.scale_count)}, sum);
    for (const DenseRows& each : differences) each.apply(row, wide);
    const Tensor into = to.slice_rows(row, count);
    if (into.dtype == DType::kF32) {
      std::memcpy(into.data, wide.data(), into.bytes());
    } else {
      quantize_rows(sum, {}, into);
    }
    row += count;
  }
}

std::size_t LoraSource::staging_bytes(const Param& param) {
  const std::vector<LowRank> beside = low_rank_of(param);
  std::size_t most = 0;
  for (const LowRank& each : beside) {
    const bool down = param.name.ends_with(kDown);
    const StoredTensor& stored = down ? *each.change->down : *each.change->up;
    most =
        std::max(most, lora_matrix_bytes(stored, down ? each.change->rank : piece_rows(each.change->rank)));
  }
  if (!beside.empty()) return most;
  const std::vector<Dense> changes = dense_of(param);
  if (changes.empty()) return base_->staging_bytes(param);
  const Tensor stored = base_->describe(param);
  const int64_t cols = param.shape.rank() == 2 ? param.shape[1] : 1;
  const int64_t rows = std::min(piece_rows(cols), param.shape[0]);
  std::size_t bytes = base_->staging_bytes(param) + stored.bytes_with_scales() +
                      static_cast<std::size_t>(rows * cols) * sizeof(float);
  for (const Dense& each : changes) bytes += DenseRows::bytes(*each.change, rows, cols);
  return bytes;
}

std::unique_ptr<WeightSource> with_loras(std::unique_ptr<WeightSource> source, Part part,
                                         const LoraUses& loras) {
  const bool any = std::ranges::any_of(
      loras, [&](const LoraUse& use) { return use.strength != 0 && use.lora->touches(part); });
  if (!any) return source;
  return std::make_unique<LoraSource>(std::move(source), part, loras);
}

}  // namespace darkroom
