#include "models/vae/strips.h"

#include <algorithm>
#include <cmath>

namespace darkroom::vae {
namespace {

constexpr float kEpsilon = 1e-6f;  // of every GroupNorm

// Rows of a picture [H, W, C] as a picture.
Tensor rows_of(const Tensor& picture, int64_t first, int64_t count) {
  const Shape& s = picture.shape;
  return picture.reshape({s[0], s[1] * s[2]}).slice_rows(first, count).reshape({count, s[1], s[2]});
}

// A linear layer over pixels. Its bytes do not depend on how many rows come at once, as those of ops::linear
// do.
Conv2d as_convolution(const Linear& w) {
  return {w.weight.reshape({w.out_features(), w.in_features(), 1, 1}), w.bias};
}

// So many rows in whole tiles of what a convolution computes at once, or one tile, within the picture's
// height. They are even, as downsampling wants.
int64_t whole_tiles(int64_t rows, int64_t height) {
  constexpr int64_t kTile = ops::ConvOptions::kTileRows;
  static_assert(kTile % 2 == 0);
  const int64_t even_height = (height + 1) / 2 * 2;
  return rows >= height ? even_height : std::min(std::max(rows / kTile, int64_t{1}) * kTile, even_height);
}

// Calls work(first, count) for strips of `rows` rows. Where only work is counted one strip stands for all of
// its size, and what is left over, if any, comes right after it. Errors: kCancelled between strips.
template <typename Work>
void for_each_strip(const Context& ctx, int64_t height, int64_t rows, const Work& work) {
  if (!ctx.counts_only() || height < rows) {
    for (int64_t first = 0; first < height; first += rows) {
      ctx.throw_if_cancelled();
      work(first, std::min(rows, height - first));
    }
    return;
  }
  {
    const Repeated repeated(ctx.backend, height / rows);
    work(0, rows);
  }
  if (height % rows > 0) work(rows, height % rows);
}

}  // namespace

Plane plane_of(const Tensor& picture) {
  Plane plane;
  plane.shape = picture.shape;
  plane.dtype = picture.dtype;
  plane.memory = picture;
  return plane;
}

Tensor Plane::read(const Context& ctx, int64_t first, int64_t count, const Tensor& buffer) const {
  const Tensor rows = place(first, count, buffer);
  if (!memory.present() && !ctx.counts_only()) {
    ctx.backend.wait(ctx.backend.mark());  // what was there may still be read
    ctx.backend.fill(rows.row_data(0), rows.bytes(), [&](std::span<std::byte> bytes) {
      file->read(offset + static_cast<std::size_t>(first) * row_bytes(), bytes);
    });
  }
  return rows;
}

Tensor Plane::place(int64_t first, int64_t count, const Tensor& buffer) const {
  return memory.present() ? rows_of(memory, first, count) : rows_of(buffer, 0, count);
}

void Plane::keep(const Context& ctx, int64_t first, const Tensor& rows) const {
  if (moments.present()) {
    ops::row_moments_into(ctx, rows, moments.cols() / 2, moments.slice_rows(first, rows.shape[0]));
  }
  if (taker) {
    (*taker)(first, rows);
  } else if (!memory.present() && !ctx.counts_only()) {
    ctx.backend.look_at(rows.row_data(0), rows.bytes(), [&](std::span<const std::byte> bytes) {
      file->write(offset + static_cast<std::size_t>(first) * row_bytes(), bytes);
    });
  }
}

Canvas::Canvas(const Context& ctx, int64_t elements, int64_t rows, int64_t groups, bool in_file,
               const ScratchFile* scratch)
    : scratch_(scratch), dtype_(ctx.activation), elements_(elements) {
  if (!in_file) storage_ = ctx.allocate({1, elements});
  for (Tensor& moments : moments_) moments = ctx.arena.allocate(DType::kF32, {rows, 2 * groups});
}

Plane Canvas::room(const Shape& shape) const {
  const int64_t count = shape.numel(), first = active_ == 0 ? elements_ - count : 0;
  require(current_.shape.numel() + count <= elements_, ErrorCode::kFailure,
          "vae: pictures of {} and {} are more than {} values; please report this", current_.shape, shape,
          elements_);
  Plane plane;
  plane.shape = shape;
  plane.dtype = dtype_;
  if (storage_.present()) plane.memory = storage_.slice_cols(first, count).reshape(shape);
  plane.file = scratch_;
  plane.offset = static_cast<std::size_t>(first) * dtype_bytes(dtype_);
  return plane;
}

Plane Canvas::other(const Shape& shape) const {
  Plane plane = room(shape);
  const Tensor& moments = moments_[1 - active_];
  if (shape[2] % (moments.cols() / 2) == 0) plane.moments = moments.slice_rows(0, shape[0]);
  return plane;
}

void Canvas::flip_to(const Plane& picture) {
  active_ = 1 - active_;
  current_ = picture;
}

// Rows of a picture, normalised, with one more above and below where there are such; it moves from the top to
// the bottom, so each row is read and normalised once, and what it has passed may be overwritten.
class Strips::Window {
 public:
  Window(const Strips& strips, const Plane& picture, const Norm& norm, int64_t rows)
      : strips_(strips),
        picture_(picture),
        norm_(norm),
        buffer_(strips.ctx_.arena.allocate(
            picture.dtype, {std::min(rows + 2, picture.height()), picture.shape[1], picture.shape[2]})) {}

  // Rows [first − 1, first + count + 1), as far as they exist. `first` is where the last strip ended.
  Tensor move_to(int64_t first, int64_t count) {
    const int64_t begin = std::max<int64_t>(0, first - 1);
    const int64_t end = std::min(picture_.height(), first + count + 1);
    const int64_t kept = end_ - begin;
    // One by one: two rows may overlap where they came from.
    for (int64_t r = 0; begin > begin_ && r < kept; ++r) {
      ops::convert_into(strips_.ctx_, rows_of(buffer_, begin - begin_ + r, 1), rows_of(buffer_, r, 1));
    }
    if (end > end_) {
      strips_.load(picture_, norm_, end_, end - end_, rows_of(buffer_, kept, end - end_));
    }
    begin_ = begin;
    end_ = end;
    return rows_of(buffer_, 0, end - begin);
  }

 private:
  const Strips& strips_;
  const Plane& picture_;
  const Norm& norm_;
  Tensor buffer_;
  int64_t begin_ = 0, end_ = 0;  // rows of the picture that the buffer holds
};

Strips::Norm Strips::norm_of(const Plane& picture, const NormWeights* weights, bool silu) const {
  Norm norm{weights, silu, {}};
  if (weights) {
    norm.statistics =
        ops::group_statistics(ctx_, picture.moments, picture.row_elements() / groups_, kEpsilon);
  }
  return norm;
}

// Rows as the norm leaves them, in `to`.
Tensor Strips::load(const Plane& from, const Norm& norm, int64_t first, int64_t count,
                    const Tensor& to) const {
  const Tensor rows = from.read(ctx_, first, count, to);
  if (norm.weights) {
    ops::group_norm_into(ctx_, rows, norm.statistics, norm.weights->weight, norm.weights->bias, norm.silu,
                         to);
  } else if (from.memory.present()) {
    ops::convert_into(ctx_, rows, to);
  }
  return to;
}

// Absent for a picture that lies in memory.
Tensor Strips::buffer_for(const Plane& picture, int64_t rows) const {
  if (picture.memory.present()) return {};
  return ctx_.arena.allocate(picture.dtype, {rows, picture.shape[1], picture.shape[2]});
}

int64_t Strips::strip_rows(const Plane& picture, std::size_t bytes_per_row) const {
  const std::size_t rows = strip_bytes_ / std::max<std::size_t>(1, bytes_per_row);
  return std::clamp<int64_t>(static_cast<int64_t>(rows), 1, picture.height());
}

void Strips::convolve(const Plane& in, const Stage& stage, const Plane& out) const {
  const Arena::Scope scope(ctx_.arena);
  const int64_t u = stage.upsample, d = stage.downsample;
  const Plane* detour = stage.shortcut ? stage.residual : nullptr;
  const std::size_t row_bytes = in.row_bytes() + static_cast<std::size_t>(u) * out.buffered_row_bytes() +
                                (detour ? detour->buffered_row_bytes() : 0);
  const int64_t rows = whole_tiles(strip_rows(in, row_bytes), in.height());
  const Norm norm = norm_of(in, stage.norm, true);
  Window window(*this, in, norm, rows);
  const Tensor buffer = buffer_for(out, rows * u / d),
               detour_buffer = detour ? buffer_for(*detour, rows) : Tensor();
  for_each_strip(ctx_, in.height(), rows, [&](int64_t first, int64_t count) {
    Tensor x = window.move_to(first, count);
    // The row above counts as a neighbour only; downsampling looks below and to the right, and not even at
    // it.
    const bool has_above = first > 0 && d == 1;
    if (first > 0 && !has_above) x = rows_of(x, 1, x.shape[0] - 1);
    const bool adds = stage.residual && !detour;
    const Tensor y =
        adds ? out.read(ctx_, first, count, buffer) : out.place(first * u / d, count * u / d, buffer);
    if (detour)
      ops::conv2d_into(ctx_, detour->read(ctx_, first, count, detour_buffer), *stage.shortcut, {}, y);
    ops::ConvOptions options{.upsample = u, .downsample = d, .first_row = has_above ? u : 0};
    if (stage.residual) options.residual = y;
    ops::conv2d_into(ctx_, x, stage.conv, options, y);
    out.keep(ctx_, first * u / d, y);
  });
}

void Strips::make_keys_values(const AttentionBlock& w, const Norm& norm, const Plane& x,
                              const Plane& keys_values) const {
  const Arena::Scope scope(ctx_.arena);
  const int64_t width = x.shape[1], pixels = x.height() * width;
  const int64_t rows = strip_rows(x, x.row_bytes() + x.buffered_row_bytes());
  const Tensor normed = ctx_.arena.allocate(x.dtype, {rows, width, x.shape[2]});
  const Tensor buffer = buffer_for(keys_values, rows * width);
  for_each_strip(ctx_, x.height(), rows, [&](int64_t first, int64_t count) {
    const Tensor n = load(x, norm, first, count, rows_of(normed, 0, count));
    for (const auto& [begin, layer] : {std::pair(int64_t{0}, &w.k), std::pair(pixels, &w.v)}) {
      const Tensor y = keys_values.place(begin + first * width, count * width, buffer);
      ops::conv2d_into(ctx_, n, as_convolution(*layer), {}, y.reshape(n.shape));
      keys_values.keep(ctx_, begin + first * width, y);
    }
  });
}

// `buffer`: room for the keys and values of a part, absent where they lie in memory; then there is one part,
// and no state.
void Strips::attend_to_parts(const Tensor& q, const Plane& keys_values, const Tensor& buffer,
                             const Tensor& state, const Tensor& out) const {
  const int64_t pixels = keys_values.height() / 2, channels = q.cols();
  const int64_t part = buffer.present() ? buffer.shape[0] / 2 : pixels;
  ops::AttentionOptions options{.scale = 1.0f / std::sqrt(static_cast<float>(channels)), .state = state};
  for_each_strip(ctx_, pixels, part, [&](int64_t first, int64_t keys) {
    const Tensor k_room = buffer.present() ? rows_of(buffer, 0, part) : Tensor();
    const Tensor v_room = buffer.present() ? rows_of(buffer, part, part) : Tensor();
    const Tensor k = keys_values.read(ctx_, first, keys, k_room),
                 v = keys_values.read(ctx_, pixels + first, keys, v_room);
    options.first = first == 0;
    options.last = first + keys == pixels;
    ops::attention_into(ctx_, q, k.reshape({keys, channels}), v.reshape({keys, channels}), options, out);
  });
}

void Strips::attend(const AttentionBlock& w, const Plane& x, const Plane& keys_values) const {
  const Arena::Scope scope(ctx_.arena);
  const Norm norm = norm_of(x, &w.norm, false);
  make_keys_values(w, norm, x, keys_values);
  const int64_t width = x.shape[1], channels = x.shape[2], pixels = x.height() * width;
  // Keys and values that lie in a file come in parts of whole blocks, as many as fill a strip together.
  constexpr int64_t kBlock = ops::AttentionOptions::kKeyBlock;
  const std::size_t block_bytes = static_cast<std::size_t>(2 * kBlock) * keys_values.row_bytes();
  const int64_t blocks = std::max<int64_t>(1, static_cast<int64_t>(strip_bytes_ / block_bytes));
  const int64_t part = keys_values.memory.present() ? pixels : std::min(pixels, blocks * kBlock);
  const Tensor part_buffer = buffer_for(keys_values, 2 * part);

  const std::size_t state_bytes = static_cast<std::size_t>(width * (channels + 2)) * sizeof(float);
  const int64_t rows =
      strip_rows(x, 3 * x.row_bytes() + x.buffered_row_bytes() + (part < pixels ? state_bytes : 0));
  const Shape strip{rows, width, channels};
  const Tensor normed = ctx_.arena.allocate(x.dtype, strip), queries = ctx_.arena.allocate(x.dtype, strip);
  const Tensor attended = ctx_.arena.allocate(x.dtype, strip), buffer = buffer_for(x, rows);
  const Tensor state =
      part < pixels ? ctx_.arena.allocate(DType::kF32, {rows * width, channels + 2}) : Tensor();
  for_each_strip(ctx_, x.height(), rows, [&](int64_t first, int64_t count) {
    const Tensor n = load(x, norm, first, count, rows_of(normed, 0, count)), q = rows_of(queries, 0, count),
                 a = rows_of(attended, 0, count), y = x.read(ctx_, first, count, buffer);
    ops::conv2d_into(ctx_, n, as_convolution(w.q), {}, q);
    const Shape matrix{count * width, channels};
    attend_to_parts(q.reshape(matrix), keys_values, part_buffer,
                    state.present() ? state.slice_rows(0, count * width) : Tensor(), a.reshape(matrix));
    ops::conv2d_into(ctx_, a, as_convolution(w.out), {.residual = y}, y);
    x.keep(ctx_, first, y);
  });
}

}  // namespace darkroom::vae
