#include "weights/safetensors_header.h"

#include <algorithm>
#include <limits>
#include <nlohmann/json.hpp>
#include <tuple>
#include <utility>

#include "base/error.h"
#include "base/printable.h"

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

const StoredType* find_type(std::string_view name) {
  const auto* type = std::ranges::find(kStoredTypes, name, &StoredType::name);
  return type == std::end(kStoredTypes) ? nullptr : type;
}

// Receives the parser's events and fills a SafetensorsHeader. A DOM would drop repeated keys silently and
// build whatever nesting a file contains; here an event that does not belong where it stands ends the parse.
class HeaderHandler {
 public:
  HeaderHandler(SafetensorsHeader& header, const std::string& where) : header_(header), where_(where) {}

  bool null() {
    if (state_ == State::kMetadata) return finish_metadata();  // the crate reads null as "no metadata"
    return unexpected("null");
  }
  bool boolean(bool) { return unexpected("true or false"); }
  bool number_integer(int64_t) { return unexpected("a negative number"); }
  bool number_float(double, const std::string& text) {
    return unexpected(fmt::format("the number {}", printable(text, 40)));
  }
  bool binary(const std::vector<uint8_t>&) { return unexpected("binary data"); }

  bool number_unsigned(uint64_t value) {
    if (state_ == State::kShapeItems) {
      if (tensor_.extents.size() == kMaxStoredRank) {
        bad_tensor("more than {} extents", static_cast<std::size_t>(kMaxStoredRank));
      }
      if (value > kMaxExtent) bad_tensor("the extent {} is too large", value);
      tensor_.extents.push_back(static_cast<int64_t>(value));
      return true;
    }
    if (state_ == State::kOffsetItems && offsets_ < 2) {
      (offsets_++ == 0 ? begin_ : end_) = value;
      return true;
    }
    return unexpected(fmt::format("the number {}", value));
  }

  bool string(std::string& text) {
    if (state_ == State::kMetadataValue) {
      require(header_.metadata.size() < kMaxStoredTensors, ErrorCode::kModel,
              "{}: more than {} metadata entries", where_, kMaxStoredTensors);
      require(header_.metadata.emplace(std::move(key_), std::move(text)).second, ErrorCode::kModel,
              "{}: a metadata key stands there twice", where_);
      state_ = State::kMetadataKeys;
      return true;
    }
    if (state_ != State::kType) return unexpected("a text");
    type_ = find_type(text);
    if (!type_) bad_tensor("unknown dtype '{}'", printable(text, 40));
    state_ = State::kEntryKeys;
    return true;
  }

  bool start_object(std::size_t) {
    switch (state_) {
      case State::kStart:
        state_ = State::kNames;
        return true;
      case State::kEntry:
        state_ = State::kEntryKeys;
        return true;
      case State::kMetadata:
        state_ = State::kMetadataKeys;
        return true;
      default:
        return unexpected("an object");
    }
  }

  bool key(std::string& text) {
    switch (state_) {
      case State::kNames:
        return begin_member(text);
      case State::kEntryKeys:
        return begin_field(text);
      default:  // an object's other keys: the metadata's
        key_ = std::move(text);
        state_ = State::kMetadataValue;
        return true;
    }
  }

  bool end_object() {
    switch (state_) {
      case State::kNames:
        state_ = State::kEnd;
        return true;
      case State::kMetadataKeys:
        return finish_metadata();
      default:  // kEntryKeys
        return finish_entry();
    }
  }

  bool start_array(std::size_t) {
    switch (state_) {
      case State::kShape:
        state_ = State::kShapeItems;
        return true;
      case State::kOffsets:
        state_ = State::kOffsetItems;
        return true;
      default:
        return unexpected("a list");
    }
  }

  bool end_array() {
    if (state_ == State::kOffsetItems && offsets_ != 2) return unexpected("the end of the list");
    state_ = State::kEntryKeys;
    return true;
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
    kType,   // after "dtype"
    kShape,  // after "shape"
    kShapeItems,
    kOffsets,  // after "data_offsets"
    kOffsetItems,
    kMetadata,  // after "__metadata__"
    kMetadataKeys,
    kMetadataValue,
    kEnd,
  };

  // The name is made printable only here, when there is a message to write.
  template <typename... Args>
  [[noreturn]] void bad_tensor(fmt::format_string<Args...> format, Args&&... args) {
    fail(ErrorCode::kModel, "{}: tensor '{}': {}", where_, printable(tensor_.name),
         fmt::format(format, std::forward<Args>(args)...));
  }

  bool unexpected(std::string_view what) {
    const char* const place = [&] {
      switch (state_) {
        case State::kStart:
          return "an object";
        case State::kEntry:
          return "an object of dtype, shape and data_offsets";
        case State::kType:
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
    if (in_tensor_) bad_tensor("found {}, expected {}", what, place);
    fail(ErrorCode::kModel, "{}: the header: found {}, expected {}", where_, what, place);
  }

  bool begin_member(std::string& name) {
    if (name == "__metadata__") {
      require(!std::exchange(has_metadata_, true), ErrorCode::kModel, "{}: '__metadata__' stands there twice",
              where_);
      state_ = State::kMetadata;
      return true;
    }
    require(header_.tensors.size() < kMaxStoredTensors, ErrorCode::kModel, "{}: more than {} tensors", where_,
            kMaxStoredTensors);
    tensor_ = StoredTensor{};
    tensor_.name = std::move(name);
    in_tensor_ = true;
    type_ = nullptr;
    has_shape_ = has_offsets_ = false;
    offsets_ = 0;
    state_ = State::kEntry;
    return true;
  }

  bool begin_field(const std::string& name) {
    const auto once = [&](bool seen) {
      if (seen) bad_tensor("'{}' stands there twice", name);
    };
    if (name == "dtype") {
      once(type_ != nullptr);
      state_ = State::kType;
    } else if (name == "shape") {
      once(std::exchange(has_shape_, true));
      state_ = State::kShape;
    } else if (name == "data_offsets") {
      once(std::exchange(has_offsets_, true));
      state_ = State::kOffsets;
    } else {
      bad_tensor("unknown field '{}'", printable(name, 40));
    }
    return true;
  }

  bool finish_metadata() {
    state_ = State::kNames;
    return true;
  }

  // What can be checked of one entry alone: its size must be what its shape and type say.
  bool finish_entry() {
    const char* const missing = !type_          ? "dtype"
                                : !has_shape_   ? "shape"
                                : !has_offsets_ ? "data_offsets"
                                                : nullptr;
    if (missing) bad_tensor("'{}' is missing", missing);
    if (begin_ > end_) bad_tensor("its data ends at {}, before it begins at {}", end_, begin_);
    tensor_.type = type_->name;
    tensor_.dtype = type_->dtype;
    uint64_t elements = 1, bits = 0;
    bool overflow = false;  // as in the crate, also where an extent of 0 follows
    for (const int64_t extent : tensor_.extents) {
      overflow = overflow || __builtin_mul_overflow(elements, static_cast<uint64_t>(extent), &elements);
    }
    overflow = overflow || __builtin_mul_overflow(elements, type_->bits, &bits);
    if (overflow) bad_tensor("the size of {} overflows", tensor_.describe());
    if (bits % 8 != 0 || bits / 8 != end_ - begin_) {
      bad_tensor("{} needs {} bytes, its data_offsets hold {}", tensor_.describe(),
                 static_cast<double>(bits) / 8, end_ - begin_);
    }
    tensor_.begin = begin_;
    tensor_.bytes = end_ - begin_;
    tensor_.elements = static_cast<int64_t>(elements);  // at most 2^62: a type has 4 bits or more
    header_.tensors.push_back(std::move(tensor_));
    in_tensor_ = false;
    state_ = State::kNames;
    return true;
  }

  SafetensorsHeader& header_;
  const std::string& where_;
  State state_ = State::kStart;
  bool has_metadata_ = false;
  std::string key_;  // of the metadata entry being read
  // The entry being read:
  StoredTensor tensor_;
  bool in_tensor_ = false;
  const StoredType* type_ = nullptr;
  bool has_shape_ = false, has_offsets_ = false;
  int offsets_ = 0;  // how many of the two have come
  uint64_t begin_ = 0, end_ = 0;
};

void check_names(const SafetensorsHeader& header, const std::string& where) {
  std::vector<std::string_view> names;
  for (const StoredTensor& tensor : header.tensors) names.push_back(tensor.name);
  std::ranges::sort(names);  // sorted, not hashed: nobody can choose names that collide
  const auto twice = std::ranges::adjacent_find(names);
  if (twice != names.end())
    fail(ErrorCode::kModel, "{}: tensor '{}' stands there twice", where, printable(*twice));
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
  require(text.starts_with('{'), ErrorCode::kModel, "{}: the header does not begin with '{{'", where);
  // The parser takes a zero byte for the end of the text and would not look at what follows.
  require(text.find('\0') == std::string_view::npos, ErrorCode::kModel,
          "{}: the header is not valid JSON: a zero byte at {}", where, text.find('\0'));
  SafetensorsHeader header;
  HeaderHandler handler(header, where);
  nlohmann::json::sax_parse(text.begin(), text.end(), &handler);
  check_names(header, where);
  check_layout(header, where);
  return header;
}

std::string_view stored_type_name(DType dtype) {
  const auto* type = std::ranges::find(kStoredTypes, std::optional(dtype), &StoredType::dtype);
  return type == std::end(kStoredTypes) ? "" : type->name;
}

}  // namespace darkroom
