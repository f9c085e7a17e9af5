// T5's tokenizer: a prompt in, ids out. Not the text encoder.
//
// Gives the ids of T5TokenizerFast in Hugging Face transformers 5.23 over tokenizers 0.23, loaded from the
// same folder. That class takes the vocabulary, the character map and the added tokens from the files and
// nothing else: added tokens out, character map, split at white space, U+2581 in front of each word, unigram
// model. The normaliser's other steps and the pre-tokenizer of tokenizer.json play no part.
#pragma once

#include <cstdint>
#include <filesystem>
#include <optional>
#include <string>
#include <vector>

#include "text/added_tokens.h"
#include "text/charsmap.h"
#include "text/t5_pieces.h"
#include "text/token_ids.h"
#include "text/unigram.h"

namespace darkroom {

// The files of a tokenizer folder as text; a missing value is a file that the folder lacks.
struct T5TokenizerFiles {
  std::string tokenizer_json;
  std::optional<std::string> tokenizer_config_json;
  std::optional<std::string> special_tokens_map_json;
};

// Movable and copyable; encode() may be called from several threads at once.
class T5Tokenizer {
 public:
  // Reads a folder as diffusers lays it out (tokenizer_2). Errors: kModel, naming the file.
  static T5Tokenizer load(const std::filesystem::path& folder);
  // The same from memory; `where` is the name of the folder in messages.
  static T5Tokenizer from_files(const T5TokenizerFiles& files, const std::filesystem::path& where);
  // Gives the ids of the tokenizer_2 folder that the same vocabulary would have. All pieces but normal ones
  // are looked for in the prompt as it is; unused ones pad the embedding and are no pieces, but see
  // with_sentinels(). `remove_extra_whitespaces` plays no part: no piece goes over a space. Errors: kModel with
  // `where`: what check_pieces(), UnigramModel and Charsmap refuse.
  static T5Tokenizer from_pieces(const T5Pieces& pieces, const std::string& where);
  // The other way round, for a GGUF file. Added tokens are user-defined pieces, which know no flags, and scores
  // are rounded to f32: what T5's own files say stays as it is. Errors: as from_files().
  static T5Pieces pieces_of(const T5TokenizerFiles& files, const std::filesystem::path& where);
  // Google's, which all FLUX.1 models have; it is part of the library, for models that come without one.
  static T5Tokenizer built_in();

  // At most max_tokens - 1 ids of the prompt, </s>, and the padding token up to exactly max_tokens. Bytes
  // that are no UTF-8 count as U+FFFD each. Errors: kUsage unless 1 <= max_tokens <= 1000000.
  TokenIds encode(const std::string& prompt, int64_t max_tokens) const;

  // One more than the largest id that encode() can give.
  int32_t vocabulary_size() const { return vocabulary_size_; }

 private:
  T5Tokenizer() = default;
  // Append until there are more than `limit` ids; false then.
  bool append_prompt(const std::string& prompt, std::size_t limit, std::vector<int32_t>& ids) const;
  bool append_words(std::string_view text, std::size_t limit, std::vector<int32_t>& ids) const;
  bool append_word(std::string_view word, std::size_t limit, std::vector<int32_t>& ids) const;

  UnigramModel model_;
  Charsmap charsmap_;
  AddedTokenFinder raw_tokens_, normalized_tokens_;
  int32_t eos_ = 0, pad_ = 0;
  int32_t vocabulary_size_ = 0;
};

}  // namespace darkroom
