#include "checkpoint/lora_merge.h"

#include <algorithm>
#include <utility>

#include "checkpoint/lora_dense.h"
#include "weights/quantize.h"
#include "weights/scales.h"

namespace darkroom {
namespace {

constexpr int64_t kTaskRows = 16;

// Rows [first, first + count) of the parameter's share in a module's "up", whose own rows follow each other.
LoraMatrix load_up(const TensorFile& file, const Lora::LowRank& change, int64_t first, int64_t count) {
  const std::vector<RowRange> all = {{0, first + count}};
  LoraMatrix out{0, change.rank, {}};
  for (const RowRange& rows : change.rows.empty() ? all : change.rows) {
    const int64_t begin = std::clamp<int64_t>(first, 0, rows.count),
                  end = std::clamp<int64_t>(first + count, 0, rows.count);
    if (begin < end) {
      const LoraMatrix piece = load_lora_matrix(file, *change.up, rows.first + begin, end - begin);
      out.values.insert(out.values.end(), piece.values.begin(), piece.values.end());
      out.rows += end - begin;
    }
    first -= rows.count;
  }
  return out;
}

void add_row(const LoraMatrix& down, std::span<const float> up, float factor, float* row) {
  for (int64_t r = 0; r < down.rows; ++r) {
    const float share = factor * up[static_cast<std::size_t>(r)];
    const float* const from = down.row(r).data();
    for (int64_t col = 0; col < down.cols; ++col) row[col] += share * from[col];
  }
}

}  // namespace

MergedSource::MergedSource(std::shared_ptr<WeightSource> base, Part part, LoraUses loras, ThreadPool& pool)
    : base_(std::move(base)), part_(part), loras_(std::move(loras)), pool_(pool) {
  std::erase_if(loras_, [&](const LoraUse& use) { return use.strength == 0 || !use.lora->touches(part); });
}

bool MergedSource::changes(const Param& param) const {
  return std::ranges::any_of(
      loras_, [&](const LoraUse& use) { return use.lora->find(part_, param.name) != nullptr; });
}

Tensor MergedSource::describe(const Param& param) {
  if (!changes(param)) return base_->describe(param);
  return Tensor(nullptr, DType::kF32, param.shape, Device::kNone);
}

std::vector<float> MergedSource::read_scales(const Param& param) {
  return changes(param) ? std::vector<float>() : base_->read_scales(param);
}

void MergedSource::read(const Param& param, std::span<std::byte> out) {
  changes(param) ? read_rows(param, {0, param.shape[0]}, out) : base_->read(param, out);
}

// The rows of `base` as they are stored, in f32.
void MergedSource::widen(const Param& param, const RowRange& rows, const Tensor& out) {
  const Tensor stored = base_->describe(param);
  const Buffer memory(static_cast<std::size_t>(rows.count) * row_bytes(stored.dtype, out.cols()));
  base_->read_rows(param, rows, {memory.data(), memory.size()});
  const Tensor from(memory.data(), stored.dtype, out.shape);
  const std::vector<float> scales = base_->read_scales(param);
  dequantize_rows(from, scales_of_rows(scales, rows), out);
}

void MergedSource::add(const Lora::LowRank& change, const LoraUse& use, int64_t first,
                       const Tensor& sum) const {
  const TensorFile& file = use.lora->file();
  const LoraMatrix down = load_lora_matrix(file, *change.down);
  const LoraMatrix up = load_up(file, change, first, sum.rows());
  const float factor = static_cast<float>(use.strength * change.factor);
  const int64_t tasks = (sum.rows() + kTaskRows - 1) / kTaskRows;
  pool_.parallel_for(tasks, [&](int64_t task, int) {
    const int64_t end = std::min(sum.rows(), (task + 1) * kTaskRows);
    for (int64_t row = task * kTaskRows; row < end; ++row)
      add_row(down, up.row(row), factor, sum.row<float>(row));
  });
}

void MergedSource::read_rows(const Param& param, const RowRange& rows, std::span<std::byte> out) {
  if (!changes(param)) return base_->read_rows(param, rows, out);
  const Tensor sum(out.data(), DType::kF32, {rows.count, param.cols()});
  widen(param, rows, sum);
  for (const LoraUse& use : loras_) {
    const Lora::Change* change = use.lora->find(part_, param.name);
    if (!change) continue;
    for (const Lora::Dense& each : change->dense) {
      const DenseRows difference(use.lora->file(), each, use.strength, sum.cols());
      difference.apply(rows.first, {sum.row<float>(0), static_cast<std::size_t>(sum.shape.numel())});
    }
    for (const Lora::LowRank& each : change->low_rank) add(each, use, rows.first, sum);
  }
}

}  // namespace darkroom
