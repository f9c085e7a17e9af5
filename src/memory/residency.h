// Weights in memory while they are needed: units that stay, and units that pass through slots, read
// ahead by a thread.
//
// A phase groups its weights into units (group_units), says which stay (Placement) and takes a lease on each
// unit while it asks for ops with it. Units are read from where they lie into memory of the backend, never
// mapped, so that the resident set is what the plan says and a file that changes is an error instead of a signal.
#pragma once

#include <condition_variable>
#include <cstddef>
#include <cstdint>
#include <exception>
#include <functional>
#include <memory>
#include <mutex>
#include <thread>
#include <vector>

#include "memory/placement.h"
#include "ops/backend.h"
#include "weights/source.h"

namespace darkroom::memory {

// Tensors that enter and leave memory together.
struct WeightUnit {
  struct Entry {
    Param param;
    Tensor* field;       // of the model's weights; gets its data while the unit is in memory
    std::size_t offset;  // in the unit's memory, a multiple of kBufferAlignment
  };
  std::vector<Entry> entries;
  std::size_t bytes = 0;
};

inline constexpr std::size_t kNoUnit = SIZE_MAX;

// Sorts what `visit_all` names of a stage into its `count` units. Every listed field gets its dtype and shape
// as `source` describes it, without data; so do those that lie beside one (visit_with_extras), in the same unit. The fields must stay where they are. Errors: kModel.
std::vector<WeightUnit> group_units(Stage stage, std::size_t count,
                                    const std::function<void(const VisitFn&)>& visit_all,
                                    WeightSource& source);
// All stages in one unit.
std::vector<WeightUnit> one_unit(const std::function<void(const VisitFn&)>& visit_all, WeightSource& source);

std::vector<std::size_t> sizes_of(const std::vector<WeightUnit>& units);

// Owns the memory of a phase's weights and the thread that fills it. One thread takes leases, one at a time.
//
// Units are read in their order, again and again, `passes` times in all, as far ahead as slots allow. A lease
// out of this order is correct and costs what was read in vain. A slot is filled anew when the ops that were
// asked for during its lease have run. Units that the host keeps (Placement::kept) are read once.
class Residency {
 public:
  // While it lives, the unit's fields have data. Movable.
  class Lease {
   public:
    Lease(Lease&& other) noexcept : owner_(std::exchange(other.owner_, nullptr)), unit_(other.unit_) {}
    Lease& operator=(Lease&&) = delete;
    ~Lease() {
      if (owner_) owner_->give_back(unit_);
    }

   private:
    friend class Residency;
    Lease(Residency* owner, std::size_t unit) : owner_(owner), unit_(unit) {}
    Residency* owner_;
    std::size_t unit_;
  };

  // `backend` and `source` must outlive this and are used from another thread. `placement` has as many entries
  // as there are units.
  Residency(Backend& backend, WeightSource& source, std::vector<WeightUnit> units, Placement placement,
            uint64_t passes = 1);
  ~Residency();
  Residency(const Residency&) = delete;
  Residency& operator=(const Residency&) = delete;

  // Waits until the unit is in memory. Errors: those of reading it (kModel), kOutOfMemory.
  Lease lease(std::size_t unit);

  struct Totals {
    uint64_t bytes_read = 0;
    double read_seconds = 0;  // of the reading thread
    double wait_seconds = 0;  // of lease()
  };
  Totals totals() const;

 private:
  struct Slot {
    std::unique_ptr<Memory> memory;
    std::size_t unit = kNoUnit;
    bool leased = false;
    Backend::Ticket last_use = 0;
  };
  void give_back(std::size_t unit);
  void read_ahead();
  bool step(std::unique_lock<std::mutex>& lock);
  Slot* free_slot();
  Slot* slot_of(std::size_t unit);
  const Memory& memory_of(std::size_t unit);
  void read_unit(std::size_t unit, const Memory& memory);
  std::span<const std::byte> kept_unit(std::size_t unit);
  void redirect(std::size_t unit);

  Backend& backend_;
  WeightSource& source_;
  const std::vector<WeightUnit> units_;
  const Placement placement_;

  mutable std::mutex mutex_;
  std::condition_variable changed_;
  std::vector<Buffer> kept_;                       // per unit; empty for those that the host does not keep
  std::vector<std::unique_ptr<Memory>> resident_;  // per unit; none for streamed ones
  std::vector<bool> ready_;                        // per unit: its fields may get data
  std::vector<Slot> slots_;
  std::size_t next_slot_ = 0;
  uint64_t next_read_ = 0;  // positions in the endless sequence 0 … units−1, 0 …
  uint64_t next_lease_ = 0;
  uint64_t end_;             // no reading ahead beyond it
  uint64_t generation_ = 0;  // counts redirections
  bool stopping_ = false;
  std::exception_ptr error_;
  Totals totals_;
  uint64_t bytes_read_ = 0;  // bytes read; the reading thread's alone
  std::thread reader_;
};

}  // namespace darkroom::memory
