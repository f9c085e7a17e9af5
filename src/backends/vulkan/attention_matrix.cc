// Attention on cooperative matrices. shaders/matrix/attention_matrix.comp says how a workgroup goes about it.
#include "backends/vulkan/matrix.h"
#include "backends/vulkan/tensors.h"

namespace darkroom::vulkan {
namespace {

constexpr uint32_t kSubgroups = 4;        // of a workgroup, each with the rows of a fragment
constexpr double kMostOperations = 2e11;  // of one dispatch: watchdogs bite after seconds

struct Push {
  uint32_t rows = 0, keys = 0;
  uint32_t q_at = 0, q_stride = 0;
  uint32_t k_at = 0, k_stride = 0;
  uint32_t v_at = 0, v_stride = 0;
  uint32_t out_at = 0, out_stride = 0;
  uint32_t scales_at = 0;
  float scale = 0;
};

struct Plan {
  MatrixShape shape;
  uint32_t subgroup = 0, head_dim = 0, keys = 0;
  int64_t rows() const { return int64_t{kSubgroups} * shape.m; }
};

// Vectors of eight elements begin at multiples of their size.
bool has_whole_vectors(const Tensor& t) {
  return reinterpret_cast<uintptr_t>(t.data) % 16 == 0 && (t.rows() <= 1 || t.row_stride % 8 == 0);
}

// Heads of 64 and 128 numbers of bf16, all keys at once: the others are few, and stay without matrices.
bool fits(const AttentionArgs& a) {
  const int64_t head_dim = a.q.cols() / a.heads;
  return a.q.dtype == DType::kBF16 && (head_dim == 64 || head_dim == 128) && !a.causal &&
         !a.relative_bias.present() && !a.state.present() && !a.int8_memory.present() && a.k.rows() > 0 &&
         has_whole_vectors(a.q) && has_whole_vectors(a.k) && has_whole_vectors(a.v);
}

std::optional<Plan> plan_for(const DeviceInfo& info, const AttentionArgs& a) {
  if (info.device_class < DeviceClass::kMatrix || !fits(a)) return {};
  const uint32_t subgroup = matrix_subgroup(info);
  // Threads of a row share its keys in eights, of which a CPU's driver unrolls as few as can be.
  const uint32_t keys = info.is_cpu() ? 16 : 32;
  const auto shape = best_shape(info, Component::kF16, Component::kF32, std::min(subgroup, 16u), 16, 16);
  if (!shape || subgroup % shape->m != 0 || keys % (8 * (subgroup / shape->m)) != 0 || shape->n % 8 != 0)
    return {};
  return Plan{*shape, subgroup, u32(a.q.cols() / a.heads), keys};
}

bool can_bind(const Recorder& recorder, const Tensor& t) {
  return binding_of(t, Access::kRead).bytes <= recorder.max_binding();
}

void attend(Recorder& recorder, const AttentionArgs& a, const Plan& plan, int64_t first, int64_t count) {
  const Operand q = operand_of(recorder, a.q, Access::kRead, first, count), k = operand_of(recorder, a.k),
                v = operand_of(recorder, a.v),
                out = operand_of(recorder, a.out, Access::kWrite, first, count);
  const int64_t keys = a.k.rows();
  const std::size_t bytes = static_cast<std::size_t>(count + 2 * keys) * sizeof(float);
  const float* scales = static_cast<const float*>(recorder.scratch(bytes));
  find_row_scales(recorder, a.q, q.binding, count, scales);
  find_row_scales(recorder, a.k, k.binding, keys, scales + count);
  find_row_scales(recorder, a.v, v.binding, keys, scales + count + keys);
  const Binding row_scales{scales, bytes, Access::kRead};
  const Push push{.rows = u32(count),
                  .keys = u32(keys),
                  .q_at = q.first,
                  .q_stride = q.stride,
                  .k_at = k.first,
                  .k_stride = k.stride,
                  .v_at = v.first,
                  .v_stride = v.stride,
                  .out_at = out.first,
                  .out_stride = out.stride,
                  .scales_at = elements_before(recorder, row_scales, DType::kF32),
                  .scale = a.scale * kLog2E};
  recorder.dispatch({.shader = Shader::kAttentionMatrix,
                     .constants = {kSubgroups * plan.subgroup, plan.subgroup, plan.head_dim, plan.keys,
                                   plan.shape.m, plan.shape.n, plan.shape.k},
                     .bindings = {q.binding, k.binding, v.binding, out.binding, row_scales},
                     .push = push_of(push),
                     .groups = {u32(divided_up(count, plan.rows())), u32(a.heads), 1},
                     .subgroup = plan.subgroup,
                     .work = 4.0 * static_cast<double>(count) * static_cast<double>(keys * a.q.cols())});
}

}  // namespace

bool attention_with_matrices(Recorder& recorder, const AttentionArgs& a) {
  const auto plan = plan_for(recorder.device(), a);
  if (!plan || !can_bind(recorder, a.k) || !can_bind(recorder, a.v)) return false;
  const double row = 4.0 * static_cast<double>(a.k.rows() * a.q.cols());
  const int64_t in_time = std::max<int64_t>(static_cast<int64_t>(kMostOperations / row), 1);
  const int64_t fitting = std::min(rows_that_fit(recorder, {&a.q, &a.out}), in_time);
  const int64_t step = std::max(fitting / plan->rows() * plan->rows(), plan->rows());
  for (int64_t first = 0; first < a.q.rows(); first += step)
    attend(recorder, a, *plan, first, std::min(step, a.q.rows() - first));
  return true;
}

}  // namespace darkroom::vulkan
