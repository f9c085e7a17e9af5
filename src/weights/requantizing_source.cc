#include "weights/requantizing_source.h"

#include "base/error.h"
#include "weights/requantize.h"

namespace darkroom {
namespace {

// i8 of any numbers does for kInt8Levels: kernels for as many take -128, too.
bool needs_fewer_levels(const Tensor& stored, int32_t levels) {
  return levels > 0 && levels < kInt8Levels && (stored.levels == 0 || stored.levels > levels);
}

bool whole_blocks(DType dtype, int64_t cols) { return cols % block_size(dtype).elements == 0; }

}  // namespace

RequantizingSource::Columns RequantizingSource::columns_of(const Param& param) const {
  if (!has_smoothed_input(param)) return Columns::kLeft;
  if (base_->smooth_of(param)) return choice_.block_levels > 0 ? Columns::kLeft : Columns::kMultiplied;
  return choice_.block_levels > 0 && choice_.smoothing ? Columns::kDivided : Columns::kLeft;
}

std::vector<float> RequantizingSource::column_factors(const Param& param) const {
  const Columns columns = columns_of(param);
  if (columns == Columns::kLeft) return {};
  std::vector<float> factors(static_cast<std::size_t>(param.cols()));
  if (columns == Columns::kMultiplied) {
    base_->read(*base_->smooth_of(param), std::as_writable_bytes(std::span(factors)));
    return factors;
  }
  choice_.smoothing->read(smooth_param(param).name, std::as_writable_bytes(std::span(factors)));
  for (float& factor : factors) factor = 1 / factor;
  return factors;
}

std::optional<Param> RequantizingSource::smooth_of(const Param& param) {
  if (!has_smoothed_input(param) || choice_.block_levels == 0) return std::nullopt;
  if (std::optional<Param> own = base_->smooth_of(param)) return own;
  return choice_.smoothing ? std::optional(smooth_param(param)) : std::nullopt;
}

bool RequantizingSource::is_smooth_param(const Param& param) const {
  return choice_.smoothing && param.role == Role::kVector && param.name.ends_with(kSmoothEnding);
}

int32_t RequantizingSource::levels_of(const Param& param) const {
  return param.unit.stage == Stage::kBlock ? choice_.block_levels : 0;
}

WeightStorage RequantizingSource::storage_of(const Param& param) const {
  if (levels_of(param) > 0) return WeightStorage::kI8;
  const bool as_stored = choice_.all == WeightStorage::kAsStored;
  if ((as_stored || !whole_blocks(storage_dtype(choice_.all), param.cols())) &&
      columns_of(param) == Columns::kMultiplied)
    return WeightStorage::kBF16;
  return choice_.all;
}

std::string_view RequantizingSource::kind_of(const Param& param) const {
  return levels_of(param) == kInt7Levels ? "int7" : storage_name(storage_of(param));
}

bool RequantizingSource::changes(const Param& param, const Tensor& stored) const {
  if (!param.quantizable()) return false;
  if (columns_of(param) != Columns::kLeft) return true;
  const WeightStorage storage = storage_of(param);
  switch (storage) {
    case WeightStorage::kAsStored:
      return false;
    case WeightStorage::kBF16:
    case WeightStorage::kF16:
      return stored.dtype != storage_dtype(storage);
    case WeightStorage::kF8:
    case WeightStorage::kF8Scaled:
      return stored.dtype != DType::kF8E4M3 && stored.dtype != DType::kF8E5M2;
    case WeightStorage::kI8:
      return stored.dtype != DType::kI8 || needs_fewer_levels(stored, levels_of(param));
    default:
      break;
  }
  const DType blocks = storage_dtype(storage);
  return stored.dtype != blocks && whole_blocks(blocks, stored.cols());
}

Tensor RequantizingSource::describe(const Param& param) {
  if (is_smooth_param(param)) return Tensor(nullptr, DType::kF32, param.shape, Device::kNone);
  Tensor tensor = base_->describe(param);
  if (!changes(param, tensor)) return tensor;
  tensor.dtype = storage_dtype(storage_of(param));
  tensor.scale_count = storage_scales(storage_of(param), tensor.rows());
  tensor.levels = levels_of(param);
  return tensor;
}

// After an error one after the other, so that it is the first row's.
void RequantizingSource::run_tasks(int64_t count, const std::function<void(int64_t)>& task) {
  if (!threads_) threads_ = std::make_unique<ThreadPool>(choice_.threads);
  try {
    threads_->parallel_for(count, [&](int64_t number, int) { task(number); });
  } catch (const Error&) {
    for (int64_t number = 0; number < count; ++number) task(number);
    throw;
  }
}

void RequantizingSource::read(const Param& param, std::span<std::byte> out) {
  if (is_smooth_param(param)) return choice_.smoothing->read(param.name, out);
  Tensor from = base_->describe(param);
  if (!changes(param, from)) return base_->read(param, out);
  Tensor to = describe(param);
  require(out.size() == to.bytes_with_scales(), ErrorCode::kFailure, "'{}' has {} bytes, {} were asked for",
          param.name, to.bytes_with_scales(), out.size());
  float* const scales = reinterpret_cast<float*>(out.data() + to.scales_offset());
  const std::span<float> own(scales, static_cast<std::size_t>(to.scale_count));
  to.scale_count = 0;  // while it is written: the numbers alone
  to.data = out.data();
  const std::lock_guard lock(mutex_);
  const std::size_t bytes = from.bytes_with_scales();
  if (staging_.size() < bytes) {
    staging_ = Buffer();  // given back before the larger one is asked for
    staging_ = Buffer(bytes);
  }
  base_->read(param, {staging_.data(), bytes});
  from.lay_into(staging_.data());
  const std::vector<float> factors = column_factors(param);
  const Requantization work{
      .place = fmt::format("{} as {}", base_->place_of(param), kind_of(param)),
      .shape = from.shape,
      .dtype = to.dtype,
      .run_rows = from.rows(),
      .columns = factors,
      .read = [&](int64_t first, int64_t count) { return from.slice_rows(first, count); },
      .room = [&](int64_t first, int64_t count) { return to.slice_rows(first, count); },
      .run_tasks = [&](int64_t count, const auto& task) { run_tasks(count, task); }};
  try {
    if (requantize(work, own)) clamped_.insert(param.name);
  } catch (const Error& e) {
    if (e.code() != ErrorCode::kModel) throw;
    fail(e.code(), "{}: the file{} damaged, get it again", e.what(),
         factors.empty() ? " is" : " or the smoothing factors are");
  }
}

// In int8 nothing is clamped, so these are all of the other storage.
std::string RequantizingSource::note() {
  const std::lock_guard lock(mutex_);
  return clamped_.empty() ? std::string()
                          : clamped_note(storage_dtype(choice_.all), clamped_.size(), *clamped_.begin());
}

std::size_t RequantizingSource::staging_bytes(const Param& param) {
  if (is_smooth_param(param)) return 0;
  const Tensor stored = base_->describe(param);
  if (!changes(param, stored)) return base_->staging_bytes(param);
  const bool columns = columns_of(param) != Columns::kLeft;
  const std::size_t factors = columns ? static_cast<std::size_t>(param.cols()) * sizeof(float) : 0;
  return stored.bytes_with_scales() +
         static_cast<std::size_t>(choice_.threads) * requantize_bytes(stored, columns) + factors +
         base_->staging_bytes(param);
}

}  // namespace darkroom
