// Matrices in another storage than that of the files: quantised, or widened to bf16, whenever they are read.
//
// So that what is in memory is the smaller one, whatever was downloaded; the numbers are those that
// quantize.h gives, the same as in a file that was quantised once.
#pragma once

#include <memory>
#include <mutex>
#include <set>
#include <string>
#include <utility>

#include "weights/source.h"
#include "weights/storage.h"

namespace darkroom {

// A source whose quantizable matrices come in the chosen storage; everything else, and what is in that storage already (for
// fp8: any f8, scaled or not), comes as `base` has it. So does, of block types, a matrix whose rows are no
// whole blocks.
class RequantizingSource : public WeightSource {
 public:
  RequantizingSource(std::unique_ptr<WeightSource> base, StorageChoice choice)
      : base_(std::move(base)), choice_(choice) {}
  Tensor describe(const Param& param) override;
  // One parameter at a time, whatever the number of threads. Errors: also kModel for weights that are not
  // finite.
  void read(const Param& param, std::span<std::byte> out) override;
  std::size_t staging_bytes(const Param& param) override;
  std::optional<LoraParams> lora_of(const Param& param) override { return base_->lora_of(param); }
  // Which matrices have values beyond the largest of the storage, which they became.
  std::string note() override;

 private:
  WeightStorage storage_of(const Param& param) const;
  bool changes(const Param& param, const Tensor& stored) const;
  std::unique_ptr<WeightSource> base_;
  StorageChoice choice_;
  std::mutex mutex_;
  std::set<std::string> clamped_;  // names
  Buffer staging_;                 // a matrix as `base` has it; stays, as large as the largest so far
};

}  // namespace darkroom
