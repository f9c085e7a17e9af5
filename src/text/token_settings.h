// What the small JSON files of a tokenizer folder say about special and added tokens. Not the vocabulary.
// Follows PreTrainedTokenizerBase._from_pretrained of Hugging Face transformers 5.
#pragma once

#include <cstdint>
#include <filesystem>
#include <functional>
#include <nlohmann/json_fwd.hpp>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "text/added_tokens.h"

namespace darkroom {

// The named tokens; empty: the tokenizer has none of that name.
struct NamedTokens {
  std::string bos, eos, unk, pad;
};

struct TokenSettings {
  std::vector<AddedToken> raw;         // looked for in the prompt as it is
  std::vector<AddedToken> normalized;  // looked for after normalisation; the contents are not normalised yet
  NamedTokens named;
  int32_t vocabulary_size = 0;  // one more than the largest id, of the pieces and the added tokens
};

// The parsed files; null for one that the folder lacks.
struct TokenSettingsFiles {
  const nlohmann::json* tokenizer_config = nullptr;
  const nlohmann::json* special_tokens_map = nullptr;
  const nlohmann::json* tokenizer_json = nullptr;  // an object; its vocabulary plays no part here
};

// tokenizer_config.json decides; only without its added_tokens_decoder do the other two count. `defaults` are
// the class's own names. `vocabulary_size` and `find` (the id of a piece, or -1) are the model's: a token
// that is no piece gets the next id after the vocabulary. `folder` is where the messages look for the files.
// Errors: kModel, naming the file, for fields of a wrong type, ids that differ from the vocabulary's, tokens
// listed twice, and padding or truncation on the left side, which no FLUX model uses.
TokenSettings read_token_settings(const TokenSettingsFiles& files, const NamedTokens& defaults,
                                  const std::vector<std::string>& extras, int32_t vocabulary_size,
                                  const std::function<int32_t(std::string_view)>& find,
                                  const std::filesystem::path& folder);

// The field of that name. Errors: kModel with `where` when `object` is none, or the field is absent or null.
const nlohmann::json& required_field(const nlohmann::json& object, const char* name,
                                     const std::string& where);

// The text of a file that may be absent. Errors: kModel when it is unreadable or too large.
std::optional<std::string> read_optional_file(const std::filesystem::path& path, std::size_t max_bytes);
// The same as JSON. Errors: kModel with `path`.
std::optional<nlohmann::json> parse_optional(const std::optional<std::string>& text,
                                             const std::filesystem::path& path);

}  // namespace darkroom
