// Where a model's weights come from: a file, a formula, or nowhere (planning). Models know only WeightSource.
//
// How a model binds its weights: its Weights struct has named Tensor fields and ONE visit() list,
//
//     void visit(const Config& c, FooWeights& w, const VisitFn& visit) {
//       visit("proj.weight", w.proj.weight, {c.dim, c.in});
//       visit("proj.bias", w.proj.bias, {c.dim});
//     }
//
// and the caller chooses what a visit does: visit(c, w, bind_from(source)) fills the fields, another function
// counts, prints or converts. The same list is the only place that spells names and shapes.
#pragma once

#include <cstddef>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "tensor/buffer.h"
#include "tensor/tensor.h"
#include "weights/catalog.h"
#include "weights/scales.h"

namespace darkroom {

// Called once per tensor of a model: its name in diffusers' or transformers' spelling, the field, the shape
// that the config asks for.
using VisitFn = std::function<void(const std::string& name, Tensor& tensor, const Shape& shape)>;

// Not thread-safe, unless an implementation says so. The source must outlive the tensors it gave.
class WeightSource {
 public:
  virtual ~WeightSource() = default;
  // A dense tensor of exactly `shape`, in the source's dtype, with scales where it is a quantised matrix.
  // Errors: kModel when the source has no such tensor.
  virtual Tensor get(const std::string& name, const Shape& shape) = 0;
  virtual bool has(const std::string& name) const = 0;

  // What get() would give, without data (Device::kNone). Errors: as get().
  virtual Tensor describe(const std::string& name, const Shape& shape) = 0;
  // That tensor, scales included, into `out`, as Tensor::lay_into() finds it there; `out` is as long as
  // bytes_with_scales() of describe() says. Unlike get() it leaves nothing behind in the source. May be
  // called from any number of threads. Errors: as get(), and kModel for a file that fails.
  virtual void read(const std::string& name, const Shape& shape, std::span<std::byte> out) = 0;
  // Memory that read() takes for this tensor beside `out`, and may keep.
  virtual std::size_t staging_bytes(const std::string&, const Shape&) { return 0; }
};

// A visitor that fills each field from `source`, which must outlive it, under prefix + name.
VisitFn bind_from(WeightSource& source, std::string prefix = {});

// Tensors of a catalog, which it owns; zero copy. get() and has() may be called from any number of threads.
//
// Accepts what real files vary in: each of `optional_prefixes` may be there or not; T5's embedding is called
// shared.weight or encoder.embed_tokens.weight; a 1×1 convolution's weight is [out, in, 1, 1] or [out, in]; a
// matrix may be quantised (weights/scales.h).
class CatalogSource : public WeightSource {
 public:
  // Errors: as check_companions().
  explicit CatalogSource(Catalog catalog, std::vector<std::string> optional_prefixes = {"text_model."});
  // Errors: kModel naming the file, the tensor and both shapes (or types); for a name that is not there the
  // file and up to three of its names that come nearest.
  Tensor get(const std::string& name, const Shape& shape) override;
  bool has(const std::string& name) const override;
  Tensor describe(const std::string& name, const Shape& shape) override;
  void read(const std::string& name, const Shape& shape, std::span<std::byte> out) override;
  // The name in the catalog of the tensor that has this shape, whatever its type. Errors: as get().
  std::string locate(const std::string& name, const Shape& shape) const;
  // Names, files and totals.
  const Catalog& catalog() const { return catalog_; }

 private:
  // The name in the catalog, empty when none fits.
  std::string resolve(const std::string& name) const;
  // A tensor that can be computed with as it is stored, and its scales.
  struct Found {
    std::string name;
    DType dtype = DType::kF32;
    std::optional<StoredScales> scales;
  };
  // Errors: as get().
  Found find(const std::string& name, const Shape& shape) const;
  Catalog catalog_;
  std::vector<std::string> optional_prefixes_;
};

struct DummyOptions {
  DType dtype = DType::kBF16;  // or kF32
  // Each tensor gets memory of its own, as loaded weights have. Without it all tensors are views into a few
  // shared blocks, about as large as the largest tensor, so that a model of any size starts; the values are
  // the same.
  bool materialise = false;
};

// Weights from a formula, no file needed. A tensor depends on its name, its shape and nothing else; f32 and
// bf16 give the same numbers. They are pseudo-random and keep a network of any width well conditioned:
//   - two or more extents: uniform, mean 0, standard deviation 1/√fan_in to within a factor of √2, where
//   fan_in is the
//     product of all extents but the first;
//   - one extent and not a bias (norms): uniform in 1 ± 1/8;
//   - a bias (the name ends in "bias"): uniform, standard deviation near 1/64.
class DummySource : public WeightSource {
 public:
  // Errors: kFailure for another dtype.
  explicit DummySource(const DummyOptions& options);
  explicit DummySource(DType dtype) : DummySource(DummyOptions{.dtype = dtype}) {}
  ~DummySource() override;
  // Errors: kOutOfMemory.
  Tensor get(const std::string& name, const Shape& shape) override;
  bool has(const std::string&) const override { return true; }
  Tensor describe(const std::string&, const Shape& shape) override {
    return Tensor(nullptr, options_.dtype, shape, Device::kNone);
  }
  void read(const std::string& name, const Shape& shape, std::span<std::byte> out) override;

  // Memory filled so far.
  std::size_t filled_bytes() const;

 private:
  struct Pattern;
  DummyOptions options_;
  std::map<int, std::unique_ptr<Pattern>> patterns_;  // by kind and scale
  std::vector<Buffer> owned_;                         // materialise
};

// No numbers at all: tensors of Device::kNone for the dry-run backend. May be called from any number of
// threads.
class PlanSource : public WeightSource {
 public:
  explicit PlanSource(DType dtype) : dtype_(dtype) {}
  Tensor get(const std::string&, const Shape& shape) override {
    return Tensor(nullptr, dtype_, shape, Device::kNone);
  }
  bool has(const std::string&) const override { return true; }
  Tensor describe(const std::string& name, const Shape& shape) override { return get(name, shape); }
  // Leaves `out` as it is.
  void read(const std::string&, const Shape&, std::span<std::byte>) override {}

 private:
  DType dtype_;
};

}  // namespace darkroom
