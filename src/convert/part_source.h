// The tensors of one part of a model as they can be read piece by piece: from its files, with all that they
// hold (also what darkroom does not use), or from the dummies' formula.
#pragma once

#include <filesystem>
#include <functional>
#include <optional>
#include <string>
#include <vector>

#include "checkpoint/checkpoint.h"
#include "weights/safetensors_header.h"

namespace darkroom {

// Reads out.size() bytes of a tensor from byte `offset` on. Errors: kModel.
using ReadFn = std::function<void(std::size_t offset, std::span<std::byte> out)>;

struct SourceTensor {
  std::string where;    // the file it lies in, for messages
  StoredTensor stored;  // as the file has it; `begin` is without meaning
  ReadFn read;
  bool matrix = false;     // of a linear layer: may be converted
  bool sensitive = false;  // such a matrix that is never quantised (Param::sensitive)
  // The scale of a quantised matrix: a number, or one for each row. In the file it is a tensor of its own,
  // here it is not.
  std::optional<StoredTensor> scale = {};
  ReadFn read_scale = {};

  // "FILE: tensor 'NAME'", for messages.
  std::string place() const;
};

// Sorted by name. `folder` is where the model was opened, empty for a dummy. The files stay open as long as
// one of the tensors lives. Of a dummy, one tensor at a time is in memory. Errors: kModel when a file is
// missing or invalid, or lacks a tensor that the config asks for.
std::vector<SourceTensor> list_tensors(const Checkpoint& model, const std::filesystem::path& folder,
                                       Part part);

}  // namespace darkroom
