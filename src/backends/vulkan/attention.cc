// Attention, streamed over the keys. shaders/attention.comp says how a workgroup goes about it.
#include "backends/vulkan/kernels.h"
#include "backends/vulkan/tensors.h"

namespace darkroom::vulkan {
namespace {

constexpr uint32_t kCausal = 1, kBias = 2, kFirst = 4, kLast = 8, kStatistics = 16;
// Of one dispatch, so that it takes a fraction of the seconds after which systems stop one.
constexpr double kMostFlops = 1e11;

// How the 128 threads of a workgroup lie: `lanes` side by side, each with 4·cols columns of the result.
struct Tile {
  int64_t lanes, cols;
  int64_t rows() const { return 8 * (128 / lanes); }
  int64_t columns() const { return 4 * lanes * cols; }
};

Tile tile_for(int64_t head_dim) {
  if (head_dim <= 64) return {16, 1};
  if (head_dim <= 128) return {16, 2};
  return {32, 2};
}

// Where quads of elements may be read at once.
bool aligned(const Operand& x, int64_t head_dim) {
  return x.first % 4 == 0 && x.stride % 4 == 0 && head_dim % 4 == 0;
}

// All keys are bound at once, rows as many as may be.
void check_keys(const Recorder& recorder, const Tensor& t) {
  const std::size_t bytes = binding_of(t, Access::kRead).bytes;
  require(bytes <= recorder.max_binding(), ErrorCode::kFailure,
          "attention: {} lies in {} bytes, a shader on {} sees {} at once; try a smaller size or --precision "
          "bf16",
          t, bytes, recorder.device().name, recorder.max_binding());
}

double flops_of_row(const AttentionArgs& a) {
  return 4.0 * static_cast<double>(a.k.rows()) * static_cast<double>(a.q.cols());
}

// Rows [first, first + count) of q with all keys, and the columns of each head from first_column on.
void attend(Recorder& recorder, const AttentionArgs& a, int64_t first, int64_t count, int64_t first_column) {
  const int64_t head_dim = a.q.cols() / a.heads;
  const Tile tile = tile_for(head_dim);
  const Operand q = operand_of(recorder, a.q, Access::kRead, first, count), k = operand_of(recorder, a.k),
                v = operand_of(recorder, a.v), bias = operand_of(recorder, a.relative_bias),
                out = operand_of(recorder, a.last ? a.out : Tensor(), Access::kWrite, first, count),
                state = operand_of(recorder, a.state, Access::kReadWrite, first, count);
  const uint32_t all_columns = first_column + tile.columns() >= head_dim ? kStatistics : 0;
  const struct {
    uint32_t rows, keys, head_dim, q_first, q_stride, k_first, k_stride, v_first, v_stride, out_first,
        out_stride, bias_first, bias_stride, state_first, state_stride, first_row, first_column, aligned,
        type, flags;
    float scale;
  } push{u32(count),
         u32(a.k.rows()),
         u32(head_dim),
         q.first,
         q.stride,
         k.first,
         k.stride,
         v.first,
         v.stride,
         out.first,
         out.stride,
         bias.first + u32(a.q.rows() - 1 - first),
         bias.stride,
         state.first,
         state.stride,
         u32(first),
         u32(first_column),
         aligned(q, head_dim) && aligned(k, head_dim) && aligned(v, head_dim),
         type_of(a.q.dtype),
         (a.causal ? kCausal : 0) | (a.relative_bias.present() ? kBias : 0) | (a.first ? kFirst : 0) |
             (a.last ? kLast : 0) | all_columns,
         a.scale};
  recorder.dispatch({.shader = Shader::kAttention,

                     .constants = {known_type(recorder, a.q.dtype), u32(tile.lanes), u32(tile.cols)},
                     .bindings = {q.binding, k.binding, v.binding, out.binding, bias.binding, state.binding},
                     .push = push_of(push),
                     .groups = {u32(divided_up(count, tile.rows())), u32(a.heads), 1},
                     .work = flops_of_row(a) * static_cast<double>(count)});
}

}  // namespace

void attention(Recorder& recorder, const AttentionArgs& a) {
  require(!a.int8_memory.present(), ErrorCode::kFailure,
          "attention in 8 bits: not on this device; use --attention exact");
  if (a.q.rows() == 0 || a.q.cols() == 0) return;
  if (attention_with_matrices(recorder, a)) return;
  check_keys(recorder, a.k);
  check_keys(recorder, a.v);
  const int64_t head_dim = a.q.cols() / a.heads, rows = a.q.rows();
  const Tile tile = tile_for(head_dim);
  const int64_t tiles_in_time = static_cast<int64_t>(kMostFlops / flops_of_row(a)) / tile.rows();
  const int64_t in_time = tile.rows() * std::clamp<int64_t>(tiles_in_time, 1, kMostGroups);
  const int64_t most = std::min(rows_that_fit(recorder, {&a.q, &a.out, &a.state}), in_time);
  for (int64_t first = 0; first < rows; first += most) {
    for (int64_t column = 0; column < head_dim; column += tile.columns()) {
      attend(recorder, a, first, std::min(most, rows - first), column);
    }
  }
}

}  // namespace darkroom::vulkan
