// Byte-pair encoding of single words over a vocabulary of byte-level pieces, as CLIP uses it. Not a
// tokenizer: it knows no spaces and no special tokens.
#pragma once

#include <array>
#include <cstdint>
#include <nlohmann/json_fwd.hpp>
#include <string>
#include <string_view>
#include <unordered_map>
#include <utility>
#include <vector>

namespace darkroom {

// The 256 characters that spell bytes, in the order of the ids that GPT-2 and CLIP give them.
std::vector<std::string> byte_pieces();

// Immutable; reading is thread-safe.
class BytePairModel {
 public:
  BytePairModel() = default;
  // `vocab_json`: an object of piece -> id in which the ids are 0 to count - 1; pieces spell bytes with
  // GPT-2's byte alphabet and end in </w> at the end of a word. `merges_txt`: one "left right" per line,
  // first the one that goes first; lines that begin with #version are skipped. The paths are for
  // messages. Errors: kModel.
  static BytePairModel parse(std::string_view vocab_json, const std::string& vocab_path,
                             std::string_view merges_txt, const std::string& merges_path);
  // The same from the object `model` of a tokenizer.json: `vocab`, and `merges` as texts or as pairs. Errors:
  // kModel with `path`, also for another kind of model.
  static BytePairModel from_json(const nlohmann::json& model, const std::string& path);
  // The ids of the left and the right half of each merge, first the one that goes first, over the vocabulary
  // that follows from them: 256 bytes in GPT-2's order, the same at the end of a word, the merges. Each half
  // must be of a smaller id than its merge. The texts of the pieces are not kept: find() knows none.
  static BytePairModel from_merges(const std::vector<std::pair<uint16_t, uint16_t>>& merges);

  int32_t size() const { return size_; }
  // The id of a piece, -1 for none.
  int32_t find(const std::string& piece) const;
  // Which id stands for a byte that is no piece.
  void set_unknown(int32_t id) { unknown_ = id; }

  // Whether both give every word the same ids.
  bool encodes_as(const BytePairModel& other) const {
    return merges_ == other.merges_ && inner_ == other.inner_ && last_ == other.last_ &&
           unknown_ == other.unknown_;
  }

  // Appends the ids of one word, any bytes. Time is n log n.
  void encode(std::string_view word, std::vector<int32_t>& ids) const;

 private:
  struct Merge {
    int32_t rank, id;
    bool operator==(const Merge&) const = default;
  };
  void read_vocabulary(const nlohmann::json& object, const std::string& where);
  void add_merge_line(std::string_view line, int32_t rank, const std::string& where);
  void add_merge(const std::string& left, const std::string& right, int32_t rank, const std::string& where);
  const Merge* find_merge(int32_t left, int32_t right) const;

  std::unordered_map<std::string, int32_t> vocabulary_;
  std::unordered_map<uint64_t, Merge> merges_;  // by left id << 32 | right id
  std::array<int32_t, 256> inner_ = {};         // ids of the single bytes, -1 for none
  std::array<int32_t, 256> last_ = {};          // the same at the end of a word
  int32_t size_ = 0;
  int32_t unknown_ = 0;
};

}  // namespace darkroom
