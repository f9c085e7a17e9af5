// Convolutions of channels-last pictures. shaders/conv.comp says how a workgroup goes about it.
#include "backends/vulkan/kernels.h"
#include "backends/vulkan/tensors.h"

namespace darkroom::vulkan {
namespace {

constexpr uint32_t kBias = 1, kResidual = 2, kAligned = 4;
constexpr int64_t kMostRows = int64_t{1} << 40;  // of a picture without columns
// Of one dispatch, so that it takes a fraction of the seconds after which systems stop one.
constexpr double kMostFlops = 1e11;

// Of a workgroup: co_lanes × 128/co_lanes threads with eight channels and eight pixels each.
struct Tile {
  int64_t co_lanes, depth_quads;
  int64_t channels() const { return 8 * co_lanes; }
  int64_t pixels() const { return 8 * (128 / co_lanes); }
};

// 64 channels or, for heads of a few channels, 16.
Tile tile_for(int64_t channels) { return channels <= 16 ? Tile{2, 2} : Tile{8, 4}; }

struct RowRange {
  int64_t first, end;
};

// Rows of x under rows [first, first + count) of the whole result; at least one.
RowRange rows_under(const Conv2dArgs& a, int64_t first, int64_t count) {
  const int64_t u = a.upsample, d = a.downsample, reach = a.weight.shape[2] / 2, height = a.x.shape[0];
  const int64_t top = first * d + d - 1 - reach, bottom = (first + count - 1) * d + d - 1 + reach;
  const int64_t begin = std::clamp<int64_t>(top / u, 0, height - 1);
  return {begin, std::clamp<int64_t>(bottom / u + 1, begin + 1, height)};
}

double flops_of_row(const Conv2dArgs& a) {
  return 2.0 * static_cast<double>(a.out.shape[1]) * static_cast<double>(a.weight.shape.numel());
}

// Rows of the result that one dispatch takes at most: what is bound, workgroups and time have limits.
int64_t most_rows(const Recorder& recorder, const Conv2dArgs& a, const Tile& tile) {
  const Tensor x = picture_rows(a.x), out = picture_rows(a.out);
  // n rows lie over at most (n·d + kernel − 2)/u + 2 rows of x.
  const int64_t of_x = rows_that_fit(recorder, {&x}) - 2;
  const int64_t over = (std::min(of_x, kMostRows) * a.upsample - a.weight.shape[2] + 2) / a.downsample;
  const int64_t in_time = static_cast<int64_t>(kMostFlops / std::max(1.0, flops_of_row(a)));
  const int64_t in_grid = tile.pixels() * kMostGroups / a.out.shape[1];
  return std::max<int64_t>(1, std::min({rows_that_fit(recorder, {&out}), over, in_time, in_grid}));
}

// Rows [first, first + count) of out.
void convolve(Recorder& recorder, const Conv2dArgs& a, const Tile& tile, int64_t first, int64_t count) {
  const RowRange under = rows_under(a, a.first_row + first, count);
  const Tensor added = a.residual.present() ? picture_rows(a.residual) : Tensor();
  const Operand x = operand_of(recorder, picture_rows(a.x), Access::kRead, under.first,
                               under.end - under.first),
                out = operand_of(recorder, picture_rows(a.out), Access::kWrite, first, count),
                residual = operand_of(recorder, added, Access::kRead, first, count),
                weight = operand_of(recorder, a.weight), bias = operand_of(recorder, a.bias);
  const int64_t ci = a.x.shape[2], co = a.out.shape[2], pixels = count * a.out.shape[1];
  const bool aligned = ci % 4 == 0 && x.first % 4 == 0;
  const struct {
    uint32_t x_first, out_first, residual_first, weight_first, bias_first, width, virtual_width,
        virtual_height, first_source_row, out_width, pixels, first_row, ci, co, kernel_height, kernel_width,
        upsample_log2, downsample, type, weight_type, bias_type, flags;
  } push{x.first,
         out.first,
         residual.first,
         weight.first,
         bias.first,
         u32(a.x.shape[1]),
         u32(a.x.shape[1] * a.upsample),
         u32(a.x.shape[0] * a.upsample),
         u32(under.first),
         u32(a.out.shape[1]),
         u32(pixels),
         u32(a.first_row + first),
         u32(ci),
         u32(co),
         u32(a.weight.shape[2]),
         u32(a.weight.shape[3]),
         a.upsample == 2 ? 1u : 0u,
         u32(a.downsample),
         type_of(a.x.dtype),
         type_of(a.weight.dtype),
         type_of(a.bias.dtype),
         (a.bias.present() ? kBias : 0) | (a.residual.present() ? kResidual : 0) | (aligned ? kAligned : 0)};
  recorder.dispatch(
      {.shader = Shader::kConv,

       .constants = {known_type(recorder, a.x.dtype), u32(tile.co_lanes), u32(tile.depth_quads)},
       .bindings = {x.binding, weight.binding, bias.binding, residual.binding, out.binding},
       .push = push_of(push),
       .groups = {u32(divided_up(co, tile.channels())), u32(divided_up(pixels, tile.pixels())), 1},
       .work = flops_of_row(a) * static_cast<double>(count)});
}

}  // namespace

void conv2d(Recorder& recorder, const Conv2dArgs& a) {
  if (a.out.shape.numel() == 0) return;
  const Tile tile = tile_for(a.out.shape[2]);
  const int64_t rows = a.out.shape[0], most = most_rows(recorder, a, tile);
  for (int64_t first = 0; first < rows; first += most) {
    convolve(recorder, a, tile, first, std::min(most, rows - first));
  }
}

}  // namespace darkroom::vulkan
