// Where a model's weights come from: a file, a formula, or nowhere (planning). Models know only parameters
// (weights/param.h).
#pragma once

#include <cstddef>
#include <list>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "tensor/buffer.h"
#include "tensor/tensor.h"
#include "weights/bitsandbytes.h"
#include "weights/catalog.h"
#include "weights/param.h"
#include "weights/scales.h"
#include "weights/spelling.h"

namespace darkroom {

// A LoRA's matrices beside that of a linear layer (ops/ops.h): down [R, in], up [out, R]. Parameters like any
// other, of the matrix's unit; never quantised.
struct LoraParams {
  Param down, up;
};

// describe() and read() may be called from any number of threads.
class WeightSource {
 public:
  virtual ~WeightSource() = default;
  // The parameter without data (Device::kNone): its shape, the dtype that the source has it in, and how many
  // scales. Errors: kModel when the source has no such parameter.
  virtual Tensor describe(const Param& param) = 0;
  // The parameter, scales included, into `out`, as Tensor::lay_into() finds it there; `out` is as long as
  // bytes_with_scales() of describe() says. Errors: as describe(), and kModel for a file that fails.
  virtual void read(const Param& param, std::span<std::byte> out) = 0;
  // Rows of the parameter (its first extent) without scales, one after the other, and the scales: for those
  // who have no room for all of it. Unless a source knows better, the whole parameter is in memory meanwhile.
  virtual void read_rows(const Param& param, const RowRange& rows, std::span<std::byte> out);
  virtual std::vector<float> read_scales(const Param& param);
  // Memory that read() takes for this parameter beside `out`, and may keep.
  virtual std::size_t staging_bytes(const Param&) { return 0; }
  // Where it lies, for messages: "FILE: tensor 'NAME'", or, without a file, "'NAME'".
  virtual std::string place_of(const Param& param) { return "'" + param.name + "'"; }
  // What the user should know of what has been read; empty: nothing.
  virtual std::string note() { return {}; }
  // What lies beside this parameter; nothing unless it is a matrix and the source has a LoRA for it.
  virtual std::optional<LoraParams> lora_of(const Param&) { return std::nullopt; }
  // The factors, f32 [in], that go with the input of this matrix: a parameter "X.smooth" of its unit, with X its
  // fed_by. Its columns are divided by them already. Nothing where there are none.
  virtual std::optional<Param> smooth_of(const Param&) { return std::nullopt; }
};

// Param::fed_by + ".smooth", f32 [in].
Param smooth_param(const Param& matrix);

// Visits the parameter and, where the source has them, the LoRA's two beside it and the smoothing factors of its
// input, with their fields.
void visit_with_extras(WeightSource& source, const Param& param, Tensor& field, const VisitFn& visit);

// Parameters in memory of their own, for those who need them all at once and plan nothing. The fields are
// valid while this lives. Not thread-safe.
class LoadedWeights {
 public:
  explicit LoadedWeights(WeightSource& source) : source_(source) {}
  // Errors: as WeightSource::read(), kOutOfMemory.
  Tensor load(const Param& param);
  // A visitor that fills each field, and those beside it, under prefix + name.
  VisitFn binder(std::string prefix = {});

 private:
  WeightSource& source_;
  std::list<Buffer> owned_;
};

// Tensors of a catalog, which it owns.
//
// Accepts what real files vary in: the names are those of `spelling`; a 1×1 convolution's weight is [out, in,
// 1, 1] or [out, in]; a matrix may be quantised (weights/scales.h).
class CatalogSource : public WeightSource {
 public:
  // Errors: as check_companions().
  explicit CatalogSource(Catalog catalog, Spelling spelling = as_named);
  // Errors: kModel naming the file, the tensor and both shapes (or types); for a name that is not there the
  // file and up to three of its names that come nearest.
  Tensor describe(const Param& param) override;
  void read(const Param& param, std::span<std::byte> out) override;
  void read_rows(const Param& param, const RowRange& rows, std::span<std::byte> out) override;
  std::vector<float> read_scales(const Param& param) override;
  std::optional<Param> smooth_of(const Param& param) override;
  // Errors: as describe().
  std::string place_of(const Param& param) override;
  // Where the catalog has the parameter, whatever its type. Errors: as describe().
  StoredPlace locate(const Param& param) const;
  // Whether the catalog has a tensor of one of its names.
  bool has(const Param& param) const;
  // Names, files and totals.
  const Catalog& catalog() const { return catalog_; }

 private:
  // A parameter that can be computed with as it is stored, and its scales.
  struct Found {
    StoredPlace place;
    DType dtype = DType::kF32;
    std::vector<float> scales;
    std::optional<PackedMatrix> packed;
  };
  // Errors: as describe().
  Found find(const Param& param) const;
  // Rows of the parameter, each of `row` bytes.
  void read_rows(const Found& found, RowRange rows, std::size_t row, std::span<std::byte> out) const;
  Catalog catalog_;
  Spelling spelling_;
};

// Weights from a formula, no file needed. A tensor depends on its name, its shape and nothing else; f32 and
// bf16 give the same numbers. They are pseudo-random and keep a network of any width well conditioned:
//   - two or more extents: uniform, mean 0, standard deviation 1/√fan_in to within a factor of √2 (fan_in:
//   the
//     product of all extents but the first);
//   - one extent and not a bias (norms): uniform in 1 ± 1/8;
//   - a bias (the name ends in "bias"): uniform, standard deviation near 1/64.
class DummySource : public WeightSource {
 public:
  // Errors: kFailure for a dtype other than f32 and bf16.
  explicit DummySource(DType dtype);
  Tensor describe(const Param& param) override { return Tensor(nullptr, dtype_, param.shape, Device::kNone); }
  void read(const Param& param, std::span<std::byte> out) override;
  void read_rows(const Param& param, const RowRange& rows, std::span<std::byte> out) override;

 private:
  DType dtype_;
};

// No numbers at all: tensors of Device::kNone for the dry-run backend.
class PlanSource : public WeightSource {
 public:
  explicit PlanSource(DType dtype) : dtype_(dtype) {}
  Tensor describe(const Param& param) override { return Tensor(nullptr, dtype_, param.shape, Device::kNone); }
  // Leaves `out` as it is.
  void read(const Param&, std::span<std::byte>) override {}

 private:
  DType dtype_;
};

// A visitor that describes each field, and those beside it, as `source` has it, without data.
VisitFn describe_from(WeightSource& source);

}  // namespace darkroom
