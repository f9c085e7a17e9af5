// T5's vocabulary as GGUF files carry it, by the names that follow tokenizer.ggml there. Not the tokenizer.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

namespace darkroom {

// The index of a piece is its id.
struct T5Pieces {
  enum Type : int32_t { kNormal = 1, kUnknown, kControl, kUserDefined, kUnused, kByte };
  // As llama.cpp's converter writes them.
  static constexpr float kUserDefinedScore = -1000, kUnusedScore = -10'000;

  std::vector<std::string> tokens;
  std::vector<float> scores;
  std::vector<int32_t> token_type;
  std::string precompiled_charsmap = {};  // its bytes; empty: texts stay as they are
  bool add_space_prefix = true;
  int32_t eos = 1, unknown = 2, padding = 0;

  std::size_t size() const { return tokens.size(); }
  void add(std::string token, float score, int32_t type);
  bool operator==(const T5Pieces&) const = default;
};

// Errors: kModel with `where`: lists of different lengths, types that T5 has not, special ids that are no
// pieces, pieces that are not UTF-8.
void check_pieces(const T5Pieces& pieces, const std::string& where);

// Without the unused pieces at the end, and with T5's 100 sentinels <extra_id_N>, user-defined, if the file has
// none of its own: they take the first unused ids at the end, where there is room. Errors: as check_pieces().
T5Pieces with_sentinels(T5Pieces pieces, const std::string& where);

// Google's, with its sentinels.
T5Pieces built_in_t5();

}  // namespace darkroom
