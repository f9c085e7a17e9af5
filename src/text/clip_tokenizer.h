// CLIP's tokenizer: a prompt in, ids out. Not the text encoder.
//
// Gives the ids of CLIPTokenizer in Hugging Face transformers 5.23 over tokenizers 0.23, loaded from the same
// folder: added tokens out, NFC, white space to one space, lower case, added tokens again, CLIP's word
// pattern, byte-pair encoding. Neither ftfy nor HTML entities play a part there.
#pragma once

#include <cstdint>
#include <filesystem>
#include <optional>
#include <string>
#include <vector>

#include "text/added_tokens.h"
#include "text/byte_pair.h"
#include "text/token_ids.h"

namespace darkroom {

// The files of a tokenizer folder as text; a missing value is a file that the folder lacks. With a
// tokenizer.json, vocab.json and merges.txt play no part.
struct ClipTokenizerFiles {
  std::optional<std::string> tokenizer_json = {};
  std::string vocab_json = {};
  std::string merges_txt = {};
  std::optional<std::string> tokenizer_config_json;
  std::optional<std::string> special_tokens_map_json;
};

// Movable and copyable; encode() may be called from several threads at once.
class ClipTokenizer {
 public:
  // Reads a folder as diffusers lays it out: vocab.json and merges.txt, or a tokenizer.json, as
  // transformers 5 saves it; of both kinds the tokenizer.json counts. Errors: kModel, naming the file;
  // also for a tokenizer.json whose normalizer or pre_tokenizer is not CLIP's, although transformers 5
  // would take CLIP's.
  static ClipTokenizer load(const std::filesystem::path& folder);
  // The same from memory; `where` is the name of the folder in messages.
  static ClipTokenizer from_files(const ClipTokenizerFiles& files, const std::filesystem::path& where);
  // OpenAI's, which all FLUX.1 models have; it is part of the library, for models that come without one.
  static ClipTokenizer built_in();

  // Whether it gives every prompt the ids of built_in().
  bool is_built_in() const;

  // <|startoftext|>, at most max_tokens - 2 ids of the prompt, <|endoftext|>, and the padding token up to
  // exactly max_tokens. Bytes that are no UTF-8 count as U+FFFD each. Errors: kUsage unless
  // 2 <= max_tokens <= 1000000.
  TokenIds encode(const std::string& prompt, int64_t max_tokens) const;

  // One more than the largest id that encode() can give.
  int32_t vocabulary_size() const { return vocabulary_size_; }

 private:
  ClipTokenizer() = default;
  // Append until there are more than `limit` ids; false then.
  bool append_prompt(const std::string& prompt, std::size_t limit, std::vector<int32_t>& ids) const;
  bool append_words(std::string_view text, std::size_t limit, std::vector<int32_t>& ids) const;

  BytePairModel model_;
  AddedTokenFinder raw_tokens_, normalized_tokens_;
  int32_t bos_ = 0, eos_ = 0, pad_ = 0;
  int32_t vocabulary_size_ = 0;
};

}  // namespace darkroom
