#include "weights/gguf_fields.h"

#include <cmath>
#include <cstring>
#include <limits>
#include <optional>

#include "base/error.h"
#include "base/printable.h"

namespace darkroom {
namespace {

bool is_number(GgufKind kind) { return gguf_kind_bytes(kind) > 0 && kind != GgufKind::kBool; }

std::string_view describe(const GgufField& field) {
  if (field.kind == GgufKind::kText) return field.is_array ? "a list of texts" : "a text";
  if (field.kind == GgufKind::kBool) return field.is_array ? "a list of true and false" : "true or false";
  return field.is_array ? "a list of numbers" : "a number";
}

// Nothing when T has no such value. Floating types have all, rounded.
template <typename T, typename S>
std::optional<T> converted_to(S value) {
  if constexpr (std::is_floating_point_v<T>) {
    return static_cast<T>(value);
  } else if constexpr (std::is_floating_point_v<S>) {
    const double wide = value, end = std::ldexp(1.0, std::numeric_limits<T>::digits);
    const bool fits = wide >= static_cast<double>(std::numeric_limits<T>::min()) && wide < end;
    return fits && wide == std::trunc(wide) ? std::optional(static_cast<T>(wide)) : std::nullopt;
  } else {
    return std::in_range<T>(value) ? std::optional(static_cast<T>(value)) : std::nullopt;
  }
}

// Calls use(number) with every number, of its own type.
template <typename Use>
void for_numbers(const GgufField& field, const Use& use) {
  const auto each = [&]<typename S>(S number) {
    for (std::size_t at = 0; at < field.numbers.size(); at += sizeof(S)) {
      std::memcpy(&number, field.numbers.data() + at, sizeof(S));
      use(number);
    }
  };
  switch (field.kind) {
    case GgufKind::kU8:
      return each(uint8_t{});
    case GgufKind::kI8:
      return each(int8_t{});
    case GgufKind::kU16:
      return each(uint16_t{});
    case GgufKind::kI16:
      return each(int16_t{});
    case GgufKind::kU32:
      return each(uint32_t{});
    case GgufKind::kI32:
      return each(int32_t{});
    case GgufKind::kU64:
      return each(uint64_t{});
    case GgufKind::kI64:
      return each(int64_t{});
    case GgufKind::kF32:
      return each(float{});
    case GgufKind::kF64:
      return each(double{});
    default:
      return;
  }
}

}  // namespace

std::size_t gguf_kind_bytes(GgufKind kind) {
  switch (kind) {
    case GgufKind::kU8:
    case GgufKind::kI8:
    case GgufKind::kBool:
      return 1;
    case GgufKind::kU16:
    case GgufKind::kI16:
      return 2;
    case GgufKind::kU32:
    case GgufKind::kI32:
    case GgufKind::kF32:
      return 4;
    case GgufKind::kU64:
    case GgufKind::kI64:
    case GgufKind::kF64:
      return 8;
    case GgufKind::kText:
    case GgufKind::kArray:
      return 0;
  }
  return 0;
}

const GgufField& GgufFields::find(std::string_view key, bool is_array, std::string_view expected) const {
  const auto it = fields_.find(key);
  if (it == fields_.end()) fail(ErrorCode::kModel, "{}: the field '{}' is missing", where_, printable(key));
  const std::string_view found = describe(it->second);
  if (it->second.is_array != is_array || found != expected) {
    fail(ErrorCode::kModel, "{}: the field '{}' is {}, expected {}", where_, printable(key), found, expected);
  }
  return it->second;
}

const std::string& GgufFields::text(std::string_view key) const {
  return find(key, false, "a text").texts.front();
}

const std::vector<std::string>& GgufFields::texts(std::string_view key) const {
  return find(key, true, "a list of texts").texts;
}

bool GgufFields::flag(std::string_view key) const {
  return find(key, false, "true or false").numbers.front() != 0;
}

template <typename T>
std::vector<T> GgufFields::converted(const GgufField& field, std::string_view key) const {
  std::vector<T> out;
  if (is_number(field.kind)) out.reserve(field.numbers.size() / gguf_kind_bytes(field.kind));
  for_numbers(field, [&](auto number) {
    const std::optional<T> value = converted_to<T>(number);
    if (!value) {
      fail(ErrorCode::kModel, "{}: the field '{}' has the number {}, expected {} of {} bits", where_,
           printable(key), number,
           std::is_signed_v<T> ? "a whole number" : "a whole number that is not negative", sizeof(T) * 8);
    }
    out.push_back(*value);
  });
  return out;
}

template <typename T>
T GgufFields::number(std::string_view key) const {
  return converted<T>(find(key, false, "a number"), key).front();
}

template <typename T>
std::vector<T> GgufFields::numbers(std::string_view key) const {
  return converted<T>(find(key, true, "a list of numbers"), key);
}

bool GgufFields::add(std::string key, GgufField field) {
  return fields_.try_emplace(std::move(key), std::move(field)).second;
}

void GgufFields::set(std::string key, std::string_view text) {
  fields_[std::move(key)] = {GgufKind::kText, false, {}, {std::string(text)}};
}

void GgufFields::set(std::string key, std::vector<std::string> texts) {
  fields_[std::move(key)] = {GgufKind::kText, true, {}, std::move(texts)};
}

template float GgufFields::number(std::string_view) const;
template double GgufFields::number(std::string_view) const;
template int32_t GgufFields::number(std::string_view) const;
template int64_t GgufFields::number(std::string_view) const;
template uint32_t GgufFields::number(std::string_view) const;
template uint64_t GgufFields::number(std::string_view) const;
template std::vector<float> GgufFields::numbers(std::string_view) const;
template std::vector<double> GgufFields::numbers(std::string_view) const;
template std::vector<int32_t> GgufFields::numbers(std::string_view) const;
template std::vector<int64_t> GgufFields::numbers(std::string_view) const;
template std::vector<uint32_t> GgufFields::numbers(std::string_view) const;
template std::vector<uint64_t> GgufFields::numbers(std::string_view) const;

}  // namespace darkroom
