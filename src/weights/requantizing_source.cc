#include "weights/requantizing_source.h"

#include "base/error.h"
#include "weights/requantize.h"

namespace darkroom {

WeightStorage RequantizingSource::storage_of(const Param& param) const {
  return choice_.int8_blocks && param.unit.stage == Stage::kBlock ? WeightStorage::kI8 : choice_.all;
}

bool RequantizingSource::changes(const Param& param, const Tensor& stored) const {
  if (!param.quantizable()) return false;
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
      return stored.dtype != DType::kI8;
    default:
      break;
  }
  const DType blocks = storage_dtype(storage);
  return stored.dtype != blocks && stored.cols() % block_size(blocks).elements == 0;
}

Tensor RequantizingSource::describe(const Param& param) {
  Tensor tensor = base_->describe(param);
  if (!changes(param, tensor)) return tensor;
  tensor.dtype = storage_dtype(storage_of(param));
  tensor.scale_count = storage_scales(storage_of(param), tensor.rows());
  return tensor;
}

void RequantizingSource::read(const Param& param, std::span<std::byte> out) {
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
  const bool clamps =
      requantize({.place = fmt::format("'{}' as {}", param.name, storage_name(storage_of(param))),
                  .shape = from.shape,
                  .dtype = to.dtype,
                  .run_rows = from.rows(),
                  .read = [&](int64_t first, int64_t count) { return from.slice_rows(first, count); },
                  .room = [&](int64_t first, int64_t count) { return to.slice_rows(first, count); }},
                 own);
  if (clamps) clamped_.insert(param.name);
}

// In int8 nothing is clamped, so these are all of the other storage.
std::string RequantizingSource::note() {
  const std::lock_guard lock(mutex_);
  return clamped_.empty() ? std::string()
                          : clamped_note(storage_dtype(choice_.all), clamped_.size(), *clamped_.begin());
}

std::size_t RequantizingSource::staging_bytes(const Param& param) {
  const Tensor stored = base_->describe(param);
  if (!changes(param, stored)) return base_->staging_bytes(param);
  return stored.bytes_with_scales() + requantize_bytes(stored) + base_->staging_bytes(param);
}

}  // namespace darkroom
