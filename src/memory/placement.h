// Which weights of a phase stay in memory and which pass through it: pure arithmetic on sizes.
//
// A unit is what comes and goes together, a transformer block or an encoder layer (residency.h).
#pragma once

#include <cstddef>
#include <optional>
#include <vector>

namespace darkroom::memory {

// Without streamed units there are no slots.
struct Placement {
  std::vector<bool> streamed;   // per unit
  std::vector<bool> kept = {};  // of the streamed units, those that the host keeps between passes; or empty
  int slots = 0;                // buffers that streamed units share, each as large as the largest of them
  std::size_t resident_bytes = 0;
  std::size_t slot_bytes = 0;      // of all slots
  std::size_t streamed_bytes = 0;  // copied or read in every pass
  std::size_t kept_bytes = 0;      // of them copied from the host's memory
  std::size_t bytes() const { return resident_bytes + slot_bytes; }
};

// Everything stays.
Placement all_resident(const std::vector<std::size_t>& unit_bytes);

// Everything passes through two slots (one for a single unit): for weights that are used once.
Placement all_streamed(const std::vector<std::size_t>& unit_bytes);

// The placement within `limit` bytes that reads the least in every pass: as few units as possible are
// streamed, through two slots, so that one is read while the other is used, and evenly spread, so that
// reading goes on during all of the arithmetic. One slot when two do not fit; nothing when even one does not.
std::optional<Placement> place(const std::vector<std::size_t>& unit_bytes, std::size_t limit);

// Of the streamed units as many, from the first on, as have room in `limit` bytes of the host's memory are kept
// there. For a device with memory of its own.
void keep_on_host(const std::vector<std::size_t>& unit_bytes, std::size_t limit, Placement& placement);

// The one with the fewest bytes in memory: everything passes through one slot.
Placement least(const std::vector<std::size_t>& unit_bytes);

}  // namespace darkroom::memory
