// The vocabularies of CLIP and T5 that are part of the library, for models that come without tokenizer files.
// Not the tokenizers. Called by them. tools/tokenizers/make_data.py makes the data and says how they are laid
// out; cmake/embed.cmake puts them into the program.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace darkroom {

extern const std::string_view kClipMerges, kT5Pieces;  // packed, as in assets/tokenizers

// The ids of the left and the right half of each merge, in order.
std::vector<std::pair<uint16_t, uint16_t>> built_in_clip_merges();

// T5's pieces without its sentinels: <pad>, </s>, <unk>, then ordinary ones.
struct BuiltInPieces {
  std::vector<std::string> texts;
  std::vector<float> scores;
  std::string charsmap;
};
BuiltInPieces built_in_t5_pieces();

// What ClipTokenizer::built_in() and T5Tokenizer::built_in() add to the process: tables (2.0 and 2.2 MB), and
// what the heap keeps from loading them (0.6 and 5.2 MB). Measured.
constexpr std::size_t kBuiltInClipTokenizerBytes = 2'600'000, kBuiltInT5TokenizerBytes = 7'400'000;
constexpr std::size_t built_in_tokenizer_bytes() {
  return kBuiltInClipTokenizerBytes + kBuiltInT5TokenizerBytes;
}

}  // namespace darkroom
