#include "weights/gguf.h"

#include <algorithm>
#include <bit>
#include <cstring>
#include <limits>
#include <optional>
#include <tuple>
#include <utility>

#include "base/error.h"
#include "base/printable.h"
#include "base/utf8.h"
#include "weights/gguf_types.h"

namespace darkroom {
namespace {

constexpr int kMaxDepth = 16;  // lists within lists
constexpr std::size_t kMaxFileBytes = std::size_t{1}
                                      << 56;  // beyond it numbers are nonsense, not a file's end
// The least that one of them can take.
constexpr std::size_t kTextBytes = 8, kArrayBytes = 12, kFieldBytes = 8 + 4 + 1, kTensorBytes = 8 + 4 + 4 + 8;

class HeaderReader {
 public:
  HeaderReader(std::span<const std::byte> file, const std::string& where) : file_(file), where_(where) {}

  GgufHeader read() {
    check_version();
    const auto tensors = value<uint64_t>(), fields = value<uint64_t>();
    check_count(tensors, "tensors");
    check_count(fields, "fields");
    need(tensors * kTensorBytes + fields * kFieldBytes);
    GgufHeader header{{}, GgufFields(where_)};
    for (uint64_t i = 0; i < fields; ++i) read_field(header);
    const std::size_t alignment = gguf_alignment(header.fields, where_);
    header.file.tensors.reserve(tensors);
    for (uint64_t i = 0; i < tensors; ++i) header.file.tensors.push_back(read_tensor(alignment));
    // Files without tensors may end without the padding.
    const std::size_t begin = (at_ + alignment - 1) / alignment * alignment;
    header.file.data_begin = tensors == 0 ? std::min(begin, file_.size()) : begin;
    check_names(header.file.tensors);
    check_layout(header.file);
    return header;
  }

 private:
  void check_version() {
    take(kGgufMagic.size());
    const auto version = value<uint32_t>();
    if (version == 2 || version == 3) return;
    require(version != 1, ErrorCode::kModel,
            "{}: GGUF version 1, of before August 2023, is not supported: get a newer file", where_);
    require(version == 0 || version % 65536 != 0, ErrorCode::kModel,
            "{}: a big-endian GGUF, which is not supported: get the little-endian one", where_);
    fail(ErrorCode::kModel, "{}: GGUF version {} is not known, 2 and 3 are", where_, version);
  }

  void check_count(uint64_t count, std::string_view what) const {
    require(count <= kMaxStoredTensors, ErrorCode::kModel,
            "{}: the header promises {} {}, at most {} are allowed", where_, count, what, kMaxStoredTensors);
  }

  // `bytes` are bounded by a limit that was checked before, so that the sum fits.
  void need(std::size_t bytes) const {
    require(bytes <= file_.size() - at_, ErrorCode::kModel,
            "{}: cut short: the file has {} bytes, its header needs {} or more; fetch it again", where_,
            file_.size(), at_ + bytes);
  }

  std::string_view take(std::size_t bytes) {
    need(bytes);
    return {reinterpret_cast<const char*>(file_.data()) + std::exchange(at_, at_ + bytes), bytes};
  }

  template <typename T>
  T value() {
    T out;
    std::memcpy(&out, take(sizeof(T)).data(), sizeof(T));
    return out;
  }

  // A key or a tensor's name.
  std::string_view name(std::size_t max_bytes, std::string_view what) {
    const std::size_t begin = at_;
    const auto length = value<uint64_t>();
    require(length > 0 && length <= max_bytes, ErrorCode::kModel,
            "{}: the name of a {} at byte {} has {} bytes, 1 to {} are allowed", where_, what, begin, length,
            max_bytes);
    const std::string_view text = take(length);
    if (text.find('\0') != text.npos || !is_valid_utf8(text)) {
      fail(ErrorCode::kModel, "{}: the name of a {} at byte {}, '{}', is not UTF-8 or has a zero byte",
           where_, what, begin, printable(text));
    }
    return text;
  }

  // Counts what fields take in memory, before it is taken.
  void charge(const std::string& key, uint64_t count, std::size_t bytes_each) {
    if (count > (kMaxGgufFieldBytes - charged_) / bytes_each) {
      fail(ErrorCode::kModel, "{}: the field '{}' is too long: {} times {} bytes, all fields may take {}",
           where_, printable(key), count, bytes_each, kMaxGgufFieldBytes);
    }
    charged_ += count * bytes_each;
  }

  GgufKind kind(const std::string& key) {
    const auto number = value<uint32_t>();
    if (number > static_cast<uint32_t>(GgufKind::kF64)) {
      fail(ErrorCode::kModel, "{}: the field '{}' is of an unknown kind, {}", where_, printable(key), number);
    }
    return static_cast<GgufKind>(number);
  }

  std::string_view text(const std::string& key) {
    const auto length = value<uint64_t>();
    charge(key, length, 1);
    return take(length);
  }

  void read_field(GgufHeader& header) {
    std::string key(name(kMaxGgufKey, "field"));
    charge(key, key.size() + sizeof(GgufField), 1);
    GgufField field;
    field.kind = kind(key);
    uint64_t count = 1;
    if (field.kind == GgufKind::kArray) {
      field.is_array = true;
      field.kind = kind(key);
      count = value<uint64_t>();
      if (field.kind == GgufKind::kArray) return skip_arrays(key, count, 1);
    }
    if (field.kind == GgufKind::kText) {
      charge(key, count, sizeof(std::string));
      need(count * kTextBytes);
      field.texts.reserve(count);
      for (uint64_t i = 0; i < count; ++i) field.texts.emplace_back(text(key));
      if (!field.is_array) add_metadata(key, field.texts.front(), header.file);
    } else {
      const std::size_t bytes = gguf_kind_bytes(field.kind);
      charge(key, count, bytes);
      field.numbers = take(count * bytes);
      check_bools(key, field);
    }
    if (!header.fields.add(key, std::move(field))) {
      fail(ErrorCode::kModel, "{}: the field '{}' is given twice", where_, printable(key));
    }
  }

  // The format says that texts are UTF-8. In lists that is left unchecked: old tokenizers have single bytes.
  void add_metadata(const std::string& key, const std::string& text, TensorFileHeader& file) {
    if (!is_valid_utf8(text)) {
      fail(ErrorCode::kModel, "{}: the field '{}' is not UTF-8: '{}'", where_, printable(key),
           printable(text, 40));
    }
    charge(key, key.size() + text.size(), 1);
    file.metadata.emplace(key, text);
  }

  void check_bools(const std::string& key, const GgufField& field) const {
    if (field.kind != GgufKind::kBool) return;
    const auto bad = std::ranges::find_if(field.numbers, [](char c) { return c != 0 && c != 1; });
    if (bad == field.numbers.end()) return;
    fail(ErrorCode::kModel, "{}: the field '{}' must be true or false, 1 or 0, and is {}", where_,
         printable(key), static_cast<unsigned char>(*bad));
  }

  // The values of an array of arrays, which nothing here needs.
  void skip_arrays(const std::string& key, uint64_t count, int depth) {
    if (depth == kMaxDepth) {
      fail(ErrorCode::kModel, "{}: the field '{}': nested more than {} deep", where_, printable(key),
           kMaxDepth);
    }
    charge(key, count, kArrayBytes);
    need(count * kArrayBytes);
    for (uint64_t i = 0; i < count; ++i) {
      const GgufKind inner = kind(key);
      const auto inner_count = value<uint64_t>();
      if (inner == GgufKind::kArray) {
        skip_arrays(key, inner_count, depth + 1);
      } else if (inner == GgufKind::kText) {
        charge(key, inner_count, kTextBytes);
        for (uint64_t k = 0; k < inner_count; ++k) text(key);
      } else {
        charge(key, inner_count, gguf_kind_bytes(inner));
        take(inner_count * gguf_kind_bytes(inner));
      }
    }
  }

  // The name is made printable only here, when there is a message to write.
  template <typename... Args>
  [[noreturn]] void bad_tensor(const StoredTensor& tensor, fmt::format_string<Args...> format,
                               Args&&... args) const {
    fail(ErrorCode::kModel, "{}: tensor '{}': {}", where_, printable(tensor.name),
         fmt::format(format, std::forward<Args>(args)...));
  }

  StoredTensor read_tensor(std::size_t alignment) {
    StoredTensor tensor;
    tensor.name = name(kMaxGgufName, "tensor");
    const auto rank = value<uint32_t>();
    if (rank > kMaxGgufRank) bad_tensor(tensor, "{} extents, at most {} are allowed", rank, kMaxGgufRank);
    for (uint32_t i = 0; i < rank; ++i) {
      const auto extent = value<uint64_t>();
      if (extent == 0 || extent > uint64_t{std::numeric_limits<int64_t>::max()}) {
        bad_tensor(tensor, "the extent {} is not allowed", extent);
      }
      tensor.extents.insert(tensor.extents.begin(), static_cast<int64_t>(extent));
    }
    const auto id = value<uint32_t>();
    const auto* type = std::ranges::find(kGgufTypes, id, &GgufType::id);
    if (type == std::end(kGgufTypes))
      bad_tensor(tensor, "its type {} is not known: get a file of another type", id);
    tensor.type = type->name;
    tensor.dtype = type->dtype;
    set_size(tensor, type->block);
    tensor.begin = value<uint64_t>();
    if (tensor.begin % alignment != 0) {
      bad_tensor(tensor, "its data begins at {}, which is no multiple of the alignment, {}", tensor.begin,
                 alignment);
    }
    return tensor;
  }

  void set_size(StoredTensor& tensor, const BlockSize& block) const {
    const int64_t columns = tensor.extents.empty() ? 1 : tensor.extents.back();
    if (columns % block.elements != 0) {
      bad_tensor(tensor, "{}: its rows must be whole blocks of {}", tensor.describe(), block.elements);
    }
    tensor.elements = 1;
    bool overflow = false;
    for (const int64_t extent : tensor.extents) {
      overflow = overflow || __builtin_mul_overflow(tensor.elements, extent, &tensor.elements);
    }
    const auto blocks = static_cast<std::size_t>(tensor.elements / block.elements);
    if (overflow || __builtin_mul_overflow(blocks, block.bytes, &tensor.bytes)) {
      bad_tensor(tensor, "the size of {} overflows", tensor.describe());
    }
  }

  void check_names(const std::vector<StoredTensor>& tensors) const {
    std::vector<std::string_view> names;
    for (const StoredTensor& tensor : tensors) names.push_back(tensor.name);
    std::ranges::sort(names);
    const auto twice = std::ranges::adjacent_find(names);
    if (twice != names.end()) {
      fail(ErrorCode::kModel, "{}: two tensors named '{}'", where_, printable(*twice));
    }
  }

  // Sorts by place; no two may overlap and all must lie in the file.
  void check_layout(TensorFileHeader& header) const {
    std::ranges::sort(header.tensors, [](const StoredTensor& a, const StoredTensor& b) {
      return std::tie(a.begin, a.name) < std::tie(b.begin, b.name);
    });
    std::size_t end = 0;
    for (const StoredTensor& tensor : header.tensors) {
      if (tensor.begin < end) {
        bad_tensor(tensor, "its data begins at {}, before that of another ends at {}", tensor.begin, end);
      }
      if (tensor.begin > kMaxFileBytes || tensor.bytes > kMaxFileBytes) {
        bad_tensor(tensor, "{} at {} is larger than any file", tensor.describe(), tensor.begin);
      }
      end = tensor.begin + tensor.bytes;
    }
    const std::size_t needed = header.data_begin + end;
    require(header.tensors.empty() || needed <= file_.size(), ErrorCode::kModel,
            "{}: cut short: the file has {} bytes, its header needs {}; fetch it again", where_, file_.size(),
            needed);
  }

  std::span<const std::byte> file_;
  const std::string& where_;
  std::size_t at_ = 0;
  std::size_t charged_ = 0;  // bytes of the fields so far
};

}  // namespace

std::size_t gguf_alignment(const GgufFields& fields, const std::string& where) {
  if (!fields.has(kGgufAlignmentKey)) return kGgufAlignment;
  const auto alignment = fields.number<uint64_t>(kGgufAlignmentKey);
  require(std::has_single_bit(alignment) && alignment <= kMaxGgufAlignment, ErrorCode::kModel,
          "{}: the field '{}' is {}, expected a power of two up to {}", where, kGgufAlignmentKey, alignment,
          kMaxGgufAlignment);
  return alignment;
}

GgufHeader read_gguf(std::span<const std::byte> file, const std::string& where) {
  return HeaderReader(file, where).read();
}

}  // namespace darkroom
