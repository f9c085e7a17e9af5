// What a conversion reads of one part: its parameters, wherever they lie, and what else its files hold.
#pragma once

#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "base/threads.h"
#include "checkpoint/checkpoint.h"
#include "checkpoint/lora.h"
#include "weights/source.h"

namespace darkroom {

struct SourceTensor {
  std::string where;  // the file it lies in, for messages
  std::string name;   // there
  Param param;
  std::shared_ptr<WeightSource> source;
  Tensor stored;                       // without data: the type that reads give, and how many scales
  std::optional<Tensor> in_file = {};  // the same of the file, if its numbers are changed as they are read
  std::vector<int64_t> extents = {};   // in the file, if the parameter is all of that tensor and plain

  // "FILE: tensor 'NAME'", for messages.
  std::string place() const;
};

// A tensor that darkroom does not use.
struct ExtraTensor {
  std::string where;
  StoredTensor stored;  // `begin` is without meaning
  // Reads out.size() bytes from byte `offset` on. Errors: kModel.
  std::function<void(std::size_t offset, std::span<std::byte> out)> read;
};

struct PartSource {
  std::vector<SourceTensor> tensors;
  std::vector<ExtraTensor> extras;
};

// Of the VAE its encoder, too, if the files have it. With `extra_matrices`, tensors that darkroom does not use
// but that look like matrices are among `tensors`. The files stay open as long as one of the tensors lives; of
// a dummy, rows are made when they are read. Errors: kModel when the part or a file is missing or invalid, or
// lacks a tensor that the config asks for; a scale without its matrix.
PartSource list_tensors(const Checkpoint& model, Part part, bool extra_matrices);

// Adds the LoRAs to the parameters of the part that they change (checkpoint/lora_merge.h). The pool must outlive
// the tensors.
void merge_loras(PartSource& source, Part part, const LoraUses& loras, ThreadPool& pool);

}  // namespace darkroom
