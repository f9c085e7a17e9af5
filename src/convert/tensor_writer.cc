#include "convert/tensor_writer.h"

#include <algorithm>
#include <utility>

#include "base/error.h"
#include "weights/requantize.h"

namespace darkroom {
namespace {

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
      1, static_cast<int64_t>(TensorWriter::kBlockBytes / std::max<std::size_t>(bytes_of_a_row, 1)));
}

// One for all, or one for each row of the target, put together from the pieces'.
std::vector<float> joined_scales(const Target& target) {
  const bool one = target.scale->elements == 1;
  std::vector<float> out;
  for (const Piece& piece : target.pieces) {
    const std::vector<float> own = piece.source->source->read_scales(piece.source->param);
    if (one) return own;
    for (int64_t row = 0; row < piece.rows.count; ++row) {
      out.push_back(own.size() == 1 ? own[0] : own[static_cast<std::size_t>(piece.rows.first + row)]);
    }
  }
  return out;
}

}  // namespace

void TensorWriter::stop_if_cancelled() const {
  if (cancel_.load(std::memory_order_relaxed)) fail(ErrorCode::kCancelled, "stopped on request");
}

void TensorWriter::put(NewFile& file, std::size_t at, std::span<const std::byte> bytes) {
  file.write(at, bytes);
  on_bytes_(bytes.size());
}

void TensorWriter::copy_extra(const Target& target, NewFile& file, std::size_t at) {
  const std::size_t all = target.weight.bytes;
  std::byte* const block = room(stored_, std::min(all, kBlockBytes));
  for (std::size_t done = 0; done < all;) {
    stop_if_cancelled();
    const std::span<std::byte> piece(block, std::min(all - done, kBlockBytes));
    if (target.extra) {
      target.extra->read(done, piece);
    } else {
      std::ranges::fill(piece, std::byte{0});
    }
    put(file, at + done, piece);
    done += piece.size();
  }
}

void TensorWriter::copy_pieces(const Target& target, NewFile& file, std::size_t at) {
  for (const Piece& piece : target.pieces) {
    const std::size_t row = row_bytes(piece.source->stored.dtype, piece.source->param.cols());
    const int64_t step = rows_in_block(row);
    for (int64_t done = 0; done < piece.rows.count && row > 0; done += step) {
      stop_if_cancelled();
      const int64_t count = std::min(step, piece.rows.count - done);
      const std::size_t bytes = static_cast<std::size_t>(count) * row;
      const std::span<std::byte> block(room(stored_, bytes), bytes);
      piece.source->source->read_rows(piece.source->param, {piece.rows.first + done, count}, block);
      put(file, at, block);
      at += bytes;
    }
  }
}

// Rows of the target as they are stored, with their scales: as many as lie in one piece.
Tensor TensorWriter::read(const Target& target, int64_t first, int64_t count, const Scales& scales) {
  stop_if_cancelled();
  auto piece = target.pieces.begin();
  for (; first >= piece->rows.count; ++piece) first -= piece->rows.count;
  const SourceTensor& source = *piece->source;
  const RowRange rows{piece->rows.first + first, std::min(count, piece->rows.count - first)};
  const int64_t cols = source.param.cols();
  const std::size_t bytes = static_cast<std::size_t>(rows.count) * row_bytes(source.stored.dtype, cols);
  const std::span<std::byte> block(room(stored_, bytes), bytes);
  source.source->read_rows(source.param, rows, block);
  Tensor out(block.data(), source.stored.dtype, {rows.count, cols});
  const std::vector<float>& own = scales.at(&source);
  if (own.size() == 1) {
    out.scale_count = 1;
    out.scales = own.data();
  } else if (!own.empty()) {
    out.scale_count = rows.count;
    out.scales = own.data() + rows.first;
  }
  return out;
}

std::vector<float> TensorWriter::convert(const Target& target, NewFile& file, std::size_t at) {
  const DType dtype = *target.weight.dtype;
  const int64_t cols = target.pieces.front().source->param.cols();
  std::size_t widest = row_bytes(dtype, cols);
  int64_t rows = 0;
  Scales own;
  for (const Piece& piece : target.pieces) {
    rows += piece.rows.count;
    widest = std::max(widest, row_bytes(piece.source->stored.dtype, cols));
    if (!own.contains(piece.source))
      own[piece.source] = piece.source->source->read_scales(piece.source->param);
  }
  std::vector<float> scales(static_cast<std::size_t>(target.scale ? target.scale->elements : 0));
  const bool clamps =
      requantize({.place = target.place(),
                  .shape = {rows, cols},
                  .dtype = dtype,
                  .run_rows = rows_in_block(widest),
                  .read = [&](int64_t first, int64_t count) { return read(target, first, count, own); },
                  .room =
                      [&](int64_t, int64_t count) {
                        const Shape shape{count, cols};
                        return Tensor(room(out_, row_bytes(dtype, shape.numel())), dtype, shape);
                      },
                  .done =
                      [&](int64_t first, const Tensor& out) {
                        const std::size_t before = static_cast<std::size_t>(first) * row_bytes(dtype, cols);
                        put(file, at + before, {static_cast<const std::byte*>(out.data), out.bytes()});
                      },
                  .run_tasks =
                      [&](int64_t count, const std::function<void(int64_t)>& task) {
                        pool_.parallel_for(count, [&](int64_t number, int) { task(number); });
                      }},
                 scales);
  if (clamps && clamped_++ == 0) {
    first_clamped_ = target.place();
    clamped_dtype_ = dtype;
  }
  return scales;
}

void TensorWriter::write(const Target& target, NewFile& file, std::size_t data_begin) {
  const std::size_t at = data_begin + target.weight.begin;
  std::vector<float> scales;
  if (target.pieces.empty()) {
    copy_extra(target, file, at);
  } else if (target.converts) {
    scales = convert(target, file, at);
  } else {
    copy_pieces(target, file, at);
    if (target.scale) scales = joined_scales(target);
  }
  if (target.scale) put(file, data_begin + target.scale->begin, std::as_bytes(std::span(scales)));
}

}  // namespace darkroom
