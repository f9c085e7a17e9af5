#include "checkpoint/tokenizers.h"

#include <nlohmann/json.hpp>
#include <optional>
#include <system_error>

#include "base/error.h"
#include "base/foreign_file.h"
#include "checkpoint/own_config.h"
#include "text/built_in.h"
#include "text/clip_tokenizer.h"
#include "text/t5_tokenizer.h"
#include "text/tokenizer_files.h"
#include "weights/catalog.h"
#include "weights/gguf_fields.h"

namespace darkroom {
namespace {

namespace fs = std::filesystem;

const std::string kFieldsPrefix = "tokenizer.ggml.";

// Ids for a model without a tokenizer: one per byte, between the begin and end tokens that such a model would
// have.
std::vector<int32_t> byte_ids(const std::string& text, int64_t vocab, int64_t length, bool begin, int32_t end,
                              int32_t pad) {
  std::vector<int32_t> ids;
  if (begin) ids.push_back(static_cast<int32_t>(vocab - 2));
  for (const char byte : text) {
    if (static_cast<int64_t>(ids.size()) + 1 >= length) break;
    ids.push_back(3 + static_cast<unsigned char>(byte));
  }
  ids.push_back(end);
  ids.resize(static_cast<std::size_t>(length), pad);
  return ids;
}

Tokens dummy_tokens(const ModelConfig& config, const std::string& prompt, int64_t max_text_tokens) {
  const auto end = static_cast<int32_t>(config.clip.vocab_size - 1);
  return {.clip = byte_ids(prompt, config.clip.vocab_size, config.clip.max_positions, true, end, end),
          .t5 = byte_ids(prompt, config.t5.vocab_size, max_text_tokens, false, 1, 0),
          .notes = {}};
}

std::string cut_note(const char* encoder, int64_t limit) {
  return fmt::format(
      "the prompt is longer than the {} tokens that {} takes; the rest of it is not seen by it", limit,
      encoder);
}

// Nothing when there is none of that name.
std::optional<std::string> text_of(const TokenizerTexts& files, const char* name) {
  const auto found = files.find(name);
  return found == files.end() ? std::nullopt : std::optional(found->second);
}

ClipTokenizerFiles clip_files(const TokenizerTexts& texts) {
  return {.tokenizer_json = text_of(texts, "tokenizer.json"),
          .vocab_json = text_of(texts, "vocab.json").value_or(""),
          .merges_txt = text_of(texts, "merges.txt").value_or(""),
          .tokenizer_config_json = text_of(texts, "tokenizer_config.json"),
          .special_tokens_map_json = text_of(texts, "special_tokens_map.json")};
}

T5TokenizerFiles t5_texts(const TokenizerTexts& texts) {
  return {.tokenizer_json = text_of(texts, "tokenizer.json").value_or(""),
          .tokenizer_config_json = text_of(texts, "tokenizer_config.json"),
          .special_tokens_map_json = text_of(texts, "special_tokens_map.json")};
}

// Those that darkroom put into the file of an encoder.
TokenizerTexts own_texts(const Checkpoint& model, Part part) {
  const PartFiles* files = model.part_files(part);
  if (!files || !files->config.empty()) return {};
  return own_tokenizer(*files, tokenizer_name(part));
}

// The fields of the GGUF file that T5 lies in, if they hold a tokenizer.
const GgufFields* own_fields(const Checkpoint& model) {
  const PartFiles* files = model.part_files(Part::kT5);
  const GgufFields* fields = files && files->catalog ? files->catalog->files().at(0)->fields() : nullptr;
  return fields && fields->has(kFieldsPrefix + "tokens") ? fields : nullptr;
}

// Errors: kModel.
T5Pieces pieces_of(const GgufFields& fields) {
  const std::string& key = kFieldsPrefix;
  T5Pieces pieces;
  pieces.tokens = fields.texts(key + "tokens");
  pieces.scores = fields.numbers<float>(key + "scores");
  pieces.token_type = fields.numbers<int32_t>(key + "token_type");
  if (fields.has(key + "precompiled_charsmap")) {
    for (const int32_t byte : fields.numbers<int32_t>(key + "precompiled_charsmap")) {
      pieces.precompiled_charsmap += static_cast<char>(byte);
    }
  }
  if (fields.has(key + "add_space_prefix")) pieces.add_space_prefix = fields.flag(key + "add_space_prefix");
  const auto id = [&](const char* name, int32_t& value) {
    if (fields.has(key + name)) value = fields.number<int32_t>(key + name);
  };
  id("eos_token_id", pieces.eos);
  id("unknown_token_id", pieces.unknown);
  id("padding_token_id", pieces.padding);
  return pieces;
}

std::string place_of(const Checkpoint& model, Part part) {
  const PartFiles* files = model.part_files(part);
  return files ? files->where.string() : model.folder().string();
}

ClipTokenizer make_clip_tokenizer(const Checkpoint& model) {
  if (const TokenizerTexts own = own_texts(model, Part::kClip); !own.empty())
    return ClipTokenizer::from_files(clip_files(own),
                                     own_config_place(*model.part_files(Part::kClip), "tokenizer"));
  if (const fs::path folder = tokenizer_folder(model, Part::kClip); !folder.empty())
    return ClipTokenizer::load(folder);
  ClipTokenizer tokenizer = ClipTokenizer::built_in();
  require(tokenizer.vocabulary_size() <= model.config().clip.vocab_size, ErrorCode::kModel,
          "{}: there is no tokenizer, and CLIP's own has {} tokens where this encoder has {}",
          model.folder().string(), tokenizer.vocabulary_size(), model.config().clip.vocab_size);
  return tokenizer;
}

T5Tokenizer make_t5_tokenizer(const Checkpoint& model) {
  if (const TokenizerTexts own = own_texts(model, Part::kT5); !own.empty())
    return T5Tokenizer::from_files(t5_texts(own),
                                   own_config_place(*model.part_files(Part::kT5), "tokenizer_2"));
  if (const fs::path folder = tokenizer_folder(model, Part::kT5); !folder.empty())
    return T5Tokenizer::load(folder);
  const std::string where = place_of(model, Part::kT5);
  const GgufFields* fields = own_fields(model);
  T5Tokenizer tokenizer =
      fields ? T5Tokenizer::from_pieces(pieces_of(*fields), where) : T5Tokenizer::built_in();
  require(tokenizer.vocabulary_size() <= model.config().t5.vocab_size, ErrorCode::kModel,
          "{}: {} has {} tokens where this encoder has {}", where,
          fields ? "its tokenizer" : "there is no tokenizer, and T5's own", tokenizer.vocabulary_size(),
          model.config().t5.vocab_size);
  return tokenizer;
}

}  // namespace

Tokenizers::Tokenizers() = default;
Tokenizers::~Tokenizers() = default;

Tokens Tokenizers::tokenize(const Checkpoint& model, const std::string& prompt, int64_t max_text_tokens) {
  if (model.is_dummy()) return dummy_tokens(model.config(), prompt, max_text_tokens);
  const int64_t clip_length = model.config().clip.max_positions;
  const std::scoped_lock lock(mutex_);
  if (!clip_) clip_ = std::make_unique<ClipTokenizer>(make_clip_tokenizer(model));
  if (!t5_) t5_ = std::make_unique<T5Tokenizer>(make_t5_tokenizer(model));
  TokenIds clip = clip_->encode(prompt, clip_length);
  TokenIds t5 = t5_->encode(prompt, max_text_tokens);
  Tokens tokens;
  if (clip.truncated) tokens.notes.push_back(cut_note("CLIP", clip_length));
  if (t5.truncated) tokens.notes.push_back(cut_note("T5", max_text_tokens));
  tokens.clip = std::move(clip.ids);
  tokens.t5 = std::move(t5.ids);
  return tokens;
}

std::size_t tokenizer_bytes(const Checkpoint& model) {
  // Loading them costs 0.3 s, so it is not done for a plan. Measured afterwards, tables and what the heap
  // keeps are 4.2 to 4.5 times the text that they are read from: 16 MiB for FLUX.1's own of 3.8 MiB.
  constexpr std::size_t kQuartersPerText = 17;
  std::size_t bytes = 0, built_in = 0;
  if (model.is_dummy()) return bytes;
  for (const Part part : {Part::kClip, Part::kT5}) {
    const TokenizerTexts own = own_texts(model, part);
    for (const auto& [name, text] : own) bytes += text.size();
    if (!own.empty()) continue;
    const fs::path folder = tokenizer_folder(model, part);
    if (folder.empty())
      built_in += part == Part::kClip ? kBuiltInClipTokenizerBytes : kBuiltInT5TokenizerBytes;
    for (const char* name : {"vocab.json", "merges.txt", "tokenizer.json"}) {
      if (folder.empty() || (part == Part::kT5 && std::string_view(name) != "tokenizer.json")) continue;
      std::error_code absent;
      const std::uintmax_t size = fs::file_size(folder / name, absent);
      if (!absent) bytes += size;
    }
  }
  return kQuartersPerText * bytes / 4 + built_in;
}

std::string tokenizer_name(Part part) { return part == Part::kClip ? "tokenizer" : "tokenizer_2"; }

fs::path tokenizer_folder(const Checkpoint& model, Part part) {
  const PartFiles* files = model.part_files(part);
  std::error_code ignored;
  const bool in_folder = files && fs::is_directory(files->where, ignored);
  if (!in_folder && !model.is_diffusers()) return {};
  if (!own_texts(model, part).empty()) return {};
  const fs::path folder = (in_folder ? files->where.parent_path() : model.folder()) / tokenizer_name(part);
  return is_there(folder) ? folder : fs::path();
}

TokenizerTexts tokenizer_texts(const Checkpoint& model, Part part) {
  if (TokenizerTexts own = own_texts(model, part); !own.empty()) return own;
  if (part == Part::kClip) {
    const bool fits = ClipTokenizer::built_in().vocabulary_size() <= model.config().clip.vocab_size;
    return fits ? built_in_clip_files() : TokenizerTexts();
  }
  if (const GgufFields* fields = own_fields(model)) {
    make_t5_tokenizer(model);  // says what is wrong with it
    return t5_files(pieces_of(*fields), place_of(model, part));
  }
  const T5Pieces pieces = built_in_t5();
  const bool fits = static_cast<int64_t>(pieces.size()) <= model.config().t5.vocab_size;
  return fits ? t5_files(pieces, "T5 tokenizer") : TokenizerTexts();
}

bool is_built_in_tokenizer(Part part, const TokenizerTexts& texts, const std::string& where) {
  if (part == Part::kClip) return ClipTokenizer::from_files(clip_files(texts), where).is_built_in();
  return T5Tokenizer::pieces_of(t5_texts(texts), where) == built_in_t5();
}

void set_t5_tokenizer(const TokenizerTexts& texts, int64_t vocab_size, const std::string& where,
                      GgufFields& fields) {
  if (!texts.contains("tokenizer.json")) return;
  T5Pieces pieces = T5Tokenizer::pieces_of(t5_texts(texts), where);
  require(static_cast<int64_t>(pieces.size()) <= vocab_size, ErrorCode::kModel,
          "{}: the tokenizer has {} tokens where the encoder has {}", where, pieces.size(), vocab_size);
  while (static_cast<int64_t>(pieces.size()) < vocab_size)
    pieces.add(fmt::format("[PAD{}]", pieces.size()), T5Pieces::kUnusedScore, T5Pieces::kUnused);
  const std::string& key = kFieldsPrefix;
  fields.set(key + "model", "t5");
  fields.set(key + "pre", "default");
  fields.set(key + "tokens", pieces.tokens);
  fields.set(key + "scores", pieces.scores);
  fields.set(key + "token_type", pieces.token_type);
  fields.set(key + "add_space_prefix", true);
  fields.set(key + "remove_extra_whitespaces", true);
  fields.set(key + "add_bos_token", false);
  fields.set(key + "add_eos_token", true);
  fields.set(key + "eos_token_id", static_cast<uint32_t>(pieces.eos));
  fields.set(key + "unknown_token_id", static_cast<uint32_t>(pieces.unknown));
  fields.set(key + "padding_token_id", static_cast<uint32_t>(pieces.padding));
  const std::string& map = pieces.precompiled_charsmap;
  if (!map.empty()) fields.set(key + "precompiled_charsmap", std::vector<uint8_t>(map.begin(), map.end()));
}

}  // namespace darkroom
