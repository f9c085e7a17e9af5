#include <algorithm>
#include <cstdlib>

#include "backends/vulkan/kernels.h"
#include "backends/vulkan/tensors.h"

namespace darkroom::vulkan {
namespace {

constexpr int64_t kBlockCols = 2048;

struct Push {
  uint32_t cols = 0, blocks_per_row = 0;
  uint32_t table_stride = 0, table_first = 0, out_stride = 0, out_first = 0, out_type = 0;
  std::array<uint32_t, 25> ids{};  // from the first row of the table that is bound
};

// So many of the ids as the constants have room for, in rows of the table that can be bound together.
struct Batch {
  int64_t count = 0, first_row = 0, rows = 0;
};
Batch next_batch(std::span<const int32_t> ids, int64_t most_rows) {
  const std::size_t most = std::min<std::size_t>(
      {ids.size(), std::tuple_size_v<decltype(Push::ids)>, static_cast<std::size_t>(most_rows)});
  int32_t least = ids[0], largest = ids[0];
  std::size_t count = 1;
  while (count < most) {
    const int32_t low = std::min(least, ids[count]), high = std::max(largest, ids[count]);
    if (high - low >= most_rows) break;
    least = low;
    largest = high;
    ++count;
  }
  return {static_cast<int64_t>(count), least, int64_t{largest} - least + 1};
}

// A table is read by bytes where it is of blocks.
uint32_t stride_of(const Tensor& x) {
  return static_cast<uint32_t>(is_block(x.dtype) ? row_bytes(x.dtype, x.row_stride)
                                                 : static_cast<std::size_t>(x.row_stride));
}

}  // namespace

void embed(Recorder& recorder, const EmbedArgs& args) {
  const int64_t most_rows = rows_that_fit(recorder, {&args.table, &args.out});
  std::span<const int32_t> ids = args.ids;
  for (int64_t first = 0; !ids.empty();) {
    const Batch batch = next_batch(ids, most_rows);
    const Binding table = binding_of(args.table, Access::kRead, batch.first_row, batch.rows),
                  out = binding_of(args.out, Access::kWrite, first, batch.count);
    Push push;
    push.cols = static_cast<uint32_t>(args.out.cols());
    push.blocks_per_row = (push.cols + kBlockCols - 1) / kBlockCols;
    push.table_stride = stride_of(args.table);
    push.table_first = elements_before(recorder, table, args.table.dtype);
    push.out_stride = static_cast<uint32_t>(args.out.row_stride);
    push.out_first = elements_before(recorder, out, args.out.dtype);
    push.out_type = type_of(args.out.dtype);
    for (int64_t i = 0; i < batch.count; ++i) {
      const std::size_t at = static_cast<std::size_t>(i);
      push.ids[at] = static_cast<uint32_t>(ids[at] - batch.first_row);
    }
    recorder.dispatch({.shader = Shader::kEmbed,
                       .constants = {type_of(args.table.dtype), 0},
                       .bindings = {table, out},
                       .push = push_of(push),
                       .groups = grid_of(batch.count * push.blocks_per_row),
                       .work = 4.0 * static_cast<double>(batch.count) * push.cols});
    ids = ids.subspan(static_cast<std::size_t>(batch.count));
    first += batch.count;
  }
}

}  // namespace darkroom::vulkan
