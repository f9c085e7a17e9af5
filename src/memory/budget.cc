#include "memory/budget.h"

#include <fmt/format.h>

#include <algorithm>
#include <cctype>
#include <charconv>
#include <cmath>
#include <fstream>
#include <sstream>
#include <string_view>

#include "memory/peak.h"

namespace darkroom::memory {
namespace {

namespace fs = std::filesystem;

std::optional<std::size_t> to_number(std::string_view text) {
  std::size_t value = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (error != std::errc() || end == text.data()) return std::nullopt;
  return value;
}

// The number after `key` in a file of lines "key number [kB]", times `unit`.
std::optional<std::size_t> number_after(const fs::path& path, const std::string& key, std::size_t unit) {
  std::ifstream file(path);
  std::string word;
  std::size_t value = 0;
  for (std::string line; std::getline(file, line);) {
    std::istringstream words(line);
    if (words >> word >> value && word == key) return value * unit;
  }
  return std::nullopt;
}

// The first number in a file; nothing for "max" or no file.
std::optional<std::size_t> number_in(const fs::path& path) {
  std::ifstream file(path);
  std::string word;
  if (!(file >> word)) return std::nullopt;
  return to_number(word);
}

struct CgroupFiles {
  const char *limit, *usage, *stat, *reclaimable;
};
constexpr CgroupFiles kVersion2 = {"memory.max", "memory.current", "memory.stat", "inactive_file"};
constexpr CgroupFiles kVersion1 = {"memory.limit_in_bytes", "memory.usage_in_bytes", "memory.stat",
                                   "total_inactive_file"};

// What the group at `folder` still allows; cached file pages that can go at once count as free.
std::optional<std::size_t> left_in_group(const fs::path& folder, const CgroupFiles& names) {
  const std::optional<std::size_t> limit = number_in(folder / names.limit),
                                   usage = number_in(folder / names.usage);
  if (!limit || !usage) return std::nullopt;
  const std::size_t cached = number_after(folder / names.stat, names.reclaimable, 1).value_or(0);
  const std::size_t used = *usage - std::min(*usage, cached);
  return *limit - std::min(*limit, used);
}

// The least that the group of this process or one above it allows.
std::optional<std::size_t> left_in_cgroups(const fs::path& root) {
  std::optional<std::size_t> least;
  std::ifstream file(root / "proc/self/cgroup");
  for (std::string line; std::getline(file, line);) {  // "0::/a/b", or "5:memory:/a/b"
    const std::size_t first = line.find(':'), second = line.find(':', first + 1);
    if (second == std::string::npos) continue;
    const std::string controllers = line.substr(first + 1, second - first - 1);
    const bool version2 = controllers.empty();
    if (!version2 && controllers != "memory") continue;
    const fs::path top = root / (version2 ? "sys/fs/cgroup" : "sys/fs/cgroup/memory");
    fs::path group = fs::path(line.substr(second + 1)).relative_path();
    while (true) {
      const std::optional<std::size_t> left = left_in_group(top / group, version2 ? kVersion2 : kVersion1);
      if (left) least = std::min(least.value_or(*left), *left);
      if (group.empty()) break;
      group = group.parent_path();
    }
  }
  return least;
}

}  // namespace

std::optional<std::size_t> parse_bytes(const std::string& text) {
  const char* const end = text.data() + text.size();
  double number = 0;
  const auto [rest, error] = std::from_chars(text.data(), end, number, std::chars_format::fixed);
  if (error != std::errc()) return std::nullopt;
  std::string unit;
  for (const char* c = rest; c != end; ++c) {
    if (*c != ' ' || !unit.empty()) unit += static_cast<char>(std::toupper(static_cast<unsigned char>(*c)));
  }
  double factor = 1;
  if (!unit.empty() && unit != "B") {
    const std::size_t power = std::string_view("KMGT").find(unit[0]);
    const std::string_view ending = std::string_view(unit).substr(1);
    if (power == std::string_view::npos || (ending != "" && ending != "B" && ending != "IB"))
      return std::nullopt;
    factor = std::pow(ending == "B" ? 1000.0 : 1024.0, static_cast<double>(power + 1));
  }
  const double bytes = std::floor(number * factor);
  if (!(bytes >= 1 && bytes < 0x1p63)) return std::nullopt;
  return static_cast<std::size_t>(bytes);
}

std::string byte_text(std::size_t bytes) {
  if (bytes < 1024) return fmt::format("{} B", bytes);
  double value = static_cast<double>(bytes) / 1024;
  std::string_view units = "KMGT";
  for (; value >= 1024 && units.size() > 1; units.remove_prefix(1)) value /= 1024;
  return fmt::format("{:.1f} {}iB", value, units[0]);
}

std::optional<std::size_t> available_bytes(const fs::path& root) {
  const std::optional<std::size_t> system = number_after(root / "proc/meminfo", "MemAvailable:", 1024);
  const std::optional<std::size_t> group = left_in_cgroups(root);
  if (system && group) return std::min(*system, *group);
  return system ? system : group;
}

namespace {

// Less a sixteenth, at least `least`, at most half.
std::size_t without_margin(std::size_t bytes, std::size_t least) {
  return bytes - std::min(bytes / 2, std::max(bytes / 16, least));
}

}  // namespace

std::size_t automatic_device_budget(std::size_t free_bytes) {
  return without_margin(free_bytes, std::size_t{400} << 20);
}

std::optional<std::size_t> automatic_budget(std::size_t process_bytes, const fs::path& root) {
  const std::optional<std::size_t> available = available_bytes(root);
  if (!available) return std::nullopt;
  return without_margin(*available, std::size_t{256} << 20) + std::min(resident_bytes(), process_bytes);
}

std::size_t resident_bytes() { return resident().now; }

}  // namespace darkroom::memory
