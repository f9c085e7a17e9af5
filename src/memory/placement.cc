#include "memory/placement.h"

#include <algorithm>

namespace darkroom::memory {
namespace {

Placement with_streamed(const std::vector<std::size_t>& unit_bytes, const std::vector<bool>& streamed,
                        int slots) {
  Placement placement{.streamed = streamed};
  std::size_t largest = 0;
  int count = 0;
  for (std::size_t i = 0; i < unit_bytes.size(); ++i) {
    if (streamed[i]) {
      largest = std::max(largest, unit_bytes[i]);
      placement.streamed_bytes += unit_bytes[i];
      ++count;
    } else {
      placement.resident_bytes += unit_bytes[i];
    }
  }
  placement.slots = std::min(slots, count);
  placement.slot_bytes = static_cast<std::size_t>(placement.slots) * largest;
  return placement;
}

// `count` of `units`, evenly spread.
std::vector<bool> spread(std::size_t units, std::size_t count) {
  std::vector<bool> chosen(units);
  for (std::size_t i = 0; i < count; ++i) chosen[(2 * i + 1) * units / (2 * count)] = true;
  return chosen;
}

}  // namespace

Placement all_resident(const std::vector<std::size_t>& unit_bytes) {
  return with_streamed(unit_bytes, std::vector<bool>(unit_bytes.size()), 0);
}

Placement all_streamed(const std::vector<std::size_t>& unit_bytes) {
  return with_streamed(unit_bytes, std::vector<bool>(unit_bytes.size(), true), 2);
}

std::optional<Placement> place(const std::vector<std::size_t>& unit_bytes, std::size_t limit) {
  const std::size_t units = unit_bytes.size();
  if (Placement all = all_resident(unit_bytes); all.bytes() <= limit) return all;
  for (const int slots : {2, 1}) {
    std::optional<Placement> best;
    for (std::size_t count = 1; count <= units; ++count) {
      Placement placement = with_streamed(unit_bytes, spread(units, count), slots);
      const bool better = !best || placement.streamed_bytes < best->streamed_bytes;
      if (placement.bytes() <= limit && better) best = std::move(placement);
    }
    if (best) return best;
  }
  return std::nullopt;
}

void keep_on_host(const std::vector<std::size_t>& unit_bytes, std::size_t limit, Placement& placement) {
  placement.kept.assign(unit_bytes.size(), false);
  placement.kept_bytes = 0;
  for (std::size_t i = 0; i < unit_bytes.size(); ++i) {
    if (!placement.streamed[i] || unit_bytes[i] > limit - placement.kept_bytes) continue;
    placement.kept[i] = true;
    placement.kept_bytes += unit_bytes[i];
  }
}

Placement least(const std::vector<std::size_t>& unit_bytes) {
  return with_streamed(unit_bytes, std::vector<bool>(unit_bytes.size(), true), 1);
}

}  // namespace darkroom::memory
