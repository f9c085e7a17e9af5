// Norms, rotary positions, distances and moments: kernels that go over rows and are bound by memory. The
// shaders of the same names say how work is laid out.
#include "backends/vulkan/kernels.h"
#include "backends/vulkan/tensors.h"

namespace darkroom::vulkan {
namespace {

constexpr uint32_t kThreads = 256;  // of a workgroup, as in the shaders

// Calls run(first row, rows) for runs of rows of all these tensors that can be bound at once.
template <typename Run>
void for_rows(const Recorder& recorder, std::initializer_list<const Tensor*> tensors, int64_t rows,
              const Run& run) {
  const int64_t most = rows_that_fit(recorder, tensors);
  for (int64_t first = 0; first < rows; first += most) run(first, std::min(most, rows - first));
}

// About so many operations, so that the recorder knows what is long.
double work_of(int64_t rows, const Tensor& x) { return 10.0 * static_cast<double>(rows * x.row_stride); }

struct RowNorm {
  Tensor x, out, weight, bias;
  float epsilon;
  uint32_t flags;
};
constexpr uint32_t kCentred = 1, kOnePlusWeight = 2, kBias = 4;

void row_norm(Recorder& recorder, const RowNorm& a) {
  if (a.x.cols() == 0) return;
  const Operand weight = operand_of(recorder, a.weight), bias = operand_of(recorder, a.bias);
  for_rows(recorder, {&a.x, &a.out}, a.x.rows(), [&](int64_t first, int64_t count) {
    const Operand x = operand_of(recorder, a.x, Access::kRead, first, count),
                  out = operand_of(recorder, a.out, Access::kWrite, first, count);
    const struct {
      uint32_t rows, cols, x_first, x_stride, out_first, out_stride, weight_first, bias_first, weight_type,
          bias_type, flags;
      float epsilon;
    } push{u32(count),
           u32(a.x.cols()),
           x.first,
           x.stride,
           out.first,
           out.stride,
           weight.first,
           bias.first,
           type_of(a.weight.dtype),
           type_of(a.bias.dtype),
           a.flags,
           a.epsilon};
    recorder.dispatch({.shader = Shader::kRowNorm,
                       .constants = {type_of(a.x.dtype)},
                       .bindings = {x.binding, out.binding, weight.binding, bias.binding},
                       .push = push_of(push),
                       .groups = grid_of(count),
                       .work = work_of(count, a.x)});
  });
}

}  // namespace

void layer_norm(Recorder& recorder, const LayerNormArgs& a) {
  row_norm(recorder, {a.x, a.out, a.weight, a.bias, a.epsilon, kCentred | kBias});
}

void norm_modulate(Recorder& recorder, const NormModulateArgs& a) {
  row_norm(recorder, {a.x, a.out, a.scale, a.shift, a.epsilon, kCentred | kOnePlusWeight | kBias});
}

void rms_norm(Recorder& recorder, const RmsNormArgs& a) {
  row_norm(recorder, {a.x, a.out, a.weight, {}, a.epsilon, 0});
}

void qk_norm_rope(Recorder& recorder, const QkNormRopeArgs& a) {
  const int64_t head_dim = a.weight.shape.numel(), heads = a.x.cols() / head_dim;
  // A power of two of threads, with at most two pairs each, up to a whole workgroup for a head.
  uint32_t lanes_log2 = 0;
  while (lanes_log2 < 8 && (int64_t{4} << lanes_log2) < head_dim) ++lanes_log2;
  const Operand weight = operand_of(recorder, a.weight);
  for_rows(recorder, {&a.x, &a.cos, &a.sin}, a.x.rows(), [&](int64_t first, int64_t count) {
    const Operand x = operand_of(recorder, a.x, Access::kReadWrite, first, count),
                  cos = operand_of(recorder, a.cos, Access::kRead, first, count),
                  sin = operand_of(recorder, a.sin, Access::kRead, first, count);
    const struct {
      uint32_t rows, heads, head_dim, lanes_log2, x_first, x_stride, weight_first, weight_type, cos_first,
          cos_stride, sin_first, sin_stride;
      float epsilon;
    } push{u32(count), u32(heads), u32(head_dim), lanes_log2,
           x.first,    x.stride,   weight.first,  type_of(a.weight.dtype),
           cos.first,  cos.stride, sin.first,     sin.stride,
           a.epsilon};
    recorder.dispatch({.shader = Shader::kQkNormRope,
                       .constants = {type_of(a.x.dtype)},
                       .bindings = {x.binding, weight.binding, cos.binding, sin.binding},
                       .push = push_of(push),
                       .groups = grid_of(divided_up(count * heads, kThreads >> lanes_log2)),
                       .work = work_of(count, a.x)});
  });
}

void row_distances(Recorder& recorder, const RowDistancesArgs& a) {
  for_rows(recorder, {&a.x, &a.y, &a.out}, a.x.rows(), [&](int64_t first, int64_t count) {
    const Operand x = operand_of(recorder, a.x, Access::kRead, first, count),
                  y = operand_of(recorder, a.y, Access::kRead, first, count),
                  out = operand_of(recorder, a.out, Access::kWrite, first, count);
    const struct {
      uint32_t rows, cols, x_first, x_stride, y_first, y_stride, out_first, out_stride;
    } push{u32(count), u32(a.x.cols()), x.first, x.stride, y.first, y.stride, out.first, out.stride};
    recorder.dispatch({.shader = Shader::kRowDistances,
                       .constants = {type_of(a.x.dtype)},
                       .bindings = {x.binding, y.binding, out.binding},
                       .push = push_of(push),
                       .groups = grid_of(count),
                       .work = work_of(count, a.x)});
  });
}

void row_moments(Recorder& recorder, const RowMomentsArgs& a) {
  const int64_t pixels = a.x.shape[1], channels = a.x.cols(), size = channels / a.groups;
  if (pixels == 0 || channels == 0) return;
  const int64_t groups_here = std::clamp<int64_t>(kThreads / size, 1, a.groups);
  const Tensor rows = picture_rows(a.x);
  for_rows(recorder, {&rows, &a.out}, rows.rows(), [&](int64_t first, int64_t count) {
    const Operand x = operand_of(recorder, rows, Access::kRead, first, count),
                  out = operand_of(recorder, a.out, Access::kWrite, first, count);
    const struct {
      uint32_t pixels, channels, groups, size, groups_here, x_first, out_first, out_stride;
    } push{u32(pixels),      u32(channels), u32(a.groups), u32(size),
           u32(groups_here), x.first,       out.first,     out.stride};
    recorder.dispatch({.shader = Shader::kRowMoments,
                       .constants = {type_of(a.x.dtype)},
                       .bindings = {x.binding, out.binding},
                       .push = push_of(push),
                       .groups = {u32(count), u32(divided_up(a.groups, groups_here)), 1},
                       .work = work_of(count, rows)});
  });
}

namespace {

// A number as the shader's Double.
std::array<float, 2> two_floats(double value) {
  const float high = static_cast<float>(value);
  return {high, static_cast<float>(value - static_cast<double>(high))};
}

}  // namespace

void group_statistics(Recorder& recorder, const GroupStatisticsArgs& a) {
  const int64_t rows = a.moments.rows(), groups = a.moments.cols() / 2;
  if (rows == 0 || groups == 0) return;
  const double count = static_cast<double>(a.count), height = static_cast<double>(rows);
  const Operand moments = operand_of(recorder, a.moments), out = operand_of(recorder, a.out, Access::kWrite);
  const struct {
    uint32_t rows, groups, first, stride, out_first, out_stride;
    std::array<float, 2> one_by_rows, count, one_by_values;
    float epsilon;
    uint32_t unused = 0;  // a block with vec2 in it has a multiple of 8 bytes
  } push{u32(rows),
         u32(groups),
         moments.first,
         moments.stride,
         out.first,
         out.stride,
         two_floats(1 / height),
         two_floats(count),
         two_floats(1 / (count * height)),
         a.epsilon};
  recorder.dispatch({.shader = Shader::kGroupStatistics,
                     .constants = {},
                     .bindings = {moments.binding, out.binding},
                     .push = push_of(push),
                     .groups = {u32(groups), 1, 1},
                     .work = 100.0 * height * static_cast<double>(groups)});
}

namespace {

// Pixels [first, first + count).
void group_norm_pixels(Recorder& recorder, const GroupNormArgs& a, int64_t pixels_here, int64_t first,
                       int64_t count) {
  const int64_t channels = a.x.cols();
  const Operand statistics = operand_of(recorder, a.statistics), weight = operand_of(recorder, a.weight),
                bias = operand_of(recorder, a.bias),
                x = operand_of(recorder, a.x, Access::kRead, first, count),
                out = operand_of(recorder, a.out, Access::kWrite, first, count);
  const struct {
    uint32_t pixels, channels, size, pixels_here, x_first, out_first, statistics_first, statistics_stride,
        weight_first, bias_first, weight_type, bias_type, silu;
  } push{u32(count),
         u32(channels),
         u32(channels / a.statistics.cols()),
         u32(pixels_here),
         x.first,
         out.first,
         statistics.first,
         statistics.stride,
         weight.first,
         bias.first,
         type_of(a.weight.dtype),
         type_of(a.bias.dtype),
         a.silu};
  recorder.dispatch({.shader = Shader::kGroupNorm,
                     .constants = {type_of(a.x.dtype)},
                     .bindings = {x.binding, out.binding, statistics.binding, weight.binding, bias.binding},
                     .push = push_of(push),
                     .groups = {u32(divided_up(count, pixels_here)), u32(divided_up(channels, kThreads)), 1},
                     .work = work_of(count, a.x)});
}

}  // namespace

void group_norm(Recorder& recorder, const GroupNormArgs& a) {
  constexpr int64_t kPixelsEach = 16;  // of a thread
  const int64_t channels = a.x.cols(), pixels = a.x.rows();
  if (channels == 0) return;
  const int64_t pixels_here = kThreads / std::min<int64_t>(channels, kThreads) * kPixelsEach;
  const int64_t most = std::min(rows_that_fit(recorder, {&a.x, &a.out}), pixels_here * kMostGroups);
  for (int64_t first = 0; first < pixels; first += most) {
    group_norm_pixels(recorder, a, pixels_here, first, std::min(most, pixels - first));
  }
}

}  // namespace darkroom::vulkan
