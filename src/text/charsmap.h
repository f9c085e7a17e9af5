// SentencePiece's "precompiled_charsmap": the normalisation (mostly NFKC) that a T5 vocabulary was trained
// with. Not Unicode's own NFKC.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace darkroom {

// Immutable; reading is thread-safe.
class Charsmap {
 public:
  Charsmap() = default;  // leaves every text as it is
  // `bytes`: a little-endian u32 with the size of the trie in bytes, the trie (a Darts double array of u32
  // units), then replacements, each ended by a zero byte; a value of the trie is the offset of a replacement.
  // Every node that a text can reach is checked here. Errors: kModel with `where`.
  Charsmap(std::string_view bytes, const std::string& where);

  // As Hugging Face tokenizers does it: a grapheme cluster of less than 6 bytes is replaced whole when the
  // map has a key that it begins with, and the shortest such key counts; otherwise each code point is looked
  // up the same way. `text` must be valid UTF-8, and so is the result. Time is linear.
  std::string normalize(std::string_view text) const;

 private:
  void check_nodes(const std::string& where) const;
  void check_replacement(uint32_t offset, const std::string& where) const;
  // Appends what the shortest key in front of `text` stands for; false when there is no such key.
  bool append_replacement(std::string_view text, std::string& out) const;
  void append_cluster(std::string_view cluster, std::string& out) const;

  std::vector<uint32_t> units_;
  std::string replacements_;
};

}  // namespace darkroom
