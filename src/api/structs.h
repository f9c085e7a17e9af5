// Structs of callers, who may know fewer fields than this library, or more.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstring>
#include <type_traits>

#include "base/error.h"
#include "darkroom/darkroom.h"

namespace darkroom::api {

// No struct of a caller is larger; a larger size is memory that was never filled.
inline constexpr std::size_t kMaxStructBytes = 4096;

// A struct whose every field, and every byte between them, has its default. struct_size is sizeof(T).
template <typename T>
T defaults() {
  static_assert(std::is_trivially_copyable_v<T>);
  T out;
  std::memset(&out, 0, sizeof(T));
  out.struct_size = sizeof(T);
  return out;
}

template <>
darkroom_request defaults<darkroom_request>();

// Fills the caller's struct of `size` bytes and not one more. Fields that this library does
// not know become 0.
template <typename T>
void init_sized(T* out, std::size_t size) {
  if (!out || size < sizeof(out->struct_size)) return;
  T known = defaults<T>();
  known.struct_size = size;
  const std::size_t bytes = std::min(size, sizeof(T));
  std::memcpy(out, &known, bytes);
  std::memset(reinterpret_cast<char*>(out) + bytes, 0, size - bytes);
}

// Whether a struct of `size` bytes has nothing but zeros after the first `known` bytes.
bool is_zero_after(const void* given, std::size_t known, std::size_t size);

// What a caller gave, in this library's size: fields that the caller does not know have their defaults.
// `name` is the struct's. Errors: kUsage for a null pointer, for a size that no such struct has, and for
// fields that this library does not know and that are not 0.
template <typename T>
T whole(const T* given, const char* name) {
  require(given != nullptr, ErrorCode::kUsage, "{} is missing (a null pointer)", name);
  std::size_t size = 0;
  std::memcpy(&size, given, sizeof(size));
  require(size >= sizeof(size) && size <= kMaxStructBytes && size % alignof(T) == 0, ErrorCode::kUsage,
          "{} has struct_size {}; fill the struct with its _init function first", name, size);
  require(
      is_zero_after(given, sizeof(T), size), ErrorCode::kUsage,
      "{} has {} bytes, and fields after byte {} are set that darkroom {} does not know; leave them 0 or use "
      "a newer library",
      name, size, sizeof(T), darkroom_version());
  T out = defaults<T>();
  std::memcpy(&out, given, std::min(size, sizeof(T)));
  out.struct_size = sizeof(T);
  return out;
}

}  // namespace darkroom::api
