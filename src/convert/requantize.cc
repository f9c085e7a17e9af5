#include "convert/requantize.h"

#include <algorithm>
#include <utility>

#include "base/error.h"
#include "weights/quantize.h"

namespace darkroom {
namespace {

constexpr std::size_t kTaskBytes = 1 << 20;  // of a block, for one thread at a time

// How many scales the matrix has in that storage.
int64_t scales_of(const SourceTensor& source, WeightStorage form) {
  return storage_scales(form, source.stored.extents[0]);
}

// Whether a matrix is what `form` makes of one, so that nothing is to be done.
bool is_in_form(const SourceTensor& source, WeightStorage form) {
  if (source.stored.dtype != storage_dtype(form)) return false;
  if (!source.scale) return scales_of(source, form) == 0;
  return source.scale->dtype == DType::kF32 && source.scale->elements == scales_of(source, form);
}

StoredTensor scale_for(const SourceTensor& source, WeightStorage form) {
  StoredTensor scale;
  scale.name = source.stored.name + "_scale";
  scale.type = stored_type_name(DType::kF32);
  scale.dtype = DType::kF32;
  if (form == WeightStorage::kI8) scale.extents = {source.stored.extents[0]};
  scale.elements = scales_of(source, form);
  scale.bytes = static_cast<std::size_t>(scale.elements) * sizeof(float);
  return scale;
}

// Makes room for so many bytes; what was there is lost.
std::byte* room(Buffer& buffer, std::size_t bytes) {
  if (buffer.size() < bytes) {
    buffer = Buffer();  // before the larger one is there
    buffer = Buffer(bytes);
  }
  return buffer.data();
}

int64_t rows_in_block(std::size_t bytes_of_a_row) {
  return std::max<int64_t>(
      1, static_cast<int64_t>(Requantizer::kBlockBytes / std::max<std::size_t>(bytes_of_a_row, 1)));
}

std::vector<float> read_scales(const SourceTensor& source) {
  const StoredTensor& scale = *source.scale;
  std::vector<std::byte> stored(scale.bytes);
  source.read_scale(0, stored);
  std::vector<float> out(static_cast<std::size_t>(scale.elements));
  const Shape shape{1, scale.elements};
  dequantize_rows(Tensor(stored.data(), *scale.dtype, shape), {}, Tensor(out.data(), DType::kF32, shape));
  return out;
}

std::span<const float> scales_of_rows(const std::vector<float>& scales, int64_t first, int64_t count) {
  if (scales.size() <= 1) return scales;
  return std::span(scales).subspan(static_cast<std::size_t>(first), static_cast<std::size_t>(count));
}

}  // namespace

WeightStorage parse_form(const std::string& name, const std::string& what) {
  const std::optional<WeightStorage> form = parse_storage(name);
  // Safetensors, which this writes, has no block types.
  if (!form || *form == WeightStorage::kAsStored || is_block(storage_dtype(*form))) {
    fail(ErrorCode::kUsage, "{} is '{}'; there are bf16, fp8, fp8-scaled and int8", what, name);
  }
  return *form;
}

Converted plan_tensor(const SourceTensor& source, WeightStorage form) {
  Converted out{.source = &source, .form = form, .weight = source.stored};
  if (form == WeightStorage::kAsStored || !source.matrix || is_in_form(source, form)) {
    out.form = WeightStorage::kAsStored;
    if (source.scale) {
      out.scale = source.scale;
      out.scale->name = source.stored.name + "_scale";
    }
    return out;
  }
  const bool readable = source.stored.dtype && is_matrix_storage(*source.stored.dtype);
  if (!readable || (source.stored.dtype == DType::kI8 && !source.scale)) {
    fail(ErrorCode::kModel, "{} is {}{}: a matrix of this type cannot be converted", source.place(),
         source.stored.describe(), readable ? " without a scale" : "");
  }
  out.weight.dtype = storage_dtype(form);
  out.weight.type = stored_type_name(storage_dtype(form));
  out.weight.bytes = row_bytes(storage_dtype(form), source.stored.elements);
  if (scales_of(source, form) > 0) out.scale = scale_for(source, form);
  return out;
}

void Requantizer::stop_if_cancelled() const {
  if (cancel_.load(std::memory_order_relaxed)) fail(ErrorCode::kCancelled, "stopped on request");
}

void Requantizer::copy(const ReadFn& read, const StoredTensor& to, NewFile& file, std::size_t data_begin) {
  std::byte* const block = room(stored_, std::min(to.bytes, kBlockBytes));
  for (std::size_t done = 0; done < to.bytes;) {
    stop_if_cancelled();
    const std::span<std::byte> piece(block, std::min(to.bytes - done, kBlockBytes));
    read(done, piece);
    file.write(data_begin + to.begin + done, piece);
    done += piece.size();
    on_bytes_(piece.size());
  }
}

void Requantizer::for_blocks(const SourceTensor& source, const UseBlock& use) {
  const StoredTensor& stored = source.stored;
  const int64_t all = stored.extents[0], cols = stored.extents[1];
  const std::vector<float> scales = source.scale ? read_scales(source) : std::vector<float>();
  const DType dtype = *stored.dtype;
  const bool widened = source.scale || is_block(dtype);
  const int64_t step = rows_in_block(row_bytes(widened ? DType::kF32 : dtype, cols));
  for (int64_t first = 0; first < all && cols > 0; first += step) {
    stop_if_cancelled();
    const Shape shape{std::min(step, all - first), cols};
    Tensor rows(room(stored_, row_bytes(dtype, shape.numel())), dtype, shape);
    source.read(static_cast<std::size_t>(first) * row_bytes(dtype, cols),
                {static_cast<std::byte*>(rows.data), rows.bytes()});
    if (widened) {
      const Tensor wide(room(wide_, static_cast<std::size_t>(shape.numel()) * sizeof(float)), DType::kF32,
                        shape);
      for_rows(source, first, rows, [&](int64_t begin, int64_t count) {
        dequantize_rows(rows.slice_rows(begin, count), scales_of_rows(scales, first + begin, count),
                        wide.slice_rows(begin, count));
      });
      rows = wide;
    }
    use(first, rows);
  }
}

void Requantizer::for_rows(const SourceTensor& source, int64_t first_row, const Tensor& rows,
                           const UseRows& use) {
  const auto step = std::max<int64_t>(
      1, static_cast<int64_t>(kTaskBytes / std::max<std::size_t>(row_bytes(rows.dtype, rows.cols()), 1)));
  pool_.parallel_for((rows.rows() + step - 1) / step, [&](int64_t task, int) {
    const int64_t begin = task * step;
    try {
      use(begin, std::min(step, rows.rows() - begin));
    } catch (const Error& e) {
      if (e.code() != ErrorCode::kModel) throw;
      fail(ErrorCode::kModel, "{}, counted from row {}: {}", source.place(), first_row + begin, e.what());
    }
  });
}

float Requantizer::largest(const SourceTensor& source, int64_t first_row, const Tensor& rows) {
  std::vector<float> of_rows(static_cast<std::size_t>(rows.rows()));
  for_rows(source, first_row, rows, [&](int64_t begin, int64_t count) {
    of_rows[static_cast<std::size_t>(begin)] = absmax(rows.slice_rows(begin, count));
  });
  return *std::ranges::max_element(of_rows);
}

void Requantizer::write(const Converted& tensor, NewFile& file, std::size_t data_begin) {
  const SourceTensor& source = *tensor.source;
  if (tensor.form == WeightStorage::kAsStored) {
    copy(source.read, tensor.weight, file, data_begin);
    if (tensor.scale) copy(source.read_scale, *tensor.scale, file, data_begin);
    return;
  }
  std::vector<float> scales;
  if (tensor.form == WeightStorage::kI8) scales.resize(static_cast<std::size_t>(source.stored.extents[0]));
  if (tensor.form == WeightStorage::kF8Scaled) {
    float magnitude = 0;
    for_blocks(source, [&](int64_t first, const Tensor& rows) {
      magnitude = std::max(magnitude, largest(source, first, rows));
    });
    scales = {f8_scale(magnitude)};
  }
  bool clamps = false;
  for_blocks(source, [&](int64_t first, const Tensor& rows) {
    if (tensor.form == WeightStorage::kF8) clamps = largest(source, first, rows) > kLargestF8E4M3 || clamps;
    const DType dtype = *tensor.weight.dtype;
    const std::size_t bytes = row_bytes(dtype, rows.shape.numel());
    const Tensor out(room(out_, bytes), dtype, rows.shape);
    for_rows(source, first, rows, [&](int64_t begin, int64_t count) {
      const Tensor part = rows.slice_rows(begin, count);
      if (tensor.form == WeightStorage::kI8) {
        i8_scales(part, std::span(scales).subspan(static_cast<std::size_t>(first + begin),
                                                  static_cast<std::size_t>(count)));
      }
      quantize_rows(part, scales_of_rows(scales, first + begin, count), out.slice_rows(begin, count));
    });
    const std::size_t before = static_cast<std::size_t>(first) * row_bytes(dtype, rows.cols());
    file.write(data_begin + tensor.weight.begin + before, {static_cast<const std::byte*>(out.data), bytes});
    on_bytes_(bytes);
  });
  if (tensor.scale) {
    file.write(data_begin + tensor.scale->begin, std::as_bytes(std::span(scales)));
    on_bytes_(tensor.scale->bytes);
  }
  if (clamps && clamped_++ == 0) first_clamped_ = source.place();
}

}  // namespace darkroom
