// Matrices in another storage than that of the files: quantised, or widened to bf16, whenever they are read; and
// with smoothing factors or without.
//
// So that what is in memory is the smaller one, whatever was downloaded; the numbers are those that
// quantize.h gives, the same as in a file that was quantised once.
#pragma once

#include <functional>
#include <memory>
#include <mutex>
#include <set>
#include <string>
#include <utility>

#include "base/threads.h"
#include "weights/smoothing.h"
#include "weights/source.h"
#include "weights/storage.h"

namespace darkroom {

// A source whose quantizable matrices come in the chosen storage; everything else, and what is in that storage already (for
// fp8: any f8, scaled or not), comes as `base` has it; i8 of more levels than the blocks are to have is quantised
// again. So comes, of block types, a matrix whose rows are no whole blocks.
//
// With a choice of smoothing the columns of the blocks' matrices are divided by its factors first, and the
// factors come beside them. Where `base` has factors of its own its matrices are divided already: they are taken so
// for 8-bit products, else they are multiplied by the factors again, and as-stored means bf16.
class RequantizingSource : public WeightSource {
 public:
  RequantizingSource(std::unique_ptr<WeightSource> base, StorageChoice choice)
      : base_(std::move(base)), choice_(choice) {}
  Tensor describe(const Param& param) override;
  // One parameter at a time, whoever calls; its rows on choice.threads threads. Errors: also kModel for weights that are not
  // finite.
  void read(const Param& param, std::span<std::byte> out) override;
  std::size_t staging_bytes(const Param& param) override;
  std::optional<LoraParams> lora_of(const Param& param) override { return base_->lora_of(param); }
  std::optional<Param> smooth_of(const Param& param) override;
  std::string place_of(const Param& param) override { return base_->place_of(param); }
  // Which matrices have values beyond the largest of the storage, which they became.
  std::string note() override;

 private:
  // What is done with the columns of a matrix by smoothing factors.
  enum class Columns : uint8_t { kLeft, kDivided, kMultiplied };
  Columns columns_of(const Param& param) const;
  std::vector<float> column_factors(const Param& param) const;
  bool is_smooth_param(const Param& param) const;
  int32_t levels_of(const Param& param) const;  // 0: not one of those that become i8 for 8-bit products
  WeightStorage storage_of(const Param& param) const;
  std::string_view kind_of(const Param& param) const;  // for messages
  bool changes(const Param& param, const Tensor& stored) const;
  std::unique_ptr<WeightSource> base_;
  StorageChoice choice_;
  std::mutex mutex_;
  void run_tasks(int64_t count, const std::function<void(int64_t)>& task);
  std::unique_ptr<ThreadPool> threads_;  // from the first matrix on
  std::set<std::string> clamped_;        // names
  Buffer staging_;                       // a matrix as `base` has it; stays, as large as the largest so far
};

}  // namespace darkroom
