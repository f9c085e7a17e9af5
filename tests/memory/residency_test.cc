#include "memory/residency.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <cstring>
#include <fstream>

#include "backends/dry_run/dry_run.h"
#include "base/expect_error.h"
#include "base/temp_folder.h"
#include "weights/loaded.h"
#include "weights/safetensors.h"

namespace darkroom::memory {
namespace {

constexpr std::size_t kUnits = 7;

// Holds real bytes; nothing is computed. Ops that were asked for have run when finish() says so.
class LateBackend final : public DryRunBackend {
 public:
  Device device() const override { return Device::kHost; }
  bool counts_only() const override { return false; }
  Ticket mark() override { return ++marked_; }
  void wait(Ticket ticket) override {
    awaited_ = std::max(awaited_.load(), ticket);
    awaited_.notify_all();
    for (Ticket done = finished_; done < ticket; done = finished_) finished_.wait(done);
  }
  void finish(Ticket ticket) {
    finished_ = ticket;
    finished_.notify_all();
  }
  // Returns once somebody waits for this ticket or has.
  void see_awaited(Ticket ticket) {
    for (Ticket seen = awaited_; seen < ticket; seen = awaited_) awaited_.wait(seen);
  }

 private:
  Ticket marked_ = 0;
  std::atomic<Ticket> finished_ = 0, awaited_ = 0;
};

DryRunBackend backend;  // only its memory is used

Param param_of(std::size_t unit, const std::string& name, const Shape& shape) {
  return {"layer." + std::to_string(unit) + name,
          shape,
          Role::kVector,
          {Stage::kBlock, static_cast<int64_t>(unit)}};
}

// A model of kUnits layers with a matrix and a vector each, and a tensor that belongs to none.
struct Model {
  Tensor matrices[kUnits], vectors[kUnits], other;
  std::function<void(const VisitFn&)> visitor() {
    return [this](const VisitFn& visit) {
      visit({"other.weight", {3}}, other);
      for (std::size_t i = 0; i < kUnits; ++i) {
        visit(param_of(i, ".weight", {40 + static_cast<int64_t>(i), 16}), matrices[i]);
        visit(param_of(i, ".bias", {5}), vectors[i]);
      }
    };
  }
};

std::vector<WeightUnit> layers_of(Model& model, WeightSource& source) {
  return group_units(Stage::kBlock, kUnits, model.visitor(), source);
}

// Counts what is read, and fails at will.
class CountingSource : public DummySource {
 public:
  CountingSource() : DummySource(DType::kF32) {}
  void read(const Param& param, std::span<std::byte> out) override {
    ++reads;
    if (param.name == failing) fail(ErrorCode::kModel, "{}: cut short", param.name);
    DummySource::read(param, out);
  }
  std::atomic<int> reads = 0;
  std::string failing;
};

void expect_right_values(const Model& model, std::size_t unit) {
  DummySource expected(DType::kF32);
  for (const auto& [name, tensor] :
       {std::pair(".weight", model.matrices[unit]), std::pair(".bias", model.vectors[unit])}) {
    ASSERT_NE(tensor.data, nullptr);
    const OwnedTensor want = load(expected, param_of(unit, name, tensor.shape));
    EXPECT_EQ(std::memcmp(tensor.data, want.tensor.data, tensor.bytes()), 0) << unit << name;
  }
}

// Every placement from everything resident to one slot.
std::vector<Placement> placements(const std::vector<WeightUnit>& units) {
  const std::vector<std::size_t> sizes = sizes_of(units);
  std::vector<Placement> out = {all_resident(sizes), all_streamed(sizes), least(sizes)};
  for (std::size_t limit = 2 * sizes.back(); limit < out[0].bytes(); limit += sizes.back() / 2) {
    out.push_back(place(sizes, limit).value());
  }
  return out;
}

TEST(Group, SortsByUnitAndDescribes) {
  Model model;
  CountingSource source;
  const std::vector<WeightUnit> units = layers_of(model, source);
  ASSERT_EQ(units.size(), kUnits);
  EXPECT_EQ(units[2].entries.size(), 2u);
  EXPECT_EQ(units[2].bytes, 42u * 64 + 64);
  EXPECT_EQ(model.matrices[2].shape, Shape({42, 16}));
  EXPECT_EQ(model.matrices[2].data, nullptr);
  EXPECT_FALSE(model.other.present());
  EXPECT_EQ(source.reads, 0);
}

TEST(Residency, GivesEveryUnitInEveryPassUnderEveryPlacement) {
  Model layout;
  CountingSource first;
  for (const Placement& placement : placements(layers_of(layout, first))) {
    Model model;
    CountingSource source;
    constexpr int kPasses = 3;
    {
      Residency residency(backend, source, layers_of(model, source), placement, kPasses);
      for (int pass = 0; pass < kPasses; ++pass) {
        for (std::size_t unit = 0; unit < kUnits; ++unit) {
          const Residency::Lease lease = residency.lease(unit);
          expect_right_values(model, unit);
        }
      }
      const auto streamed = static_cast<int>(std::ranges::count(placement.streamed, true));
      EXPECT_EQ(source.reads,
                2 * (static_cast<int>(kUnits) - streamed + kPasses * streamed));  // nothing in vain
    }
    EXPECT_EQ(model.matrices[0].data, nullptr);  // gone with it
  }
}

TEST(Residency, AnyOrderIsRightAndOnlyCostsReading) {
  Model layout;
  CountingSource first;
  for (const Placement& placement : placements(layers_of(layout, first))) {
    Model model;
    CountingSource source;
    Residency residency(backend, source, layers_of(model, source), placement, 2);
    for (const std::size_t unit : {3u, 3u, 0u, 6u, 5u, 4u, 1u, 2u, 3u, 4u, 0u, 1u, 6u, 0u}) {
      const Residency::Lease lease = residency.lease(unit);
      expect_right_values(model, unit);
    }
  }
}

TEST(Residency, MorePassesThanAnnouncedAreServed) {
  Model model;
  CountingSource source;
  std::vector<WeightUnit> units = layers_of(model, source);
  const Placement placement = all_streamed(sizes_of(units));
  Residency residency(backend, source, std::move(units), placement, 1);
  for (std::size_t i = 0; i < 3 * kUnits; ++i) {
    const Residency::Lease lease = residency.lease(i % kUnits);
    expect_right_values(model, i % kUnits);
  }
}

TEST(Residency, StreamedUnitsHaveNoDataOutsideTheirLease) {
  Model model;
  CountingSource source;
  const std::vector<std::size_t> sizes(kUnits, 1);
  std::vector<WeightUnit> units = layers_of(model, source);
  const Placement placement = all_streamed(sizes_of(units));
  Residency residency(backend, source, std::move(units), placement);
  { const Residency::Lease lease = residency.lease(0); }
  EXPECT_EQ(model.matrices[0].data, nullptr);
}

// On a device that lags behind, a slot is not filled anew before the ops of its lease have run.
TEST(Residency, ASlotWaitsForTheOpsThatReadIt) {
  Model model;
  CountingSource source;
  LateBackend late;
  std::vector<WeightUnit> units = layers_of(model, source);
  const Placement one_slot = least(sizes_of(units));
  Residency residency(late, source, std::move(units), one_slot);
  for (std::size_t unit = 0; unit + 1 < kUnits; ++unit) {
    Model read_later;
    {
      const Residency::Lease lease = residency.lease(unit);
      read_later = model;
    }
    late.see_awaited(unit + 1);
    expect_right_values(read_later, unit);
    late.finish(unit + 1);
  }
}

TEST(Residency, WhatTheHostKeepsIsReadOnce) {
  Model model;
  CountingSource source;
  std::vector<WeightUnit> units = layers_of(model, source);
  const std::vector<std::size_t> sizes = sizes_of(units);
  Placement placement = least(sizes);
  keep_on_host(sizes, sizes[0] + sizes[1] + sizes[2], placement);
  EXPECT_EQ(std::ranges::count(placement.kept, true), 3);
  EXPECT_EQ(placement.kept_bytes, sizes[0] + sizes[1] + sizes[2]);
  constexpr int kPasses = 3;
  Residency residency(backend, source, std::move(units), placement, kPasses);
  for (std::size_t i = 0; i < kPasses * kUnits; ++i) {
    const Residency::Lease lease = residency.lease(i % kUnits);
    expect_right_values(model, i % kUnits);
  }
  EXPECT_EQ(source.reads, 2 * (3 + kPasses * (static_cast<int>(kUnits) - 3)));
  EXPECT_EQ(residency.totals().bytes_read,
            placement.kept_bytes + kPasses * (placement.streamed_bytes - placement.kept_bytes));
}

TEST(Residency, AFailedReadReachesTheLease) {
  for (const bool streamed : {false, true}) {
    Model model;
    CountingSource source;
    source.failing = "layer.4.bias";
    std::vector<WeightUnit> units = layers_of(model, source);
    const std::vector<std::size_t> sizes = sizes_of(units);
    Residency residency(backend, source, std::move(units),
                        streamed ? all_streamed(sizes) : all_resident(sizes));
    expect_error(ErrorCode::kModel, "layer.4.bias: cut short", [&] {
      for (std::size_t unit = 0; unit < kUnits; ++unit) residency.lease(unit);
    });
  }
}

TEST(Residency, CanBeLeftAtAnyMoment) {
  for (std::size_t leases = 0; leases < kUnits; ++leases) {
    Model model;
    CountingSource source;
    std::vector<WeightUnit> units = layers_of(model, source);
    const Placement placement = all_streamed(sizes_of(units));
    Residency residency(backend, source, std::move(units), placement, 1000);
    for (std::size_t unit = 0; unit < leases; ++unit) residency.lease(unit);
  }
}

TEST(Residency, AFileThatShrinksOrChangesIsAnErrorNotASignal) {
  for (const bool shrink : {true, false}) {
    const TempFolder folder;
    std::vector<float> values(1 << 20, 1.0f);
    Tensor a, b;
    write_safetensors(folder / "model.safetensors",
                      std::vector<NamedTensor>{{"a", Tensor(values.data(), DType::kF32, {1 << 20})},
                                               {"b", Tensor(values.data(), DType::kF32, {1 << 20})}});
    const auto hour_ago = std::filesystem::file_time_type::clock::now() - std::chrono::hours(1);
    std::filesystem::last_write_time(folder / "model.safetensors", hour_ago);
    CatalogSource source{Catalog(folder / "model.safetensors")};
    std::vector<WeightUnit> units = group_units(
        Stage::kBlock, 2,
        [&](const VisitFn& visit) {
          visit({"a", {1 << 20}, Role::kVector, {Stage::kBlock, 0}}, a);
          visit({"b", {1 << 20}, Role::kVector, {Stage::kBlock, 1}}, b);
        },
        source);
    const Placement placement = least(sizes_of(units));
    if (shrink) {
      std::filesystem::resize_file(folder / "model.safetensors", 5 << 20);
    } else {
      std::fstream file(folder / "model.safetensors", std::ios::in | std::ios::out);
      file.seekp(6 << 20);
      file << "x";
    }
    Residency residency(backend, source, std::move(units), placement);
    expect_error(ErrorCode::kModel, shrink ? "while in use" : "written to while in use", [&] {
      residency.lease(0);
      residency.lease(1);
    });
  }
}

}  // namespace
}  // namespace darkroom::memory
