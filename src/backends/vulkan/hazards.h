// Which accesses to memory must be kept apart by a barrier. Knows addresses, not Vulkan.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

namespace darkroom::vulkan {

enum class Access : uint8_t { kRead, kWrite, kReadWrite };

// A range of device memory; null: absent, and something is bound that is never used.
struct Binding {
  const void* address = nullptr;
  std::size_t bytes = 0;
  Access access = Access::kRead;
};

// What was read and written since the last barrier. Ranges that only touch do not overlap.
class Hazards {
 public:
  // Takes the accesses of one dispatch. True when one of them must wait for an earlier one (it reads or writes
  // what was written, or writes what was read): then a barrier comes before, and all earlier ones are
  // forgotten.
  bool add(std::span<const Binding> bindings);
  void clear();

 private:
  struct Range {
    uintptr_t begin, end;
  };
  static bool overlaps(const std::vector<Range>& ranges, const Range& range);
  bool conflicts(const Binding& binding) const;
  std::vector<Range> read_, written_;
};

}  // namespace darkroom::vulkan
