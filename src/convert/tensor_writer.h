// One tensor of the output at a time, through blocks of rows.
#pragma once

#include <atomic>
#include <functional>
#include <map>
#include <string>
#include <vector>

#include "base/new_folder.h"
#include "base/threads.h"
#include "convert/target.h"
#include "tensor/buffer.h"

namespace darkroom {

// Holds two blocks of memory, about kBlockBytes each (more where a single row has more), and a little for each
// thread.
class TensorWriter {
 public:
  static constexpr std::size_t kBlockBytes = 32 << 20;

  // on_bytes gets the number of bytes that were written since the last call. pool and cancel must outlive this.
  TensorWriter(ThreadPool& pool, const std::atomic<bool>& cancel, std::function<void(std::size_t)> on_bytes)
      : pool_(pool), cancel_(cancel), on_bytes_(std::move(on_bytes)) {}

  // Writes the tensor, and its scale, at their places behind `data_begin`. Errors: kModel with the place of
  // what cannot be converted (NaN, infinity) or read; kOutput; kCancelled.
  void write(const Target& target, NewFile& file, std::size_t data_begin);

  // Tensors so far with values beyond what plain fp8 or f16 hold, the first of them and its type.
  std::size_t clamped_tensors() const { return clamped_; }
  const std::string& first_clamped() const { return first_clamped_; }
  DType clamped_dtype() const { return clamped_dtype_; }

 private:
  using Scales = std::map<const SourceTensor*, std::vector<float>>;
  void copy_extra(const Target& target, NewFile& file, std::size_t at);
  void copy_pieces(const Target& target, NewFile& file, std::size_t at);
  std::vector<float> convert(const Target& target, NewFile& file, std::size_t at);
  Tensor read(const Target& target, int64_t first, int64_t count, const Scales& scales);
  void put(NewFile& file, std::size_t at, std::span<const std::byte> bytes);
  void stop_if_cancelled() const;

  ThreadPool& pool_;
  const std::atomic<bool>& cancel_;
  std::function<void(std::size_t)> on_bytes_;
  Buffer stored_, out_;
  std::size_t clamped_ = 0;
  std::string first_clamped_;
  DType clamped_dtype_ = DType::kF8E4M3;
};

}  // namespace darkroom
