// The names of an enumeration's values, both ways, from one table.
#pragma once

#include <cstddef>
#include <optional>
#include <string_view>

namespace darkroom {

template <typename Enum>
struct Named {
  Enum value;
  std::string_view name;
};

// The value with this name, exactly as written; nothing if there is none.
template <typename Enum, std::size_t kCount>
constexpr std::optional<Enum> value_named(const Named<Enum> (&names)[kCount], std::string_view name) {
  for (const Named<Enum>& entry : names) {
    if (entry.name == name) return entry.value;
  }
  return std::nullopt;
}

// "unknown" for a value that is not in the table.
template <typename Enum, std::size_t kCount>
constexpr std::string_view name_of(const Named<Enum> (&names)[kCount], Enum value) {
  for (const Named<Enum>& entry : names) {
    if (entry.value == value) return entry.name;
  }
  return "unknown";
}

}  // namespace darkroom
