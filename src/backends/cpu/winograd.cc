// Convolutions of 3×3 by Winograd's tiles: Lavin and Gray, "Fast Algorithms for Convolutional Neural Networks"
// (2015). 36 results take 64 products for each pair of channels instead of 324, and 49 after upsampling.
//
// Output channels come in blocks whose transformed weights stay in L3. For each block a task takes a few
// tiles of the picture, whose transforms stay in L2: those of the pixels, the sums of products, and back. As
// in gemm.cc input channels come in blocks of kDepth in ascending order, and each starts from zero before it
// is added, so an element's bits depend on its tile only.
//
// All of it is f32, also where a product of bf16 pairs takes half the time: transformed pixels are
// differences, and would lose their digits.
#include <algorithm>

#include "backends/cpu/engine.h"

namespace darkroom::cpu {
namespace {

constexpr int64_t kMostTiles = 14;                  // of a task: 0.9 MB of transformed pixels
constexpr int64_t kMostWeights = int64_t{1} << 21;  // of a block: 8 MiB
constexpr int64_t kMostChannels = 128;              // of a block
// From what belongs to a product to the next, beside its size: or they would all lie in one set of a cache.
constexpr int64_t kPad = 16;
constexpr int64_t kTaps = 9, kMostInputs = 8;

// Which tiles, and how their blocks of output channels are cut. Strides are from a point to the next.
struct Layout {
  int64_t ci, co, products, data_points;
  int64_t tiles, block;  // of a task; channels of a block
  int64_t data_stride, sums_stride, weights_stride;
  int64_t scratch_floats() const { return data_points * data_stride + products * sums_stride; }
};

Layout layout_of(const WinogradKernels& winograd, const GemmKernels& gemm, int64_t ci, int64_t co) {
  Layout l{};
  l.ci = ci;
  l.co = co;
  l.products = winograd.products * winograd.products;
  l.data_points = winograd.data * winograd.data;
  l.tiles = kMostTiles / gemm.mr * gemm.mr;
  const int64_t most = std::min(kMostChannels, std::max(gemm.nr, kMostWeights / (l.products * ci)));
  const int64_t padded = round_up(co, gemm.nr), blocks = ceil_div(padded, most / gemm.nr * gemm.nr);
  l.block = round_up(ceil_div(padded, blocks), gemm.nr);
  l.data_stride = l.tiles * kDepth + kPad;
  l.sums_stride = l.tiles * l.block + kPad;
  l.weights_stride = l.block * ci + kPad;
  return l;
}

struct Job {
  const Conv2dArgs& args;
  const WinogradKernels& winograd;
  const GemmKernels& gemm;
  Layout layout;
  int64_t top;            // the row of the result where tiles begin
  int64_t across, tiles;  // of the whole result
  float* weights;         // of a block: [products][block/nr][Ci][nr]
  const float* bias;
};

// A block of output channels, some of which may not exist.
struct Block {
  int64_t first, channels;
};

// Some tiles, and their worker's memory.
struct Tiles {
  int64_t first, count;
  float* data;  // [data_points][tiles][kDepth]
  float* sums;  // [products][block/nr][tiles][nr]
};

// Null outside the picture.
void find_pixels(const Job& job, int64_t tile, int64_t channel, const void** pixels) {
  const Tensor& x = job.args.x;
  const int64_t u = job.args.upsample, n = job.winograd.inputs;
  const int64_t top = (job.top + tile / job.across * kWinogradTile) / u - 1;
  const int64_t left = tile % job.across * kWinogradTile / u - 1;
  for (int64_t i = 0; i < n * n; ++i) {
    const int64_t row = top + i / n, col = left + i % n;
    const bool inside = row >= 0 && row < x.shape[0] && col >= 0 && col < x.shape[1];
    pixels[i] = inside ? element(x, row * x.shape[1] + col, channel) : nullptr;
  }
}

void transform_data(const Job& job, const Tiles& t, int64_t first, int64_t depth) {
  const Layout& l = job.layout;
  const void* pixels[kMostInputs * kMostInputs];
  for (int64_t i = 0; i < t.count; ++i) {
    find_pixels(job, t.first + i, first, pixels);
    job.winograd.transform_data(job.args.x.dtype, pixels, depth, t.data + i * kDepth, l.data_stride);
  }
  for (int64_t point = 0; point < l.data_points; ++point) {
    for (int64_t i = t.count; i < round_up(t.count, job.gemm.mr); ++i) {
      std::fill_n(t.data + point * l.data_stride + i * kDepth, depth, 0.0f);
    }
  }
}

void multiply(const Job& job, const Block& block, const Tiles& t, int64_t first, int64_t depth) {
  const Layout& l = job.layout;
  const WinogradKernels& w = job.winograd;
  const int64_t nr = job.gemm.nr;
  for (int64_t p = 0; p < l.products; ++p) {
    const int64_t point = w.data_of[p / w.products] * w.data + w.data_of[p % w.products];
    for (int64_t c = 0; c < block.channels; c += nr) {
      const float* strip = job.weights + p * l.weights_stride + c * l.ci + first * nr;
      for (int64_t r = 0; r < t.count; r += job.gemm.mr) {
        job.gemm.micro(t.data + point * l.data_stride + r * kDepth, strip, depth,
                       t.sums + p * l.sums_stride + c * l.tiles + r * nr, nr, first > 0);
      }
    }
  }
}

void transform_results(const Job& job, const Block& block, const Tiles& t) {
  const Layout& l = job.layout;
  const Conv2dArgs& a = job.args;
  const int64_t width = a.out.shape[1], bytes = static_cast<int64_t>(dtype_bytes(a.out.dtype));
  WinogradResults r;
  r.sums_stride = l.sums_stride;
  r.dtype = a.out.dtype;
  r.row_stride = width * l.co;
  r.pixel_stride = l.co;
  for (int64_t i = 0; i < t.count; ++i) {
    const int64_t y = job.top - a.first_row + (t.first + i) / job.across * kWinogradTile;
    const int64_t x = (t.first + i) % job.across * kWinogradTile;
    r.first_row = std::max<int64_t>(0, -y);
    r.end_row = std::min(kWinogradTile, a.out.shape[0] - y);
    r.cols = std::min(kWinogradTile, width - x);
    for (int64_t c = 0; c < std::min(block.channels, l.co - block.first); c += job.gemm.nr) {
      const int64_t channel = block.first + c, at = ((y * width + x) * l.co + channel) * bytes;
      r.sums = t.sums + c * l.tiles + i * job.gemm.nr;
      r.channels = std::min(job.gemm.nr, l.co - channel);
      r.bias = job.bias ? job.bias + channel : nullptr;
      r.residual = a.residual.present() ? static_cast<const std::byte*>(a.residual.data) + at : nullptr;
      r.out = static_cast<std::byte*>(a.out.data) + at;
      job.winograd.transform_results(r);
    }
  }
}

void transform_weights(Engine& engine, const Job& job, const Block& block) {
  constexpr int64_t kChunk = kDepth / kTaps;  // input channels whose taps pack_b takes at once
  const Layout& l = job.layout;
  const Tensor rows(job.args.weight.data, job.args.weight.dtype, {l.co, kTaps * l.ci});
  const int64_t nr = job.gemm.nr, chunks = ceil_div(l.ci, kChunk);
  engine.run(chunks * (block.channels / nr), [&](int64_t task, int worker) {
    const int64_t c = task / chunks * nr, first = task % chunks * kChunk;
    const int64_t count = std::min(kChunk, l.ci - first);
    float* taps = engine.scratch(worker);
    job.gemm.pack_b(rows.dtype, element(rows, block.first + c, first * kTaps), rows.row_stride,
                    std::min(nr, l.co - block.first - c), count * kTaps, taps);
    job.winograd.transform_weights(taps, count, job.weights + c * l.ci + first * nr, l.weights_stride);
  });
}

void run_tiles(const Job& job, const Block& block, const Tiles& t) {
  for (int64_t first = 0; first < job.layout.ci; first += kDepth) {
    const int64_t depth = std::min(kDepth, job.layout.ci - first);
    transform_data(job, t, first, depth);
    multiply(job, block, t, first, depth);
  }
  transform_results(job, block, t);
}

const WinogradKernels& kernels_for(const KernelTable& table, int64_t upsample) {
  return upsample == 2 ? table.winograd_upsampled : table.winograd;
}

}  // namespace

// With fewer channels the transforms take longer than the products.
bool takes_winograd(const Conv2dArgs& args) {
  const Shape& w = args.weight.shape;
  return w[2] == 3 && w[3] == 3 && w[1] >= 8 && args.downsample == 1;
}

std::size_t winograd_scratch_floats(const KernelTable& table) {
  int64_t most = 0;
  for (const WinogradKernels* winograd : {&table.winograd, &table.winograd_upsampled}) {
    most = std::max(most, layout_of(*winograd, table.gemm, 1, kMostChannels).scratch_floats());
  }
  return static_cast<std::size_t>(most);
}

void winograd_conv2d(Engine& engine, const Conv2dArgs& args) {
  const WinogradKernels& winograd = kernels_for(engine.kernels(), args.upsample);
  const GemmKernels& gemm = engine.kernels().gemm;
  const Layout layout = layout_of(winograd, gemm, args.weight.shape[1], args.weight.shape[0]);
  const std::size_t weight_bytes = Engine::shared_bytes(layout.products * layout.weights_stride);
  engine.reset_shared(weight_bytes + Engine::shared_bytes(layout.co));
  // After upsampling tiles begin where a pixel does.
  const int64_t top = args.first_row / args.upsample * args.upsample;
  const int64_t rows = args.first_row + args.out.shape[0] - top;
  const int64_t across = ceil_div(args.out.shape[1], kWinogradTile);
  const Job job{args,
                winograd,
                gemm,
                layout,
                top,
                across,
                across * ceil_div(rows, kWinogradTile),
                static_cast<float*>(engine.take_shared(weight_bytes)),
                engine.as_f32(args.bias)};
  for (int64_t channel = 0; channel < layout.co; channel += layout.block) {
    const Block block{channel, std::min(layout.block, round_up(layout.co - channel, gemm.nr))};
    transform_weights(engine, job, block);
    engine.run(ceil_div(job.tiles, layout.tiles), [&](int64_t task, int worker) {
      float* data = engine.scratch(worker);
      const int64_t first = task * layout.tiles;
      run_tiles(job, block,
                {first, std::min(layout.tiles, job.tiles - first), data,
                 data + layout.data_points * layout.data_stride});
    });
  }
}

}  // namespace darkroom::cpu
