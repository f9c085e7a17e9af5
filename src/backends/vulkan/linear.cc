// linear: which kernel, and its arguments.
#include <algorithm>

#include "backends/vulkan/kernels.h"
#include "backends/vulkan/matrix.h"
#include "backends/vulkan/tensors.h"

namespace darkroom::vulkan {
namespace {

// Arguments of shaders/linear.glsl.
struct Push {
  uint32_t m = 0, n = 0, k = 0;
  uint32_t x_at = 0, x_stride = 0;
  uint32_t weight_at = 0, weight_stride = 0;
  uint32_t x_scales_at = 0, group = 0, x_scales_stride = 0;
  uint32_t scales_at = 0, scale_count = 0;
  uint32_t bias_at = 0, bias_type = 0;
  uint32_t gate_at = 0;
  uint32_t residual_at = 0, residual_stride = 0;
  uint32_t out_at = 0, out_stride = 0;
  uint32_t hidden_at = 0, hidden_stride = 0;
  uint32_t up_at = 0, up_stride = 0, up_type = 0, rank = 0;
  uint32_t activation = 0;
  uint32_t flags = 0;
};
enum Flag : uint32_t {
  kBiased = 1,
  kGated = 2,
  kResidual = 4,
  kInPlace = 8,
  kOutBF16 = 16,
  kXBF16 = 32,
  kXWide = 64
};

constexpr int64_t kSmallRows = 8, kSmallThreads = 64;  // of gemm_small

struct TileSize {
  uint32_t rows, columns;  // of the result, by a workgroup
  uint32_t by_thread;      // rows, and columns
  uint32_t threads() const { return rows / by_thread * (columns / by_thread); }
};

TileSize size_of(LinearTile tile) {
  if (tile == LinearTile::kLarge) return {128, 128, 8};
  if (tile == LinearTile::kMedium) return {64, 64, 8};
  return {32, 32, 4};
}

int64_t groups_for(int64_t count, int64_t size) { return (count + size - 1) / size; }

// The largest tile that gives every core of a large card work, and of whose rows half are there.
LinearTile tile_for(int64_t m, int64_t n) {
  constexpr int64_t kEnough = 96;
  for (const LinearTile tile : {LinearTile::kLarge, LinearTile::kMedium}) {
    const TileSize size = size_of(tile);
    const int64_t tiles = groups_for(m, size.rows) * groups_for(n, size.columns);
    if (tiles >= kEnough && 2 * m > size.rows) return tile;
  }
  return LinearTile::kSmall;
}

// Rows of 8-bit numbers may be read in words, and so may each run that has a scale.
bool has_whole_words(const Tensor& x, const Tensor& weight) {
  return x.cols() % 4 == 0 && x.scale_cols % 4 == 0 && begins_at(x, 4) && begins_at(weight, 4);
}

// Rows [m0, m0 + m) and columns [n0, n0 + n) of the result: what can be bound at once.
struct Part {
  int64_t m0, m, n0, n;
};

// `count` elements of a vector, from `first` on.
Binding part_of(const Tensor& vector, int64_t first, int64_t count) {
  if (!vector.present()) return {};
  const std::byte* data = static_cast<const std::byte*>(vector.data) + row_bytes(vector.dtype, first);
  return {data, row_bytes(vector.dtype, count), Access::kRead};
}

// The columns of a part of [M,N].
Binding block_of(const Tensor& t, const Part& part, Access access) {
  if (!t.present()) return {};
  const std::size_t bytes = row_bytes(t.dtype, (part.m - 1) * t.row_stride + part.n);
  return {t.row_data(part.m0) + row_bytes(t.dtype, part.n0), bytes, access};
}

Binding scales_of(const Tensor& weight, const Part& part) {
  if (weight.scale_count == 0) return {};
  const bool one = weight.scale_count == 1;
  return {weight.scales + (one ? 0 : part.n0), (one ? 1 : static_cast<std::size_t>(part.n)) * sizeof(float),
          Access::kRead};
}

Binding x_scales_of(const Tensor& x, const Part& part) {
  if (x.dtype != DType::kI8) return {};
  const std::size_t runs = static_cast<std::size_t>(x.scales_per_row());
  return {x.scales + static_cast<std::size_t>(part.m0) * runs,
          static_cast<std::size_t>(part.m) * runs * sizeof(float), Access::kRead};
}

// In the order of the shaders' bindings.
std::vector<Binding> bindings_of(const LinearArgs& a, const Part& part) {
  const bool in_place = a.residual.present() && a.residual.data == a.out.data;
  std::vector<Binding> bindings = {
      binding_of(a.x, Access::kRead, part.m0, part.m),
      binding_of(a.weight, Access::kRead, part.n0, part.n),
      scales_of(a.weight, part),
      part_of(a.bias, part.n0, part.n),
      part_of(a.gate, part.n0, part.n),
      in_place ? Binding() : block_of(a.residual, part, Access::kRead),
      block_of(a.out, part, in_place ? Access::kReadWrite : Access::kWrite),
      binding_of(a.lora_hidden, Access::kRead, part.m0, part.m),
      binding_of(a.lora_up, Access::kRead, part.n0, part.n),
  };
  if (a.x.dtype == DType::kI8) bindings.push_back(x_scales_of(a.x, part));
  return bindings;
}

uint32_t flags_of(const LinearArgs& a) {
  uint32_t flags = 0;
  if (a.bias.present()) flags |= kBiased;
  if (a.gate.present()) flags |= kGated;
  if (a.residual.present()) flags |= kResidual;
  if (a.residual.present() && a.residual.data == a.out.data) flags |= kInPlace;
  if (a.out.dtype == DType::kBF16) flags |= kOutBF16;
  if (a.x.dtype == DType::kBF16) flags |= kXBF16;
  if (has_wide_rows(a.x)) flags |= kXWide;
  return flags;
}

// Of the whole, but for places.
Push push_for(const LinearArgs& a) {
  const auto number = [](int64_t value) { return static_cast<uint32_t>(value); };
  Push push;
  push.k = number(a.x.cols());
  push.x_stride = number(a.x.row_stride);
  push.weight_stride = is_block(a.weight.dtype)
                           ? static_cast<uint32_t>(row_bytes(a.weight.dtype, a.weight.row_stride))
                           : number(a.weight.row_stride);
  push.group = number(a.x.scale_cols == 0 ? a.x.cols() : a.x.scale_cols);
  push.x_scales_stride = number(a.x.scales_per_row());
  push.scale_count = number(a.weight.scale_count);
  push.bias_type = type_of(a.bias.dtype);
  push.residual_stride = number(a.residual.row_stride);
  push.out_stride = number(a.out.row_stride);
  push.hidden_stride = number(a.lora_hidden.row_stride);
  push.up_stride = number(a.lora_up.row_stride);
  push.up_type = type_of(a.lora_up.dtype);
  push.rank = a.lora_up.present() ? number(a.lora_up.cols()) : 0;
  push.activation = static_cast<uint32_t>(a.activation);
  push.flags = flags_of(a);
  return push;
}

// Where a part's tensors begin in what is bound.
void set_places(const Recorder& recorder, const LinearArgs& a, const std::vector<Binding>& bindings,
                Push& push) {
  const auto place = [&](std::size_t i, DType dtype) {
    return elements_before(recorder, bindings[i], dtype);
  };
  push.x_at = place(0, a.x.dtype);
  push.weight_at = place(1, a.weight.dtype);
  push.scales_at = place(2, DType::kF32);
  push.bias_at = place(3, a.bias.dtype);
  push.gate_at = place(4, DType::kF32);
  push.residual_at = place(5, a.out.dtype);
  push.out_at = place(6, a.out.dtype);
  push.hidden_at = place(7, DType::kF32);
  push.up_at = place(8, a.lora_up.dtype);
  if (bindings.size() > 9) push.x_scales_at = place(9, DType::kF32);
}

// A kernel for all parts, and how many rows and columns a workgroup of it has.
struct Kernel {
  Shader shader{};
  std::vector<uint32_t> constants;
  int64_t group_rows = 1, group_columns = 1;
  uint32_t subgroup = 0;
  enum class RowScales { kNotBound, kNone, kPowersOfTwo } row_scales = {};  // of matrices of floats
};

std::vector<uint32_t> constants_of(const TileSize& tile, bool compiles_slowly) {
  const uint32_t unrolled = compiles_slowly ? 1 : 4;
  return {tile.threads(), tile.rows, tile.columns, tile.by_thread, tile.by_thread, unrolled};
}

Kernel int8_kernel(const LinearArgs& a, const TileSize& tile, bool compiles_slowly, bool dot) {
  Kernel kernel{dot ? Shader::kGemmI8Dot : Shader::kGemmI8, constants_of(tile, compiles_slowly), tile.rows,
                tile.columns};
  kernel.constants.push_back(has_whole_words(a.x, a.weight));
  kernel.constants.push_back(a.x.scales_per_row() > 1);
  return kernel;
}

Kernel float_kernel(const LinearArgs& a, const TileSize& tile, bool compiles_slowly) {
  Kernel kernel{Shader::kGemm, constants_of(tile, compiles_slowly), tile.rows, tile.columns};
  const uint32_t x = (has_wide_rows(a.x) ? 3 : 1) + (a.x.dtype == DType::kBF16);  // of gemm.comp
  for (const uint32_t constant :
       {type_of(a.weight.dtype), uint32_t{has_wide_rows(a.weight)}, compiles_slowly ? 0 : x})
    kernel.constants.push_back(constant);
  return kernel;
}

// Several columns share what is read of x; few of them are better spread over the device.
Kernel small_kernel(const LinearArgs& a) {
  const uint32_t columns = a.out.cols() >= 1024 ? 4 : 1;
  const bool wide = has_wide_rows(a.weight) && (is_block(a.weight.dtype) || has_wide_rows(a.x));
  return {Shader::kGemmSmall, {kSmallThreads, columns, type_of(a.weight.dtype), wide}, kSmallRows, columns};
}

// Rows and runs are whole words of eight columns, for matrices.
bool has_whole_pairs(const Tensor& x, const Tensor& weight) {
  return x.cols() % 8 == 0 && x.scale_cols % 8 == 0 && begins_at(x, 8) && begins_at(weight, 8);
}

Kernel matrix_kernel(const LinearArgs& a, const MatrixPlan& plan) {
  Kernel kernel{Shader::kGemmMatrix, plan.constants(), plan.tile.rows, plan.tile.columns, plan.subgroup};
  const bool bf16 = plan.shape.a == Component::kBF16;
  if (bf16) kernel.shader = Shader::kGemmMatrixBf16;
  kernel.row_scales = bf16 ? Kernel::RowScales::kNone : Kernel::RowScales::kPowersOfTwo;
  for (const uint32_t constant : {type_of(a.weight.dtype), uint32_t{has_wide_rows(a.weight)}, uint32_t{bf16}})
    kernel.constants.push_back(constant);
  return kernel;
}

Kernel int8_matrix_kernel(const LinearArgs& a, const MatrixPlan& plan) {
  Kernel kernel{Shader::kGemmI8Matrix, plan.constants(), plan.tile.rows, plan.tile.columns, plan.subgroup};
  kernel.constants.push_back(has_whole_pairs(a.x, a.weight));
  kernel.constants.push_back(a.x.scales_per_row() > 1);
  return kernel;
}

// None where the device has no matrices for it. Those of f32 would lose bits.
std::optional<Kernel> kernel_with_matrices(const DeviceInfo& info, const LinearArgs& a, LinearTile size) {
  if (info.device_class < DeviceClass::kMatrix || a.x.dtype == DType::kF32) return {};
  if (a.x.dtype == DType::kI8) {
    const auto plan = plan_matrices(info, Component::kS8, size);
    return plan ? std::optional(int8_matrix_kernel(a, *plan)) : std::nullopt;
  }
  const bool bf16 = info.device_class == DeviceClass::kMatrixBF16;
  const auto plan = plan_matrices(info, bf16 ? Component::kBF16 : Component::kF16, size);
  return plan ? std::optional(matrix_kernel(a, *plan)) : std::nullopt;
}

Kernel kernel_for(const DeviceInfo& device, const LinearArgs& a, const LinearChoice& choice) {
  const int64_t m = a.x.rows(), n = a.out.cols();
  const bool floats = a.x.dtype != DType::kI8, whole = !is_block(a.weight.dtype) || has_wide_rows(a.x);
  if (floats && whole && m <= kSmallRows && !choice.tile) return small_kernel(a);
  const LinearTile size = choice.tile.value_or(tile_for(m, n));
  const bool slow = choice.compiles_slowly.value_or(device.is_cpu());
  if (choice.matrices) {
    // Such a driver unrolls all: it would take minutes for a large tile.
    const LinearTile quick = slow ? LinearTile::kSmall : size;
    if (const auto kernel = kernel_with_matrices(device, a, choice.tile.value_or(quick))) return *kernel;
  }
  const bool dot = choice.dot_product.value_or(device.fast_dot_product);
  return floats ? float_kernel(a, size_of(size), slow) : int8_kernel(a, size_of(size), slow, dot);
}

// Types that f16 does not hold whole.
bool reaches_past_f16(DType dtype) {
  return dtype == DType::kF32 || dtype == DType::kBF16 || is_block(dtype);
}

// By what matrices of f16 multiply rows of x, then of the weight.
Binding row_scales_of(Recorder& recorder, const LinearArgs& a, const Kernel& kernel, const Part& part,
                      const std::vector<Binding>& bindings) {
  if (kernel.row_scales == Kernel::RowScales::kNone) return {};
  const std::size_t bytes = static_cast<std::size_t>(part.m + part.n) * sizeof(float);
  const float* scales = static_cast<const float*>(recorder.scratch(bytes));
  find_row_scales(recorder, a.x, bindings[0], part.m, scales);
  if (reaches_past_f16(a.weight.dtype))
    find_row_scales(recorder, a.weight, bindings[1], part.n, scales + part.m);
  return {scales, bytes, Access::kRead};
}

double work_of(int64_t m, int64_t n, const Push& push) {
  return 2.0 * static_cast<double>(m) * static_cast<double>(n) * (push.k + push.rank);
}

void dispatch_part(Recorder& recorder, const LinearArgs& a, const Kernel& kernel, const Part& part,
                   Push push) {
  std::vector<Binding> bindings = bindings_of(a, part);
  if (kernel.row_scales != Kernel::RowScales::kNotBound)
    bindings.push_back(row_scales_of(recorder, a, kernel, part, bindings));
  push.m = static_cast<uint32_t>(part.m);
  push.n = static_cast<uint32_t>(part.n);
  set_places(recorder, a, bindings, push);
  const uint32_t down = static_cast<uint32_t>(groups_for(part.m, kernel.group_rows)),
                 across = static_cast<uint32_t>(groups_for(part.n, kernel.group_columns));
  recorder.dispatch({.shader = kernel.shader,
                     .constants = kernel.constants,
                     .bindings = bindings,
                     .push = push_of(push),
                     .groups = {down, across, 1},
                     .subgroup = kernel.subgroup,
                     .work = work_of(part.m, part.n, push)});
}

int64_t at_most(int64_t most, int64_t count) { return most > 0 ? std::min(most, count) : count; }

// So many rows that a slow card needs about a second: watchdogs bite after two.
int64_t rows_in_time(double work_of_a_row) {
  constexpr double kMost = 500e9;
  return std::max<int64_t>(static_cast<int64_t>(kMost / work_of_a_row), 1);
}

int64_t rows_at_once(const Recorder& recorder, const LinearArgs& a, double work_of_a_row) {
  const int64_t bytes_of_scales =
      a.x.dtype == DType::kI8 ? a.x.scales_per_row() * static_cast<int64_t>(sizeof(float)) : 1;
  return std::min({rows_that_fit(recorder, {&a.x, &a.residual, &a.out, &a.lora_hidden}),
                   static_cast<int64_t>(recorder.max_binding()) / bytes_of_scales,
                   rows_in_time(work_of_a_row)});
}

// Parts of about the same size, of whole tiles, where there must be several.
int64_t even_rows(int64_t rows, int64_t most) {
  constexpr int64_t kWhole = 128;
  const int64_t each = groups_for(rows, groups_for(rows, most));
  return std::min(most, groups_for(each, kWhole) * kWhole);
}

}  // namespace

void linear(Recorder& recorder, const LinearArgs& a, const LinearChoice& choice) {
  const int64_t m = a.x.rows(), n = a.out.cols();
  const Kernel kernel = kernel_for(recorder.device(), a, choice);
  const Push push = push_for(a);
  const int64_t columns = at_most(choice.most_columns, rows_that_fit(recorder, {&a.weight, &a.lora_up}));
  const double work_of_a_row = work_of(1, std::min(n, columns), push);
  const int64_t rows = at_most(choice.most_rows, even_rows(m, rows_at_once(recorder, a, work_of_a_row)));
  for (int64_t n0 = 0; n0 < n; n0 += columns) {
    for (int64_t m0 = 0; m0 < m; m0 += rows) {
      dispatch_part(recorder, a, kernel, {m0, std::min(rows, m - m0), n0, std::min(columns, n - n0)}, push);
    }
  }
}

}  // namespace darkroom::vulkan
