// The unigram model of SentencePiece: the split of a word into pieces whose log-probabilities have the
// largest sum. Not a tokenizer: it knows no spaces and no special tokens.
#pragma once

#include <cstdint>
#include <nlohmann/json_fwd.hpp>
#include <string>
#include <string_view>
#include <vector>

#include "text/piece_trie.h"

namespace darkroom {

// Immutable; reading is thread-safe.
class UnigramModel {
 public:
  struct Piece {
    std::string_view text;  // only read while building
    double score = 0;
    bool used = true;  // else it takes an id, and nothing more
  };

  UnigramModel() = default;
  // The index of a piece is its id. `unknown`: the id that stands for what is no piece. Errors: kModel with
  // `where`: no pieces, more than 4 MB of them, a piece of none or more than 1024 bytes, two that are the
  // same, a score that is not finite, `unknown` not among them. Only pieces that are used are looked at.
  UnigramModel(const std::vector<Piece>& pieces, int32_t unknown, const std::string& where);
  // The same from a list of [piece, score]. Errors: also for wrong types.
  UnigramModel(const nlohmann::json& vocabulary, int32_t unknown, const std::string& where);

  int32_t size() const { return static_cast<int32_t>(scores_.size()); }
  // The id of a piece, -1 for none.
  int32_t find(std::string_view piece) const { return trie_.find(piece); }

  // Appends the ids of one word of valid UTF-8; several unknown characters in a row are one id. Ties go to
  // the split that was found first, as in Hugging Face tokenizers. Time is linear.
  void encode(std::string_view word, std::vector<int32_t>& ids) const;

 private:
  PieceTrie trie_;
  std::vector<double> scores_;
  double unknown_score_ = 0;
  int32_t unknown_ = 0;
};

}  // namespace darkroom
