// Matrices in another storage than that of the files: quantised, or widened to bf16, whenever they are read.
//
// So that what is in memory is the smaller one, whatever was downloaded; the numbers are those that
// quantize.h gives, the same as in a file that was quantised once. Called by the pipeline, between a source
// and the phases.
#pragma once

#include <functional>
#include <list>
#include <memory>
#include <mutex>
#include <string>

#include "weights/source.h"
#include "weights/storage.h"

namespace darkroom {

// A source whose chosen matrices come in `storage`; everything else, and what is in that storage already (for
// fp8: any f8, scaled or not), comes as `base` has it. So does, of block types, a matrix whose rows are no
// whole blocks.
class RequantizingSource : public WeightSource {
 public:
  // `chosen`: by name, which tensors of two extents.
  RequantizingSource(std::unique_ptr<WeightSource> base, WeightStorage storage,
                     std::function<bool(const std::string& name)> chosen);
  Tensor get(const std::string& name, const Shape& shape) override;
  bool has(const std::string& name) const override { return base_->has(name); }
  Tensor describe(const std::string& name, const Shape& shape) override;
  // One tensor at a time, whatever the number of threads. Errors: also kModel for weights that are not
  // finite.
  void read(const std::string& name, const Shape& shape, std::span<std::byte> out) override;
  std::size_t staging_bytes(const std::string& name, const Shape& shape) override;

 private:
  bool changes(const std::string& name, const Tensor& stored) const;
  std::unique_ptr<WeightSource> base_;
  WeightStorage storage_;
  std::function<bool(const std::string&)> chosen_;
  std::mutex mutex_;
  Buffer staging_;           // a matrix as `base` has it; stays, as large as the largest so far
  std::list<Buffer> owned_;  // of get()
};

}  // namespace darkroom
