// The key-values of a GGUF file: what its writer says of the model, and often a whole tokenizer.
//
// Names and kinds are the writer's choice, so every access is checked. Numbers are kept as they lie in the
// file and converted when they are asked for.
#pragma once

#include <concepts>
#include <cstdint>
#include <map>
#include <string>
#include <string_view>
#include <type_traits>
#include <utility>
#include <vector>

namespace darkroom {

// The numbers of the format.
enum class GgufKind : uint32_t {
  kU8 = 0,
  kI8 = 1,
  kU16 = 2,
  kI16 = 3,
  kU32 = 4,
  kI32 = 5,
  kF32 = 6,
  kBool = 7,
  kText = 8,
  kArray = 9,
  kU64 = 10,
  kI64 = 11,
  kF64 = 12,
};

// Bytes of one number; 0 for texts and arrays.
std::size_t gguf_kind_bytes(GgufKind kind);

template <typename T>
consteval GgufKind gguf_kind_of() {
  if (std::same_as<T, bool>) return GgufKind::kBool;
  if (std::is_floating_point_v<T>) return sizeof(T) == 4 ? GgufKind::kF32 : GgufKind::kF64;
  const bool sign = std::is_signed_v<T>;
  if (sizeof(T) == 1) return sign ? GgufKind::kI8 : GgufKind::kU8;
  if (sizeof(T) == 2) return sign ? GgufKind::kI16 : GgufKind::kU16;
  if (sizeof(T) == 4) return sign ? GgufKind::kI32 : GgufKind::kU32;
  return sign ? GgufKind::kI64 : GgufKind::kU64;
}

struct GgufField {
  GgufKind kind = GgufKind::kText;  // of the value, or of each value of an array; never kArray
  bool is_array = false;
  std::string numbers = {};             // one after the other, little endian; empty for kText
  std::vector<std::string> texts = {};  // of kText; those of an array need not be UTF-8

  bool operator==(const GgufField&) const = default;
};

class GgufFields {
 public:
  // `where` begins the messages of the accessors.
  explicit GgufFields(std::string where = "GGUF fields") : where_(std::move(where)) {}

  bool has(std::string_view key) const { return fields_.contains(key); }
  const std::map<std::string, GgufField, std::less<>>& all() const { return fields_; }

  // Errors (of all): kModel when there is no such field, or it is of another kind.
  const std::string& text(std::string_view key) const;
  const std::vector<std::string>& texts(std::string_view key) const;
  bool flag(std::string_view key) const;
  // Also kModel when a number does not fit into T, as 1.5 or 2^40 do not into int32_t. T: float, double, or
  // an integer of 32 or 64 bits.
  template <typename T = double>
  T number(std::string_view key) const;
  template <typename T>
  std::vector<T> numbers(std::string_view key) const;

  // Adds a field of a new name; false, and nothing is changed, when there is one already.
  bool add(std::string key, GgufField field);
  // Adds or replaces.
  void set(std::string key, std::string_view text);
  void set(std::string key, std::vector<std::string> texts);
  template <typename T>
  requires std::is_arithmetic_v<T>
  void set(std::string key, T number) {
    fields_[std::move(key)] = {gguf_kind_of<T>(), false, bytes_of(&number, 1)};
  }
  template <typename T>
  requires std::is_arithmetic_v<T> &&
      (!std::same_as<T, bool>)void set(std::string key, const std::vector<T>& numbers) {
    fields_[std::move(key)] = {gguf_kind_of<T>(), true, bytes_of(numbers.data(), numbers.size())};
  }

 private:
  template <typename T>
  static std::string bytes_of(const T* numbers, std::size_t count) {
    return std::string(reinterpret_cast<const char*>(numbers), count * sizeof(T));
  }
  const GgufField& find(std::string_view key, bool is_array, std::string_view expected) const;
  template <typename T>
  std::vector<T> converted(const GgufField& field, std::string_view key) const;

  std::string where_;
  std::map<std::string, GgufField, std::less<>> fields_;
};

}  // namespace darkroom
