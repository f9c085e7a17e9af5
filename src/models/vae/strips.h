// The VAE's stages over pictures that do not fit into memory: a stage reads a strip of rows, normalises
// it with the statistics of the whole picture, convolves it and puts the result where it belongs.
//
// A row's bytes depend on the picture only, never on the height of the strips or on where pictures lie.
// Private to the VAE.
#pragma once

#include <cstdint>

#include "models/vae/vae.h"

namespace darkroom::vae {

// A picture [H, W, C] between two stages. It does not own what it refers to.
struct Plane {
  Shape shape;
  DType dtype = DType::kF32;
  Tensor memory;                      // where it lies; absent if it lies in a file or nowhere
  const ScratchFile* file = nullptr;  // in a file from `offset` on; null without data
  std::size_t offset = 0;
  const RowsFn* taker = nullptr;  // nowhere: handed on as it comes
  Tensor moments;                 // f32 [H, 2·groups] of its rows, or absent: no norm follows

  int64_t height() const { return shape[0]; }
  int64_t row_elements() const { return shape[1] * shape[2]; }
  std::size_t row_bytes() const { return static_cast<std::size_t>(row_elements()) * dtype_bytes(dtype); }
  // Bytes of memory that a row needs while it is worked on: none where it lies in memory anyway.
  std::size_t buffered_row_bytes() const { return memory.present() ? 0 : row_bytes(); }

  // Rows [first, first + count): as they lie in memory, or read from the file into `buffer`.
  Tensor read(const Context& ctx, int64_t first, int64_t count, const Tensor& buffer) const;
  // Where those rows are to be put, in memory or in `buffer`; keep() then follows.
  Tensor place(int64_t first, int64_t count, const Tensor& buffer) const;
  // Takes the rows from `first` on that were put there.
  void keep(const Context& ctx, int64_t first, const Tensor& rows) const;
};

// A picture that is there already.
Plane plane_of(const Tensor& picture);

// Room for the picture that a stage reads and the one that it writes, at the two ends of one piece of memory
// or of the scratch file: so it is as large as the largest such pair, not twice the largest picture.
class Canvas {
 public:
  // For pairs of at most `elements` values, and pictures of at most `rows` rows.
  Canvas(const Context& ctx, int64_t elements, int64_t rows, int64_t groups, bool in_file,
         const ScratchFile* scratch);

  const Plane& current() const { return current_; }
  // A picture at the end where the current one is not, with moments.
  Plane other(const Shape& shape) const;
  // The same without moments.
  Plane room(const Shape& shape) const;
  // Makes what other() returned the current picture. `picture` may be one from elsewhere, at the very
  // beginning.
  void flip_to(const Plane& picture);

 private:
  Tensor storage_;  // absent in a file
  const ScratchFile* scratch_;
  DType dtype_;
  int64_t elements_;
  Tensor moments_[2];
  int active_ = 0;
  Plane current_;
};

// One convolution of at most 3×3 and what goes with it.
struct Stage {
  const Conv2d& conv;
  const NormWeights* norm = nullptr;  // GroupNorm and SiLU before it
  int64_t upsample = 1, downsample = 1;
  const Plane* residual = nullptr;   // added to the result: the place of the result itself, or any picture
  const Conv2d* shortcut = nullptr;  // through this 1×1 convolution
};

class Strips {
 public:
  Strips(const Context& ctx, int64_t groups, std::size_t strip_bytes)
      : ctx_(ctx), groups_(groups), strip_bytes_(strip_bytes) {}

  // `out` may be `in` itself, unless the stage changes its size. Errors: kCancelled between strips.
  void convolve(const Plane& in, const Stage& stage, const Plane& out) const;
  // x += attention over all pixels, one head as wide as the picture is deep. keys_values: room for twice x,
  // as [2·H·W, 1, C]. Errors: as above.
  void attend(const AttentionBlock& w, const Plane& x, const Plane& keys_values) const;

 private:
  // A GroupNorm whose statistics are known.
  struct Norm {
    const NormWeights* weights = nullptr;  // null: none
    bool silu = false;
    Tensor statistics;
  };
  class Window;

  Norm norm_of(const Plane& picture, const NormWeights* weights, bool silu) const;
  Tensor load(const Plane& from, const Norm& norm, int64_t first, int64_t count, const Tensor& to) const;
  Tensor buffer_for(const Plane& picture, int64_t rows) const;
  int64_t strip_rows(const Plane& picture, std::size_t bytes_per_row) const;
  void make_keys_values(const AttentionBlock& w, const Norm& norm, const Plane& x,
                        const Plane& keys_values) const;
  void attend_to_parts(const Tensor& q, const Plane& keys_values, const Tensor& buffer, const Tensor& state,
                       const Tensor& out) const;

  const Context& ctx_;
  int64_t groups_;
  std::size_t strip_bytes_;
};

}  // namespace darkroom::vae
