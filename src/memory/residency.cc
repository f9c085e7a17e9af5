#include "memory/residency.h"

#include <algorithm>
#include <chrono>
#include <utility>

#include "base/error.h"

namespace darkroom::memory {
namespace {

double seconds_since(std::chrono::steady_clock::time_point start) {
  return std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
}

void add(const Param& given, Tensor& given_field, WeightSource& source, WeightUnit& unit) {
  visit_with_extras(source, given, given_field, [&](const Param& param, Tensor& field) {
    field = source.describe(param);
    unit.entries.push_back({param, &field, unit.bytes});
    unit.bytes += (field.bytes_with_scales() + kBufferAlignment - 1) / kBufferAlignment * kBufferAlignment;
  });
}

}  // namespace

std::vector<WeightUnit> group_units(Stage stage, std::size_t count,
                                    const std::function<void(const VisitFn&)>& visit_all,
                                    WeightSource& source) {
  std::vector<WeightUnit> units(count);
  visit_all([&](const Param& param, Tensor& field) {
    if (param.unit.stage != stage) return;
    add(param, field, source, units.at(static_cast<std::size_t>(param.unit.index)));
  });
  return units;
}

std::vector<WeightUnit> one_unit(const std::function<void(const VisitFn&)>& visit_all, WeightSource& source) {
  std::vector<WeightUnit> units(1);
  visit_all([&](const Param& param, Tensor& field) { add(param, field, source, units[0]); });
  return units;
}

std::vector<std::size_t> sizes_of(const std::vector<WeightUnit>& units) {
  std::vector<std::size_t> sizes;
  for (const WeightUnit& unit : units) sizes.push_back(unit.bytes);
  return sizes;
}

Residency::Residency(Backend& backend, WeightSource& source, std::vector<WeightUnit> units,
                     Placement placement, uint64_t passes)
    : backend_(backend),
      source_(source),
      units_(std::move(units)),
      placement_(std::move(placement)),
      kept_(units_.size()),
      resident_(units_.size()),
      ready_(units_.size()),
      slots_(static_cast<std::size_t>(placement_.slots)),
      end_(passes * units_.size()) {
  require(placement_.streamed.size() == units_.size(), ErrorCode::kFailure, "{} units and a placement for {}",
          units_.size(), placement_.streamed.size());
  for (Slot& slot : slots_) slot.memory = backend_.allocate(placement_.slot_bytes / slots_.size());
  reader_ = std::thread([this] { read_ahead(); });
}

Residency::~Residency() {
  {
    const std::lock_guard lock(mutex_);
    stopping_ = true;
  }
  changed_.notify_all();
  reader_.join();
  for (const WeightUnit& unit : units_) {
    for (const WeightUnit::Entry& entry : unit.entries) {
      entry.field->lay_into(nullptr);
      entry.field->device = Device::kNone;
    }
  }
}

Residency::Lease Residency::lease(std::size_t unit) {
  const auto start = std::chrono::steady_clock::now();
  std::unique_lock lock(mutex_);
  if (next_lease_ % units_.size() != unit) redirect(unit);
  if (next_lease_ >= end_) {  // more passes than were announced
    end_ = next_lease_ + 1;
    changed_.notify_all();
  }
  changed_.wait(lock, [&] { return error_ || ready_[unit]; });
  totals_.wait_seconds += seconds_since(start);
  if (error_) std::rethrow_exception(error_);
  ++next_lease_;
  if (Slot* slot = slot_of(unit)) slot->leased = true;
  const Memory& memory = memory_of(unit);
  for (const WeightUnit::Entry& entry : units_[unit].entries) {
    entry.field->lay_into(memory.data() + entry.offset);
    entry.field->device = memory.device();
  }
  return Lease(this, unit);
}

void Residency::give_back(std::size_t unit) {
  {
    const std::lock_guard lock(mutex_);
    if (Slot* slot = slot_of(unit)) {
      slot->unit = kNoUnit;
      slot->leased = false;
      slot->last_use = backend_.mark();
      ready_[unit] = false;
      for (const WeightUnit::Entry& entry : units_[unit].entries) entry.field->lay_into(nullptr);
    }
  }
  changed_.notify_all();
}

// Reading goes on at `unit`; what was read for another order is dropped.
void Residency::redirect(std::size_t unit) {
  const uint64_t count = units_.size();
  next_lease_ = next_lease_ / count * count + unit + (unit < next_lease_ % count ? count : 0);
  next_read_ = next_lease_;
  end_ = std::max(end_, (next_lease_ / count + 1) * count);
  ++generation_;
  for (Slot& slot : slots_) {
    if (slot.leased || slot.unit == kNoUnit) continue;
    ready_[slot.unit] = false;
    slot.unit = kNoUnit;
  }
  changed_.notify_all();
}

// Taken in turn: how far ahead the reader is should not decide how much memory is touched.
Residency::Slot* Residency::free_slot() {
  for (std::size_t i = 0; i < slots_.size(); ++i) {
    const std::size_t index = (next_slot_ + i) % slots_.size();
    if (slots_[index].unit != kNoUnit) continue;
    next_slot_ = index + 1;
    return &slots_[index];
  }
  return nullptr;
}

Residency::Slot* Residency::slot_of(std::size_t unit) {
  const auto it = std::ranges::find(slots_, unit, &Slot::unit);
  return it == slots_.end() ? nullptr : &*it;
}

const Memory& Residency::memory_of(std::size_t unit) {
  const Slot* slot = slot_of(unit);
  return slot ? *slot->memory : *resident_[unit];
}

// What the host keeps of a unit, read when it is first asked for.
std::span<const std::byte> Residency::kept_unit(std::size_t unit) {
  Buffer& kept = kept_[unit];
  if (kept.size() == 0) {
    Buffer bytes(units_[unit].bytes);
    for (const WeightUnit::Entry& entry : units_[unit].entries)
      source_.read(entry.param, {bytes.data() + entry.offset, entry.field->bytes_with_scales()});
    bytes_read_ += units_[unit].bytes;
    kept = std::move(bytes);
  }
  return {kept.data(), kept.size()};
}

void Residency::read_unit(std::size_t unit, const Memory& memory) {
  if (!placement_.kept.empty() && placement_.kept[unit]) {
    const std::span<const std::byte> bytes = kept_unit(unit);
    backend_.fill(memory.data(), bytes.size(),
                  [&](std::span<std::byte> out) { std::ranges::copy(bytes, out.begin()); });
    return;
  }
  bytes_read_ += units_[unit].bytes;
  for (const WeightUnit::Entry& entry : units_[unit].entries) {
    backend_.fill(memory.data() + entry.offset, entry.field->bytes_with_scales(),
                  [&](std::span<std::byte> out) { source_.read(entry.param, out); });
  }
}

// Reads the next unit, if there is one and room for it. Holds `lock` except while it reads.
bool Residency::step(std::unique_lock<std::mutex>& lock) {
  if (next_read_ >= end_) return false;
  const std::size_t unit = next_read_ % units_.size();
  if (ready_[unit] && !placement_.streamed[unit]) {
    ++next_read_;
    return true;
  }
  const Memory* memory = nullptr;
  Backend::Ticket last_use = 0;
  if (placement_.streamed[unit]) {
    // A unit that still lies in a slot (a model of fewer units than slots, or one leased out of order) waits
    // for its end.
    Slot* const slot = ready_[unit] ? nullptr : free_slot();
    if (!slot) return false;
    slot->unit = unit;
    memory = slot->memory.get();
    last_use = slot->last_use;
  } else {
    if (!resident_[unit]) resident_[unit] = backend_.allocate(units_[unit].bytes);
    memory = resident_[unit].get();
  }
  const uint64_t generation = generation_;
  ++next_read_;
  lock.unlock();
  backend_.wait(last_use);
  const auto start = std::chrono::steady_clock::now();
  read_unit(unit, *memory);
  const double seconds = seconds_since(start);
  lock.lock();
  totals_.read_seconds += seconds;
  totals_.bytes_read = bytes_read_;
  if (generation == generation_ || !placement_.streamed[unit]) ready_[unit] = true;
  changed_.notify_all();
  return true;
}

void Residency::read_ahead() {
  std::unique_lock lock(mutex_);
  try {
    while (!stopping_) {
      if (!step(lock)) changed_.wait(lock);
    }
  } catch (...) {
    if (!lock.owns_lock()) lock.lock();
    error_ = std::current_exception();
    changed_.notify_all();
  }
}

Residency::Totals Residency::totals() const {
  const std::lock_guard lock(mutex_);
  return totals_;
}

}  // namespace darkroom::memory
