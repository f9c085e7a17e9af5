#include "weights/check_finite.h"

#include <gtest/gtest.h>

#include <cmath>
#include <cstring>

#include "base/expect_error.h"

namespace darkroom {
namespace {

// Ones in 8 bits, with a scale for each row.
class Ones : public WeightSource {
 public:
  explicit Ones(int64_t rows) : scales(static_cast<std::size_t>(rows), 0.5f) {}
  Tensor describe(const Param& param) override {
    Tensor out(nullptr, DType::kI8, param.shape, Device::kNone);
    out.scale_count = param.shape[0];
    return out;
  }
  void read(const Param&, std::span<std::byte>) override { FAIL() << "all of it is read at once"; }
  void read_rows(const Param&, const RowRange&, std::span<std::byte> out) override {
    std::memset(out.data(), 1, out.size());
  }
  std::vector<float> read_scales(const Param&) override { return scales; }
  std::vector<float> scales;
};

// More than a piece: 2100 rows of 1024.
TEST(CheckFinite, CountsRowsFromTheBeginningOfTheTensor) {
  const Param param{"w.weight", {2100, 1024}, Role::kMatrix};
  Ones source(2100);
  check_finite(source, param);
  for (const int64_t row : {0, 1023, 1024, 2099}) {
    source.scales[static_cast<std::size_t>(row)] = INFINITY;
    expect_error(ErrorCode::kModel, fmt::format("row {}, column 0 is inf, a weight must be finite", row),
                 [&] { check_finite(source, param); });
    source.scales[static_cast<std::size_t>(row)] = 1;
  }
}

}  // namespace
}  // namespace darkroom
