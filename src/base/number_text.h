// A text that is one number and nothing else, within limits.
#pragma once

#include <algorithm>
#include <charconv>
#include <optional>
#include <string_view>

namespace darkroom {

// `text` without the blanks around it.
inline std::string_view without_blanks(std::string_view text) {
  constexpr std::string_view kBlanks = " \t\r\n";
  text.remove_prefix(std::min(text.find_first_not_of(kBlanks), text.size()));
  return text.substr(0, text.find_last_not_of(kBlanks) + 1);
}

// The number that the whole text is, blanks around it left out, if it lies in [low, high]; NaN does not.
template <typename Number>
std::optional<Number> number_in(std::string_view text, Number low, Number high) {
  text = without_blanks(text);
  Number value{};
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  const bool good = error == std::errc() && end == text.data() + text.size() && value >= low && value <= high;
  return good ? std::optional<Number>(value) : std::nullopt;
}

}  // namespace darkroom
