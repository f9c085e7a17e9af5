#include "memory/residency.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <cstring>
#include <fstream>

#include "base/expect_error.h"
#include "base/temp_folder.h"
#include "weights/files.h"

namespace darkroom::memory {
namespace {

constexpr std::size_t kUnits = 7;

// A model of kUnits layers with a matrix and a vector each, and a tensor that belongs to none.
struct Model {
  Tensor matrices[kUnits], vectors[kUnits], other;
  std::function<void(const VisitFn&)> visitor() {
    return [this](const VisitFn& visit) {
      visit("other.weight", other, {3});
      for (std::size_t i = 0; i < kUnits; ++i) {
        visit("layer." + std::to_string(i) + ".weight", matrices[i], {40 + static_cast<int64_t>(i), 16});
        visit("layer." + std::to_string(i) + ".bias", vectors[i], {5});
      }
    };
  }
};

std::size_t unit_of(const std::string& name) {
  return name.starts_with("layer.") ? static_cast<std::size_t>(name[6] - '0') : kNoUnit;
}

// Counts what is read, and fails at will.
class CountingSource : public DummySource {
 public:
  CountingSource() : DummySource(DType::kF32) {}
  void read(const std::string& name, const Shape& shape, std::span<std::byte> out) override {
    ++reads;
    if (name == failing) fail(ErrorCode::kModel, "{}: cut short", name);
    DummySource::read(name, shape, out);
  }
  std::atomic<int> reads = 0;
  std::string failing;
};

void expect_right_values(const Model& model, std::size_t unit) {
  DummySource expected(DType::kF32);
  for (const auto& [name, tensor] :
       {std::pair(".weight", model.matrices[unit]), std::pair(".bias", model.vectors[unit])}) {
    ASSERT_NE(tensor.data, nullptr);
    const Tensor want = expected.get("layer." + std::to_string(unit) + name, tensor.shape);
    EXPECT_EQ(std::memcmp(tensor.data, want.data, tensor.bytes()), 0) << unit << name;
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
  const std::vector<WeightUnit> units = group_units(kUnits, unit_of, model.visitor(), source);
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
  for (const Placement& placement : placements(group_units(kUnits, unit_of, layout.visitor(), first))) {
    Model model;
    CountingSource source;
    constexpr int kPasses = 3;
    {
      Residency residency(source, group_units(kUnits, unit_of, model.visitor(), source), placement, kPasses);
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
  for (const Placement& placement : placements(group_units(kUnits, unit_of, layout.visitor(), first))) {
    Model model;
    CountingSource source;
    Residency residency(source, group_units(kUnits, unit_of, model.visitor(), source), placement, 2);
    for (const std::size_t unit : {3u, 3u, 0u, 6u, 5u, 4u, 1u, 2u, 3u, 4u, 0u, 1u, 6u, 0u}) {
      const Residency::Lease lease = residency.lease(unit);
      expect_right_values(model, unit);
    }
  }
}

TEST(Residency, MorePassesThanAnnouncedAreServed) {
  Model model;
  CountingSource source;
  std::vector<WeightUnit> units = group_units(kUnits, unit_of, model.visitor(), source);
  const Placement placement = all_streamed(sizes_of(units));
  Residency residency(source, std::move(units), placement, 1);
  for (std::size_t i = 0; i < 3 * kUnits; ++i) {
    const Residency::Lease lease = residency.lease(i % kUnits);
    expect_right_values(model, i % kUnits);
  }
}

TEST(Residency, StreamedUnitsHaveNoDataOutsideTheirLease) {
  Model model;
  CountingSource source;
  const std::vector<std::size_t> sizes(kUnits, 1);
  std::vector<WeightUnit> units = group_units(kUnits, unit_of, model.visitor(), source);
  const Placement placement = all_streamed(sizes_of(units));
  Residency residency(source, std::move(units), placement);
  { const Residency::Lease lease = residency.lease(0); }
  EXPECT_EQ(model.matrices[0].data, nullptr);
}

TEST(Residency, AFailedReadReachesTheLease) {
  for (const bool streamed : {false, true}) {
    Model model;
    CountingSource source;
    source.failing = "layer.4.bias";
    std::vector<WeightUnit> units = group_units(kUnits, unit_of, model.visitor(), source);
    const std::vector<std::size_t> sizes = sizes_of(units);
    Residency residency(source, std::move(units), streamed ? all_streamed(sizes) : all_resident(sizes));
    expect_error(ErrorCode::kModel, "layer.4.bias: cut short", [&] {
      for (std::size_t unit = 0; unit < kUnits; ++unit) residency.lease(unit);
    });
  }
}

TEST(Residency, CanBeLeftAtAnyMoment) {
  for (std::size_t leases = 0; leases < kUnits; ++leases) {
    Model model;
    CountingSource source;
    std::vector<WeightUnit> units = group_units(kUnits, unit_of, model.visitor(), source);
    const Placement placement = all_streamed(sizes_of(units));
    Residency residency(source, std::move(units), placement, 1000);
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
        2, [](const std::string& name) { return name == "a" ? std::size_t{0} : std::size_t{1}; },
        [&](const VisitFn& visit) {
          visit("a", a, {1 << 20});
          visit("b", b, {1 << 20});
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
    Residency residency(source, std::move(units), placement);
    expect_error(ErrorCode::kModel, shrink ? "while in use" : "written to while in use", [&] {
      residency.lease(0);
      residency.lease(1);
    });
  }
}

}  // namespace
}  // namespace darkroom::memory
