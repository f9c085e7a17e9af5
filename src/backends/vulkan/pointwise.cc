// Ops whose results depend on one value each of up to three tensors.
#include <algorithm>

#include "backends/vulkan/kernels.h"
#include "backends/vulkan/tensors.h"

namespace darkroom::vulkan {
namespace {

enum PointwiseOp : uint32_t { kAdd, kActivate, kGatedGelu };  // of shaders/pointwise.comp
constexpr int64_t kBlockCols = 1024;

struct Push {
  uint32_t op = kActivate, activation = 0, has_z = 0;
  uint32_t cols = 0, blocks_per_row = 0, blocks = 0;
  uint32_t x_stride = 0, y_stride = 0, z_stride = 0, out_stride = 0;
  uint32_t x_first = 0, y_first = 0, z_first = 0, out_first = 0;
  float y_scale = 1, z_scale = 1;
};

struct Operands {
  Tensor x, y, z, out;  // y and z may be absent
};

// Rows [first, first + count).
void dispatch_rows(Recorder& recorder, const Operands& t, Push push, int64_t first, int64_t count) {
  const bool dense =
      t.x.dense() && t.out.dense() && (!t.y.present() || t.y.dense()) && (!t.z.present() || t.z.dense());
  const int64_t rows = dense ? 1 : count, cols = dense ? count * t.out.cols() : t.out.cols();
  const int64_t blocks_per_row = (cols + kBlockCols - 1) / kBlockCols;
  const Binding x = binding_of(t.x, Access::kRead, first, count),
                y = binding_of(t.y, Access::kRead, first, count),
                z = binding_of(t.z, Access::kRead, first, count),
                out = binding_of(t.out, Access::kWrite, first, count);
  push.has_z = t.z.present();
  push.cols = static_cast<uint32_t>(cols);
  push.blocks_per_row = static_cast<uint32_t>(blocks_per_row);
  push.blocks = static_cast<uint32_t>(rows * blocks_per_row);
  push.x_stride = static_cast<uint32_t>(t.x.row_stride);
  push.y_stride = static_cast<uint32_t>(t.y.row_stride);
  push.z_stride = static_cast<uint32_t>(t.z.row_stride);
  push.out_stride = static_cast<uint32_t>(t.out.row_stride);
  push.x_first = elements_before(recorder, x, t.x.dtype);
  push.y_first = elements_before(recorder, y, t.y.dtype);
  push.z_first = elements_before(recorder, z, t.z.dtype);
  push.out_first = elements_before(recorder, out, t.out.dtype);
  recorder.dispatch({.shader = Shader::kPointwise,
                     .constants = {type_of(t.x.dtype), type_of(t.out.dtype)},
                     .bindings = {x, y, z, out},
                     .push = push_of(push),
                     .groups = grid_of(rows * blocks_per_row),
                     .work = 10.0 * static_cast<double>(rows * cols)});
}

void pointwise(Recorder& recorder, const Operands& t, const Push& push) {
  const int64_t step = rows_that_fit(recorder, {&t.x, &t.y, &t.z, &t.out});
  for (int64_t first = 0; first < t.out.rows(); first += step) {
    dispatch_rows(recorder, t, push, first, std::min(step, t.out.rows() - first));
  }
}

}  // namespace

void add(Recorder& recorder, const AddArgs& args) {
  pointwise(recorder, {args.x, args.y, args.z, args.out},
            {.op = kAdd, .y_scale = args.y_scale, .z_scale = args.z_scale});
}

void activate(Recorder& recorder, const ActivateArgs& args) {
  pointwise(recorder, {args.x, {}, {}, args.out}, {.activation = static_cast<uint32_t>(args.activation)});
}

void gated_gelu(Recorder& recorder, const GatedGeluArgs& args) {
  pointwise(recorder, {args.gate, args.up, {}, args.out}, {.op = kGatedGelu});
}

void convert(Recorder& recorder, const ConvertArgs& args) {
  pointwise(recorder, {args.x, {}, {}, args.out}, {});
}

}  // namespace darkroom::vulkan
