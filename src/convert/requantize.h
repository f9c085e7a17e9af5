// One tensor at a time from its source into a file, in other numbers or as it is, through blocks of rows.
#pragma once

#include <atomic>
#include <functional>
#include <optional>

#include "base/new_folder.h"
#include "base/threads.h"
#include "convert/part_source.h"
#include "tensor/buffer.h"
#include "weights/storage.h"

namespace darkroom {

// "bf16", "fp8", "fp8-scaled", "int8". Errors: kUsage, beginning with `what`.
WeightStorage parse_form(const std::string& name, const std::string& what);

// What a tensor becomes in the output.
struct Converted {
  const SourceTensor* source = nullptr;
  WeightStorage form = WeightStorage::kAsStored;
  StoredTensor weight;
  std::optional<StoredTensor> scale = {};  // "X.weight_scale", f32, [] or [rows]
};

// `form` is what the matrices of this part shall become; other tensors, and matrices that are there already,
// stay as they are stored. Errors: kModel for a matrix whose type cannot be converted.
Converted plan_tensor(const SourceTensor& source, WeightStorage form);

// Holds three blocks of memory, about kBlockBytes each (more where a single row has more).
class Requantizer {
 public:
  static constexpr std::size_t kBlockBytes = 32 << 20;

  // on_bytes gets the number of bytes that were written since the last call. cancel must outlive this.
  Requantizer(int threads, const std::atomic<bool>& cancel, std::function<void(std::size_t)> on_bytes)
      : pool_(threads), cancel_(cancel), on_bytes_(std::move(on_bytes)) {}

  // Writes the tensor, and its scale, at their places behind `data_begin`. Errors: kModel with the place of
  // what cannot be converted (NaN, infinity) or read; kOutput; kCancelled.
  void write(const Converted& tensor, NewFile& file, std::size_t data_begin);

  // Tensors so far with values that plain fp8 does not reach, which became ±448, and the first of them.
  std::size_t clamped_tensors() const { return clamped_; }
  const std::string& first_clamped() const { return first_clamped_; }

 private:
  using UseBlock = std::function<void(int64_t first_row, const Tensor& rows)>;
  using UseRows = std::function<void(int64_t first, int64_t count)>;
  void copy(const ReadFn& read, const StoredTensor& to, NewFile& file, std::size_t data_begin);
  void for_blocks(const SourceTensor& source, const UseBlock& use);
  void for_rows(const SourceTensor& source, int64_t first_row, const Tensor& rows, const UseRows& use);
  float largest(const SourceTensor& source, int64_t first_row, const Tensor& rows);
  void stop_if_cancelled() const;

  ThreadPool pool_;
  const std::atomic<bool>& cancel_;
  std::function<void(std::size_t)> on_bytes_;
  Buffer stored_, wide_, out_;
  std::size_t clamped_ = 0;
  std::string first_clamped_;
};

}  // namespace darkroom
