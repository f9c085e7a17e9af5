#include "weights/safetensors_header.h"

#include <algorithm>
#include <limits>
#include <nlohmann/json.hpp>
#include <tuple>
#include <utility>

#include "base/error.h"
#include "base/printable.h"
#include "weights/gguf_types.h"

namespace darkroom {
namespace {

struct StoredType {
  std::string_view name;
  std::size_t bits;
  std::optional<DType> dtype;
};

// Every type of the reference crate 0.8; those without a DType are listed but not used.
constexpr StoredType kStoredTypes[] = {
    {"BF16", 16, DType::kBF16},
    {"F16", 16, DType::kF16},
    {"F32", 32, DType::kF32},
    {"F8_E4M3", 8, DType::kF8E4M3},
    {"F8_E5M2", 8, DType::kF8E5M2},
    {"I64", 64, DType::kI64},
    {"I32", 32, DType::kI32},
    {"U8", 8, DType::kU8},
    {"I8", 8, DType::kI8},
    {"F64", 64, {}},
    {"BOOL", 8, {}},
    {"I16", 16, {}},
    {"U16", 16, {}},
    {"U32", 32, {}},
    {"U64", 64, {}},
    {"C64", 64, {}},
    {"F4", 4, {}},
    {"F6_E2M3", 6, {}},
    {"F6_E3M2", 6, {}},
    {"F8_E8M0", 8, {}},
    {"F8_E4M3FNUZ", 8, {}},
    {"F8_E5M2FNUZ", 8, {}},
};

constexpr uint64_t kMaxExtent = std::numeric_limits<int64_t>::max();
constexpr int kMaxDepth = 127;  // lists and objects within each other, as in the crate's JSON reader

const StoredType* find_type(std::string_view name) {
  const auto* type = std::ranges::find(kStoredTypes, name, &StoredType::name);
  return type == std::end(kStoredTypes) ? nullptr : type;
}

// An entry as the header has it, before its numbers are held against each other.
struct Entry {
  StoredTensor tensor;
  const StoredType* type = nullptr;
  uint64_t begin = 0, end = 0;
};

// The name is made printable only here, when there is a message to write.
template <typename... Args>
[[noreturn]] void bad_tensor(const std::string& where, const StoredTensor& tensor,
                             fmt::format_string<Args...> format, Args&&... args) {
  fail(ErrorCode::kModel, "{}: tensor '{}': {}", where, printable(tensor.name),
       fmt::format(format, std::forward<Args>(args)...));
}

// Receives the parser's events and lists the entries. A DOM would drop repeated keys silently and build
// whatever nesting a file contains; here an event out of place ends the parse. What is accepted is what the
// crate accepts: also an entry as a list in the order of its fields, a type as {"F32": null}, and unknown
// fields with any value.
class HeaderHandler {
 public:
  HeaderHandler(std::map<std::string, std::string>& metadata, const std::string& where)
      : metadata_(metadata), where_(where) {}

  std::vector<Entry> take() { return std::move(entries_); }

  bool null() {
    if (skipping()) return true;
    if (state_ == State::kTypeNull) return go(State::kTypeEnd);
    if (state_ == State::kMetadata) return go(State::kNames);  // the crate reads null as "no metadata"
    return unexpected("null");
  }
  bool boolean(bool) { return skipping() || unexpected("true or false"); }
  bool number_integer(int64_t) { return skipping() || unexpected("a negative number"); }
  bool number_float(double, const std::string& text) {
    return skipping() || unexpected(fmt::format("the number {}", printable(text, 40)));
  }
  bool binary(const std::vector<uint8_t>&) { return unexpected("binary data"); }

  bool number_unsigned(uint64_t value) {
    if (skipping()) return true;
    if (state_ == State::kShapeItems) {
      std::vector<int64_t>& extents = entry_.tensor.extents;
      if (extents.size() == kMaxStoredRank) {
        bad_tensor(where_, entry_.tensor, "more than {} extents", static_cast<std::size_t>(kMaxStoredRank));
      }
      if (value > kMaxExtent) bad_tensor(where_, entry_.tensor, "the extent {} is too large", value);
      extents.push_back(static_cast<int64_t>(value));
      return true;
    }
    if (state_ == State::kOffsetItems && offsets_ < 2) {
      (offsets_++ == 0 ? entry_.begin : entry_.end) = value;
      return true;
    }
    return unexpected(fmt::format("the number {}", value));
  }

  bool string(std::string& text) {
    if (skipping()) return true;
    if (state_ == State::kMetadataValue) {
      require(metadata_.size() < kMaxStoredTensors, ErrorCode::kModel, "{}: more than {} metadata entries",
              where_, kMaxStoredTensors);
      metadata_.insert_or_assign(std::move(key_), std::move(text));
      return go(State::kMetadataKeys);
    }
    if (state_ != State::kType) return unexpected("a text");
    set_type(text);
    return finish_field();
  }

  bool start_object(std::size_t) {
    deeper();
    if (skipping(+1)) return true;
    switch (state_) {
      case State::kStart:
        return go(State::kNames);
      case State::kEntry:
        as_list_ = false;
        return go(State::kEntryKeys);
      case State::kType:
        return go(State::kTypeKey);
      case State::kMetadata:
        return go(State::kMetadataKeys);
      default:
        return unexpected("an object");
    }
  }

  bool key(std::string& text) {
    if (skipped_depth_ > 0) return true;
    switch (state_) {
      case State::kNames:
        return begin_member(text);
      case State::kEntryKeys:
        return begin_field(text);
      case State::kTypeKey:
        set_type(text);
        return go(State::kTypeNull);
      case State::kTypeEnd:
        return unexpected("a second name");
      default:  // an object's other keys: the metadata's
        key_ = std::move(text);
        return go(State::kMetadataValue);
    }
  }

  bool end_object() {
    --depth_;
    if (skipping(-1)) return true;
    switch (state_) {
      case State::kNames:
        return go(State::kEnd);
      case State::kMetadataKeys:
        return go(State::kNames);
      case State::kTypeEnd:
        return finish_field();
      case State::kTypeKey:
        return unexpected("the end of the object");
      default:  // kEntryKeys
        return finish_entry();
    }
  }

  bool start_array(std::size_t) {
    deeper();
    if (skipping(+1)) return true;
    switch (state_) {
      case State::kEntry:
        as_list_ = true;
        return go(State::kType);
      case State::kShape:
        has_shape_ = true;
        return go(State::kShapeItems);
      case State::kOffsets:
        has_offsets_ = true;
        return go(State::kOffsetItems);
      default:
        return unexpected("a list");
    }
  }

  bool end_array() {
    --depth_;
    if (skipping(-1)) return true;
    const bool whole = state_ == State::kShapeItems || (state_ == State::kOffsetItems && offsets_ == 2);
    if (whole) return finish_field();
    return state_ == State::kListEnd ? finish_entry() : unexpected("the end of the list");
  }

  bool parse_error(std::size_t position, const std::string&, const nlohmann::detail::exception& e) {
    fail(ErrorCode::kModel, "{}: the header is not valid JSON at byte {}: {}", where_, position,
         printable(e.what(), 200));
  }

 private:
  enum class State {
    kStart,
    kNames,  // inside the outer object
    kEntry,  // after a tensor's name
    kEntryKeys,
    kType,      // after "dtype", or first in a list
    kTypeKey,   // inside {"F32": null}
    kTypeNull,  // after "F32" there
    kTypeEnd,
    kShape,  // after "shape"
    kShapeItems,
    kOffsets,  // after "data_offsets"
    kOffsetItems,
    kListEnd,       // after the last field of an entry that is a list
    kUnknownField,  // after the name of a field that means nothing here
    kMetadata,      // after "__metadata__"
    kMetadataKeys,
    kMetadataValue,
    kEnd,
  };

  bool go(State state) {
    state_ = state;
    return true;
  }

  // Whether the event belongs to the value of an unknown field. `change`: of its depth, by the event.
  bool skipping(int change = 0) {
    if (state_ != State::kUnknownField) return false;
    skipped_depth_ += change;
    if (skipped_depth_ == 0) state_ = State::kEntryKeys;
    return true;
  }

  void deeper() {
    require(++depth_ <= kMaxDepth, ErrorCode::kModel, "{}: the header: nested more than {} deep", where_,
            kMaxDepth);
  }

  bool unexpected(std::string_view what) {
    const char* const place = [&] {
      switch (state_) {
        case State::kStart:
          return "an object";
        case State::kEntry:
        case State::kListEnd:
          return "an object of dtype, shape and data_offsets";
        case State::kType:
        case State::kTypeKey:
        case State::kTypeNull:
        case State::kTypeEnd:
          return "the name of a type as 'dtype'";
        case State::kShape:
          return "a list as 'shape'";
        case State::kShapeItems:
          return "whole numbers from 0 in 'shape'";
        case State::kOffsets:
          return "a list as 'data_offsets'";
        case State::kOffsetItems:
          return "two whole numbers from 0 in 'data_offsets'";
        default:
          return "an object of texts as '__metadata__'";
      }
    }();
    if (in_tensor_) bad_tensor(where_, entry_.tensor, "found {}, expected {}", what, place);
    fail(ErrorCode::kModel, "{}: the header: found {}, expected {}", where_, what, place);
  }

  bool begin_member(std::string& name) {
    if (name == "__metadata__") {
      require(!std::exchange(has_metadata_, true), ErrorCode::kModel, "{}: '__metadata__' is given twice",
              where_);
      return go(State::kMetadata);
    }
    require(entries_.size() < kMaxStoredTensors, ErrorCode::kModel, "{}: more than {} tensors", where_,
            kMaxStoredTensors);
    entry_ = Entry{};
    entry_.tensor.name = std::move(name);
    in_tensor_ = true;
    has_shape_ = has_offsets_ = false;
    offsets_ = 0;
    return go(State::kEntry);
  }

  bool begin_field(const std::string& name) {
    const auto once = [&](bool seen, State state) {
      if (seen) bad_tensor(where_, entry_.tensor, "'{}' is given twice", name);
      return go(state);
    };
    if (name == "dtype") return once(entry_.type != nullptr, State::kType);
    if (name == "shape") return once(has_shape_, State::kShape);
    if (name == "data_offsets") return once(has_offsets_, State::kOffsets);
    return go(State::kUnknownField);
  }

  void set_type(const std::string& name) {
    entry_.type = find_type(name);
    if (!entry_.type) bad_tensor(where_, entry_.tensor, "unknown dtype '{}'", printable(name, 40));
  }

  bool finish_field() {
    if (!as_list_) return go(State::kEntryKeys);
    return go(has_offsets_ ? State::kListEnd : has_shape_ ? State::kOffsets : State::kShape);
  }

  bool finish_entry() {
    const char* const missing = !entry_.type    ? "dtype"
                                : !has_shape_   ? "shape"
                                : !has_offsets_ ? "data_offsets"
                                                : nullptr;
    if (missing) bad_tensor(where_, entry_.tensor, "'{}' is missing", missing);
    entries_.push_back(std::move(entry_));
    in_tensor_ = false;
    return go(State::kNames);
  }

  std::map<std::string, std::string>& metadata_;
  const std::string& where_;
  std::vector<Entry> entries_;
  State state_ = State::kStart;
  int depth_ = 0, skipped_depth_ = 0;
  bool has_metadata_ = false;
  std::string key_;  // of the metadata entry being read
  // The entry being read:
  Entry entry_;
  bool in_tensor_ = false, as_list_ = false;
  bool has_shape_ = false, has_offsets_ = false;
  int offsets_ = 0;  // how many of the two have come
};

// Of a repeated name the last entry counts, as in the crate. Sorted, not hashed: nobody can choose names that
// collide.
void keep_last_of_each_name(std::vector<Entry>& entries) {
  const auto name_of = [](const Entry& entry) -> std::string_view { return entry.tensor.name; };
  std::ranges::stable_sort(entries, {}, name_of);
  std::ranges::reverse(entries);
  const auto same = [&](const Entry& a, const Entry& b) { return name_of(a) == name_of(b); };
  entries.erase(std::unique(entries.begin(), entries.end(), same), entries.end());
}

// What can be checked of one entry alone: its size must be what its shape and type say.
StoredTensor checked(Entry entry, const std::string& where) {
  StoredTensor& tensor = entry.tensor;
  if (entry.begin > entry.end) {
    bad_tensor(where, tensor, "its data ends at {}, before it begins at {}", entry.end, entry.begin);
  }
  tensor.type = entry.type->name;
  tensor.dtype = entry.type->dtype;
  uint64_t elements = 1, bits = 0;
  bool overflow = false;  // as in the crate, also where an extent of 0 follows
  for (const int64_t extent : tensor.extents) {
    overflow = overflow || __builtin_mul_overflow(elements, static_cast<uint64_t>(extent), &elements);
  }
  overflow = overflow || __builtin_mul_overflow(elements, entry.type->bits, &bits);
  if (overflow) bad_tensor(where, tensor, "the size of {} overflows", tensor.describe());
  if (bits % 8 != 0 || bits / 8 != entry.end - entry.begin) {
    bad_tensor(where, tensor, "{} needs {} bytes, its data_offsets hold {}", tensor.describe(),
               static_cast<double>(bits) / 8, entry.end - entry.begin);
  }
  tensor.begin = entry.begin;
  tensor.bytes = entry.end - entry.begin;
  tensor.elements = static_cast<int64_t>(elements);  // at most 2^62: a type has 4 bits or more
  return std::move(tensor);
}

// Sorts by place and checks that each tensor begins where the one before it ends.
void check_layout(SafetensorsHeader& header, const std::string& where) {
  std::ranges::sort(header.tensors, [](const StoredTensor& a, const StoredTensor& b) {
    return std::tie(a.begin, a.bytes, a.name) < std::tie(b.begin, b.bytes, b.name);
  });
  std::size_t expected = 0;
  for (const StoredTensor& tensor : header.tensors) {
    if (tensor.begin != expected) {
      fail(ErrorCode::kModel, "{}: tensor '{}': its data begins at {}, expected {}: {}", where,
           printable(tensor.name), tensor.begin, expected, tensor.begin > expected ? "a hole" : "an overlap");
    }
    expected = tensor.begin + tensor.bytes;  // data_offsets' end, so it fits
  }
  header.data_bytes = expected;
}

}  // namespace

std::string StoredTensor::describe() const {
  std::string text = std::string(type) + " [";
  for (std::size_t i = 0; i < extents.size(); ++i) text += (i ? ", " : "") + std::to_string(extents[i]);
  return text + "]";
}

SafetensorsHeader parse_safetensors_header(std::string_view text, const std::string& where) {
  // The parser would skip a byte order mark, which is not JSON.
  const std::size_t first = text.find_first_not_of(" \t\r\n");
  require(first != text.npos && text[first] == '{', ErrorCode::kModel,
          "{}: the header does not begin with '{{'", where);
  // The parser takes a zero byte for the end of the text and would not look at what follows.
  require(text.find('\0') == std::string_view::npos, ErrorCode::kModel,
          "{}: the header is not valid JSON: a zero byte at {}", where, text.find('\0'));
  SafetensorsHeader header;
  HeaderHandler handler(header.metadata, where);
  nlohmann::json::sax_parse(text.begin(), text.end(), &handler);
  std::vector<Entry> entries = handler.take();
  keep_last_of_each_name(entries);
  for (Entry& entry : entries) header.tensors.push_back(checked(std::move(entry), where));
  check_layout(header, where);
  return header;
}

std::string_view stored_type_name(DType dtype) {
  const auto* type = std::ranges::find(kStoredTypes, std::optional(dtype), &StoredType::dtype);
  if (type != std::end(kStoredTypes)) return type->name;
  if (dtype == DType::kNF4) return "NF4";
  if (dtype == DType::kFP4) return "FP4";
  const auto* block = std::ranges::find(kGgufTypes, std::optional(dtype), &GgufType::dtype);
  return block == std::end(kGgufTypes) ? "" : block->name;
}

}  // namespace darkroom
