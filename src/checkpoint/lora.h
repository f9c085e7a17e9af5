// One LoRA file (arXiv 2106.09685, and LyCORIS' kinds: 2108.06098, 2309.14859) on one model: what it changes.
//
// Files are untrusted: every shape is checked against the model here, numbers when they are read. A difference
// of low rank stays two matrices beside the weight; any other is added to the weight when that is read
// (checkpoint/lora_source.h).
#pragma once

#include <array>
#include <filesystem>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "base/sha256.h"
#include "checkpoint/lora_keys.h"
#include "weights/tensor_file.h"

namespace darkroom {

class Checkpoint;

// Every name that a module of a model may have in a LoRA, and what it is there. Made once for a model.
class LoraNames {
 public:
  struct Target {
    Part part;
    Param param;
    StoredPlace place;
  };
  explicit LoraNames(const Checkpoint& model);
  // Null for a name that no module has.
  const std::vector<Target>* find(std::string_view module) const;
  bool has_guidance() const { return has_guidance_; }

 private:
  std::map<std::string, std::vector<Target>, std::less<>> targets_;
  bool has_guidance_;
};

class Lora {
 public:
  // W += strength·factor·up·down, `rows` of up (all of them where there are none).
  struct LowRank {
    const StoredTensor *down, *up;
    int64_t rank;
    double factor;  // alpha/rank
    std::vector<RowRange> rows;
  };
  // W += strength·factor·difference, `rows` of the module's; kSet puts the tensor in W's place.
  struct Dense {
    enum class Kind : uint8_t { kDiff, kSet, kLokr, kLoha };
    Kind kind;
    // kDiff, kSet: one; kLokr: w1 or w1a and w1b, then w2 likewise, null where there is none; kLoha: w1a, w1b,
    // w2a, w2b.
    std::array<const StoredTensor*, 4> tensors;
    double factor;
    std::vector<RowRange> rows;
  };
  struct Change {
    std::vector<LowRank> low_rank;
    std::vector<Dense> dense;
  };

  // The header is read, and the alphas. Errors: kModel, beginning with the file: no such file, a LoRA for
  // another model or of a kind that is not supported, shapes that do not fit (with both), a bad alpha.
  static std::shared_ptr<const Lora> open(const std::filesystem::path& path, const Checkpoint& model);
  Lora(TensorFile file, const LoraNames& names);
  Lora(const Lora&) = delete;
  Lora& operator=(const Lora&) = delete;

  // Null where the file leaves a parameter of the part as it is.
  const Change* find(Part part, const std::string& param) const;
  bool touches(Part part) const { return !changes_[static_cast<std::size_t>(part)].empty(); }
  const TensorFile& file() const { return file_; }
  // What the user should know: tensors that match nothing.
  const std::vector<std::string>& notes() const { return notes_; }
  // About what this holds in memory.
  std::size_t header_bytes() const;

 private:
  using Pieces = std::map<LoraPiece, const StoredTensor*>;
  struct Module {
    Pieces pieces;
    std::size_t used = 0;  // a bit for each piece
    bool matched = false;
  };
  void sort_names();
  void take(Part part, const Param& param, const StoredPlace& place, std::string_view name, Module& module);
  void take_matrix(const Param& param, const StoredPlace& place, std::string_view name, Module& module,
                   Change& change) const;
  void take_vector(const Param& param, const StoredPlace& place, std::string_view name, Module& module,
                   Change& change) const;
  void take_whole(const Param& param, const StoredPlace& place, const StoredTensor& stored, Dense::Kind kind,
                  double factor, Change& change) const;
  double factor_of(std::string_view name, Module& module, int64_t rank) const;
  void refuse_unsupported(const Param& param, std::string_view name, const Module& module) const;
  void require_shape(const StoredTensor& stored, std::vector<int64_t> expected) const;
  void tell_rest(bool has_guidance);

  TensorFile file_;
  std::map<std::string, Module, std::less<>> modules_;
  std::vector<const StoredTensor*> strangers_;  // whose names end in no known way
  std::map<std::string, double, std::less<>> metadata_alphas_;
  bool root_of_rank_ = false;  // alpha/√rank, as the metadata says
  std::array<std::map<std::string, Change>, 4> changes_;
  std::vector<std::string> notes_;
};

// A LoRA with its strength.
struct LoraUse {
  std::shared_ptr<const Lora> lora;
  double strength = 1;
};
using LoraUses = std::vector<LoraUse>;

// SHA-256 of the file's bytes. Errors: kModel.
Digest file_digest(const std::filesystem::path& path);

}  // namespace darkroom
