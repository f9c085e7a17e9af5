#include "backends/vulkan/hazards.h"

#include <algorithm>

namespace darkroom::vulkan {

bool Hazards::overlaps(const std::vector<Range>& ranges, const Range& range) {
  return std::ranges::any_of(
      ranges, [&](const Range& other) { return range.begin < other.end && other.begin < range.end; });
}

bool Hazards::conflicts(const Binding& binding) const {
  const uintptr_t begin = reinterpret_cast<uintptr_t>(binding.address);
  const Range range{begin, begin + binding.bytes};
  return overlaps(written_, range) || (binding.access != Access::kRead && overlaps(read_, range));
}

bool Hazards::add(std::span<const Binding> bindings) {
  const auto used = [](const Binding& b) { return b.address != nullptr && b.bytes > 0; };
  const bool barrier =
      std::ranges::any_of(bindings, [&](const Binding& b) { return used(b) && conflicts(b); });
  if (barrier) clear();
  for (const Binding& b : bindings) {
    if (!used(b)) continue;
    const uintptr_t begin = reinterpret_cast<uintptr_t>(b.address);
    if (b.access != Access::kWrite) read_.push_back({begin, begin + b.bytes});
    if (b.access != Access::kRead) written_.push_back({begin, begin + b.bytes});
  }
  return barrier;
}

void Hazards::clear() {
  read_.clear();
  written_.clear();
}

}  // namespace darkroom::vulkan
