// A text that is one number and nothing else, within limits.
#pragma once

#include <charconv>
#include <optional>
#include <string_view>

namespace darkroom {

// The number that the whole text is, if it lies in [low, high]; NaN does not.
template <typename Number>
std::optional<Number> number_in(std::string_view text, Number low, Number high) {
  Number value{};
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  const bool good = error == std::errc() && end == text.data() + text.size() && value >= low && value <= high;
  return good ? std::optional<Number>(value) : std::nullopt;
}

}  // namespace darkroom
