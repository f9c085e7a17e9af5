// The files of the folders tokenizer and tokenizer_2 of a model in diffusers layout, made from vocabularies that did
// not come as such, for transformers to read. Not their reader: see ClipTokenizer and T5Tokenizer.
#pragma once

#include <map>
#include <string>

#include "text/clip_tokenizer.h"
#include "text/t5_pieces.h"

namespace darkroom {

// By their names: vocab.json, merges.txt, tokenizer_config.json and special_tokens_map.json of OpenAI's CLIP.
std::map<std::string, std::string> built_in_clip_files();

// tokenizer.json, tokenizer_config.json and special_tokens_map.json, which give the same ids: to T5Tokenizer, and to
// T5TokenizerFast of transformers 4 and 5. A piece that is not used becomes one that no word can match. Errors: kModel
// with `where`: as check_pieces(), and when the unknown token is not 2, as T5TokenizerFast has it.
std::map<std::string, std::string> t5_files(const T5Pieces& pieces, const std::string& where);

}  // namespace darkroom
