// The tokenizers of an opened model: that which lies in the encoder's file (checkpoint/own_config.h), the folder
// beside it in diffusers layout, that of T5's GGUF file, or else the built-in one. As ids of a prompt, and as files
// for other programs.
#pragma once

#include <cstdint>
#include <filesystem>
#include <map>
#include <memory>
#include <mutex>
#include <string>

#include "checkpoint/checkpoint.h"

namespace darkroom {

class ClipTokenizer;
class GgufFields;
class T5Tokenizer;

// The files of a tokenizer folder by their names, as text.
using TokenizerTexts = std::map<std::string, std::string>;
inline constexpr const char* kTokenizerFiles[] = {"tokenizer.json", "vocab.json", "merges.txt",
                                                  "tokenizer_config.json", "special_tokens_map.json"};

// Makes a model's tokenizers when they are first asked for, and keeps them. Calls may come from several threads.
class Tokenizers {
 public:
  Tokenizers();
  ~Tokenizers();
  // See Checkpoint::tokenize(). `model` must be the same in each call.
  Tokens tokenize(const Checkpoint& model, const std::string& prompt, int64_t max_text_tokens);

 private:
  std::mutex mutex_;
  std::unique_ptr<ClipTokenizer> clip_;
  std::unique_ptr<T5Tokenizer> t5_;
};

// About what they hold in memory; 0 for a dummy.
std::size_t tokenizer_bytes(const Checkpoint& model);

// "tokenizer" of CLIP, "tokenizer_2" of T5.
std::string tokenizer_name(Part part);
// The folder of that name beside the encoder's; empty when there is none, or when the encoder's own file has one.
std::filesystem::path tokenizer_folder(const Checkpoint& model, Part part);

// The files of a tokenizer that is in no folder: those in the encoder's file, or made from its GGUF fields or from the
// built-in data. None when the built-in one has more tokens than the encoder. Errors: kModel.
TokenizerTexts tokenizer_texts(const Checkpoint& model, Part part);

// Whether these are FLUX.1's own vocabulary, which is built in. Errors: kModel for files that are invalid; `where`
// is the name of their folder in messages.
bool is_built_in_tokenizer(Part part, const TokenizerTexts& texts, const std::string& where);

// Sets the fields tokenizer.ggml that llama.cpp writes for T5; tokens that are not used make up for the rows of the
// embedding that are more. Nothing without a tokenizer.json. Errors: kModel, as above, and when the rows are fewer.
void set_t5_tokenizer(const TokenizerTexts& texts, int64_t vocab_size, const std::string& where,
                      GgufFields& fields);

}  // namespace darkroom
