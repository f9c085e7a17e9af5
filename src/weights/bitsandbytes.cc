#include "weights/bitsandbytes.h"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <nlohmann/json.hpp>

#include "base/error.h"
#include "base/json.h"
#include "base/printable.h"
#include "tensor/blocks.h"

namespace darkroom {
namespace {

constexpr std::string_view kState = ".quant_state.bitsandbytes__";
constexpr std::size_t kMaxStateBytes = 1 << 16;
constexpr int64_t kBlock = block_size(DType::kNF4).elements;
constexpr std::size_t kBlockBytes = block_size(DType::kNF4).bytes, kCodeBytes = kBlock / 2;

struct Place {
  const Catalog& catalog;
  const std::string& weight;
  std::string text() const { return catalog.where(weight) + ": tensor '" + printable(weight) + "'"; }
};

// The companion `ending` of a packed matrix. Errors: kModel when it is not there or is not of that type with
// so many elements.
const StoredTensor& companion(const Place& at, const std::string& ending, DType dtype, int64_t elements) {
  const StoredTensor* stored = at.catalog.stored(at.weight + ending);
  require(stored, ErrorCode::kModel, "{} is packed by bitsandbytes and its '{}' is not there", at.text(),
          ending);
  require(stored->dtype == dtype && stored->elements == elements, ErrorCode::kModel,
          "{} is packed by bitsandbytes and its '{}' is {}, expected {} of {} elements", at.text(), ending,
          stored->describe(), stored_type_name(dtype), elements);
  return *stored;
}

std::vector<float> read_floats(const Catalog& catalog, const StoredTensor& stored, int64_t first,
                               int64_t count) {
  std::vector<float> values(static_cast<std::size_t>(count));
  catalog.read(stored.name, static_cast<std::size_t>(first) * sizeof(float),
               std::as_writable_bytes(std::span(values)));
  return values;
}

void check_codes(const Place& at, DType dtype) {
  constexpr float kTolerance = 1e-4f;  // files round them
  const std::vector<float> codes =
      read_floats(at.catalog, companion(at, ".quant_map", DType::kF32, 16), 0, 16);
  const std::array<float, 16> known = dtype == DType::kNF4 ? kNF4Values : kFP4Values;
  for (std::size_t i = 0; i < known.size(); ++i) {
    require(std::fabs(codes[i] - known[i]) <= kTolerance, ErrorCode::kModel,
            "{}: code {} of its quant_map is {}, bitsandbytes' own is {}", at.text(), i, codes[i], known[i]);
  }
}

// The scale of each run of [first, first + count).
std::vector<float> scales_of(const Catalog& catalog, const PackedMatrix& matrix, int64_t first,
                             int64_t count) {
  const StoredTensor& stored = *catalog.stored(matrix.name + ".absmax");
  if (!matrix.nested) return read_floats(catalog, stored, first, count);
  std::vector<uint8_t> codes(static_cast<std::size_t>(count));
  catalog.read(stored.name, static_cast<std::size_t>(first), std::as_writable_bytes(std::span(codes)));
  const std::vector<float> map =
      read_floats(catalog, *catalog.stored(matrix.name + ".nested_quant_map"), 0, 256);
  const int64_t begin = first / matrix.nested_run, end = (first + count - 1) / matrix.nested_run + 1;
  const std::vector<float> outer =
      read_floats(catalog, *catalog.stored(matrix.name + ".nested_absmax"), begin, end - begin);
  std::vector<float> scales(codes.size());
  for (std::size_t i = 0; i < scales.size(); ++i) {
    const int64_t run = (first + static_cast<int64_t>(i)) / matrix.nested_run - begin;
    scales[i] = map[codes[i]] * outer[static_cast<std::size_t>(run)] + matrix.nested_offset;
  }
  return scales;
}

PackedMatrix parse_state(const Place& at, const StoredTensor& state, DType dtype) {
  require(state.dtype == DType::kU8 && state.bytes <= kMaxStateBytes, ErrorCode::kModel,
          "{}: its quant_state is {}, expected a text of U8", at.text(), state.describe());
  std::string text(state.bytes, '\0');
  at.catalog.read(state.name, 0, std::as_writable_bytes(std::span(text)));
  const std::string where = at.text() + ": quant_state";
  const nlohmann::json document = parse_json(text, where);
  const JsonFields fields(document, where);
  PackedMatrix out;
  out.name = at.weight;
  out.dtype = dtype;
  out.run = fields.required_integer("blocksize", 1, 1 << 20);
  out.extents = fields.integers("shape", {}, 1, int64_t{1} << 31);
  out.nested = fields.has("nested_blocksize");
  if (out.nested) {
    out.nested_run = fields.required_integer("nested_blocksize", 1, 1 << 20);
    out.nested_offset = static_cast<float>(fields.number("nested_offset", 0, -1e6, 1e6));
  }
  return out;
}

}  // namespace

std::optional<PackedMatrix> find_packed(const Catalog& catalog, const std::string& name) {
  const StoredTensor* stored = catalog.stored(name);
  if (!stored || stored->dtype != DType::kU8) return std::nullopt;
  const Place at{catalog, name};
  const StoredTensor* state = nullptr;
  DType dtype = DType::kNF4;
  for (const auto& [ending, type] : {std::pair("nf4", DType::kNF4), std::pair("fp4", DType::kFP4)}) {
    if (const StoredTensor* found = catalog.stored(name + std::string(kState) + ending)) {
      state = found;
      dtype = type;
    }
  }
  if (!state) return std::nullopt;
  PackedMatrix out = parse_state(at, *state, dtype);
  require(out.extents.size() == 2, ErrorCode::kModel,
          "{}: its quant_state has a shape of {} extents, expected 2", at.text(), out.extents.size());
  const int64_t elements = out.extents[0] * out.extents[1];
  require(out.extents[1] % kBlock == 0 && out.run % kBlock == 0 && elements % out.run == 0, ErrorCode::kModel,
          "{}: rows of {} elements with a scale for {} are not supported; both must be multiples of {}",
          at.text(), out.extents[1], out.run, kBlock);
  require(stored->elements == elements / 2, ErrorCode::kModel,
          "{} is {}, its quant_state says {} elements of 4 bits", at.text(), stored->describe(), elements);
  const int64_t runs = elements / out.run;
  companion(at, ".absmax", out.nested ? DType::kU8 : DType::kF32, runs);
  if (out.nested) {
    companion(at, ".nested_absmax", DType::kF32, (runs + out.nested_run - 1) / out.nested_run);
    companion(at, ".nested_quant_map", DType::kF32, 256);
  }
  check_codes(at, dtype);
  return out;
}

void read_packed(const Catalog& catalog, const PackedMatrix& matrix, const RowRange& rows,
                 std::span<std::byte> out) {
  const int64_t cols = matrix.extents[1], first = rows.first * cols, count = rows.count * cols;
  if (count == 0) return;
  const int64_t first_run = first / matrix.run, runs = (first + count - 1) / matrix.run + 1 - first_run;
  const std::vector<float> scales = scales_of(catalog, matrix, first_run, runs);
  for (const float scale : scales) {
    require(std::isfinite(scale), ErrorCode::kModel, "{}: tensor '{}' has the scale {}",
            catalog.where(matrix.name), printable(matrix.name), scale);
  }
  // The codes go to the end of `out`, where no block overtakes those that it has yet to take.
  const std::size_t blocks = static_cast<std::size_t>(count / kBlock);
  std::byte* const codes = out.data() + (out.size() - blocks * kCodeBytes);
  catalog.read(matrix.name, static_cast<std::size_t>(first / 2), {codes, blocks * kCodeBytes});
  for (std::size_t i = 0; i < blocks; ++i) {
    const int64_t run = (first + static_cast<int64_t>(i) * kBlock) / matrix.run - first_run;
    std::byte* const block = out.data() + i * kBlockBytes;
    std::memmove(block + sizeof(float), codes + i * kCodeBytes, kCodeBytes);
    std::memcpy(block, &scales[static_cast<std::size_t>(run)], sizeof(float));
  }
}

std::vector<int64_t> extents_of(const Catalog& catalog, const std::string& name) {
  if (const std::optional<PackedMatrix> packed = find_packed(catalog, name)) return packed->extents;
  const StoredTensor* stored = catalog.stored(name);
  return stored ? stored->extents : std::vector<int64_t>();
}

}  // namespace darkroom
