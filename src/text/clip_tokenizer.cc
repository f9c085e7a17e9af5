#include "text/clip_tokenizer.h"

#include <algorithm>
#include <nlohmann/json.hpp>

#include "base/error.h"
#include "base/file_map.h"
#include "base/json.h"
#include "base/printable.h"
#include "base/utf8.h"
#include "text/built_in.h"
#include "text/token_settings.h"
#include "text/unicode.h"

namespace darkroom {

using nlohmann::json;

namespace {

constexpr std::size_t kMaxFileBytes = 16 << 20;  // the real vocabulary has 1 MB
constexpr int64_t kMaxTokens = 1'000'000;
constexpr std::string_view kStart = "<|startoftext|>", kEnd = "<|endoftext|>";

// NFC, then each run of white space to one space, then lower case.
std::string normalized(std::string_view text) {
  std::u32string lower;
  lower.reserve(text.size());
  bool in_space = false;
  for (const char32_t code : nfc(to_code_points(text))) {
    const bool space = is_space(code);
    if (space && !in_space) lower += U' ';
    if (!space) append_lower(lower, code);
    in_space = space;
  }
  return to_utf8(lower);
}

std::size_t contraction_length(std::string_view text) {
  for (const std::string_view ending : {"'s", "'t", "'re", "'ve", "'m", "'ll", "'d"}) {
    if (text.starts_with(ending)) return ending.size();
  }
  return 0;
}

std::size_t special_length(std::string_view text) {
  for (const std::string_view token : {kStart, kEnd}) {
    if (text.starts_with(token)) return token.size();
  }
  return 0;
}

enum class Kind { kSpace, kLetter, kNumber, kOther };

Kind kind_of(char32_t code) {
  if (is_space(code)) return Kind::kSpace;
  if (is_letter(code)) return Kind::kLetter;
  return is_number(code) ? Kind::kNumber : Kind::kOther;
}

// Bytes of the word at the start of `text`, and of what kind it is: a contraction, a run of letters, one
// number, or a run of anything else. A run of white space is no word.
std::size_t word_length(std::string_view text, Kind& kind) {
  std::size_t end = 0;
  kind = kind_of(next_code_point(text, end));
  if (kind == Kind::kOther) {
    if (const std::size_t length = contraction_length(text)) return length;
  }
  if (kind == Kind::kNumber) return end;
  while (end < text.size()) {
    std::size_t next = end;
    if (kind_of(next_code_point(text, next)) != kind) break;
    end = next;
  }
  return end;
}

AddedTokenFinder normalized_finder(std::vector<AddedToken> tokens, const std::string& where) {
  for (AddedToken& token : tokens) {
    require(is_valid_utf8(token.content), ErrorCode::kModel, "{}: the added token '{}' is not valid UTF-8",
            where, printable(token.content, 40));
    token.content = normalized(token.content);
  }
  return AddedTokenFinder(std::move(tokens), where);
}

// As normalized() does.
constexpr const char* kNormalizer =
    R"({"type": "Sequence", "normalizers": [{"type": "NFC"},
        {"type": "Replace", "pattern": {"Regex": "\\s+"}, "content": " "}, {"type": "Lowercase"}]})";

// As append_words() does it. transformers 4 saved the pattern without the special tokens; transformers 5 puts
// its own in place of either.
constexpr const char* kWordPatterns[] = {
    R"(<\|startoftext\|>|<\|endoftext\|>|'s|'t|'re|'ve|'m|'ll|'d|[\p{L}]+|[\p{N}]|[^\s\p{L}\p{N}]+)",
    R"('s|'t|'re|'ve|'m|'ll|'d|[\p{L}]+|[\p{N}]|[^\s\p{L}\p{N}]+)"};

bool is_clips_pre_tokenizer(const json& found) {
  const auto steps = found.find("pretokenizers");
  if (steps == found.end() || !steps->is_array() || steps->size() != 2 || !(*steps)[1].is_object()) {
    return false;
  }
  json bytes = (*steps)[1];
  bytes.erase("trim_offsets");  // moves positions in the text, no tokens
  if (bytes.value("use_regex", json(true)) == json(true)) bytes.erase("use_regex");
  const json alphabet = {{"type", "ByteLevel"}, {"add_prefix_space", false}};
  return bytes == alphabet && std::ranges::any_of(kWordPatterns, [&](const char* pattern) {
           const json split = {{"type", "Split"},
                               {"pattern", {{"Regex", pattern}}},
                               {"behavior", "Removed"},
                               {"invert", true}};
           return found == json{{"type", "Sequence"}, {"pretokenizers", json::array({split, (*steps)[1]})}};
         });
}

BytePairModel read_model(const json& document, const std::string& where) {
  require(required_field(document, "normalizer", where) == json::parse(kNormalizer), ErrorCode::kModel,
          "{}: the normalizer is not CLIP's (NFC, white space to one space, lower case), and no other is "
          "supported",
          where);
  require(is_clips_pre_tokenizer(required_field(document, "pre_tokenizer", where)), ErrorCode::kModel,
          "{}: the pre_tokenizer is not CLIP's (a split into words, then bytes), and no other is supported",
          where);
  return BytePairModel::from_json(required_field(document, "model", where), where);
}

}  // namespace

ClipTokenizer ClipTokenizer::load(const std::filesystem::path& folder) {
  ClipTokenizerFiles files;
  files.tokenizer_json = read_optional_file(folder / "tokenizer.json", kMaxFileBytes);
  if (!files.tokenizer_json) {
    files.vocab_json = read_text_file(folder / "vocab.json", kMaxFileBytes);
    files.merges_txt = read_text_file(folder / "merges.txt", kMaxFileBytes);
  }
  files.tokenizer_config_json = read_optional_file(folder / "tokenizer_config.json", kMaxFileBytes);
  files.special_tokens_map_json = read_optional_file(folder / "special_tokens_map.json", kMaxFileBytes);
  return from_files(files, folder);
}

ClipTokenizer ClipTokenizer::from_files(const ClipTokenizerFiles& files, const std::filesystem::path& where) {
  const auto document = parse_optional(files.tokenizer_json, where / "tokenizer.json");
  const std::string vocab_path = (where / (document ? "tokenizer.json" : "vocab.json")).string();
  ClipTokenizer out;
  out.model_ = document ? read_model(*document, vocab_path)
                        : BytePairModel::parse(files.vocab_json, vocab_path, files.merges_txt,
                                               (where / "merges.txt").string());

  const auto config = parse_optional(files.tokenizer_config_json, where / "tokenizer_config.json");
  const auto map = parse_optional(files.special_tokens_map_json, where / "special_tokens_map.json");
  const NamedTokens defaults{std::string(kStart), std::string(kEnd), std::string(kEnd), std::string(kEnd)};
  const std::string settings_path = (where / (config     ? "tokenizer_config.json"
                                              : document ? "tokenizer.json"
                                                         : "special_tokens_map.json"))
                                        .string();
  const TokenSettings settings = read_token_settings(
      {.tokenizer_config = config ? &*config : nullptr,
       .special_tokens_map = map ? &*map : nullptr,
       .tokenizer_json = document ? &*document : nullptr},
      defaults, {}, out.model_.size(),
      [&](std::string_view piece) { return out.model_.find(std::string(piece)); }, where);
  out.raw_tokens_ = AddedTokenFinder(settings.raw, settings_path);
  out.normalized_tokens_ = normalized_finder(settings.normalized, settings_path);

  // The named tokens must be pieces: an id beyond the vocabulary has no row in the text encoder's embedding.
  const auto piece = [&](const std::string& content, const char* name) {
    const int32_t id = out.model_.find(content);
    require(id >= 0, ErrorCode::kModel, "{}: the {} token '{}' is not in the vocabulary of {} pieces",
            vocab_path, name, printable(content, 40), out.model_.size());
    return id;
  };
  out.bos_ = piece(settings.named.bos, "begin");
  out.eos_ = piece(settings.named.eos, "end");
  out.pad_ = piece(settings.named.pad, "padding");
  out.model_.set_unknown(piece(settings.named.unk, "unknown"));
  out.vocabulary_size_ = settings.vocabulary_size;
  return out;
}

ClipTokenizer ClipTokenizer::built_in() {
  ClipTokenizer out;
  out.model_ = BytePairModel::from_merges(built_in_clip_merges());
  out.bos_ = out.model_.size();
  out.eos_ = out.pad_ = out.bos_ + 1;
  out.model_.set_unknown(out.eos_);
  out.vocabulary_size_ = out.eos_ + 1;
  // As the tokenizer_config.json of the FLUX.1 repositories has them.
  out.raw_tokens_ = AddedTokenFinder({{.content = std::string(kEnd), .id = out.eos_}}, "CLIP tokenizer");
  out.normalized_tokens_ = normalized_finder(
      {{.content = std::string(kStart), .id = out.bos_, .normalized = true}}, "CLIP tokenizer");
  return out;
}

bool ClipTokenizer::is_built_in() const {
  const ClipTokenizer own = built_in();
  return model_.encodes_as(own.model_) && raw_tokens_ == own.raw_tokens_ &&
         normalized_tokens_ == own.normalized_tokens_ && bos_ == own.bos_ && eos_ == own.eos_ &&
         pad_ == own.pad_ && vocabulary_size_ == own.vocabulary_size_;
}

TokenIds ClipTokenizer::encode(const std::string& prompt, int64_t max_tokens) const {
  require(max_tokens >= 2 && max_tokens <= kMaxTokens, ErrorCode::kUsage,
          "CLIP tokenizer: {} tokens asked for, expected 2 to {}", max_tokens, kMaxTokens);
  const auto room = static_cast<std::size_t>(max_tokens - 2);
  TokenIds out;
  out.ids.push_back(bos_);
  out.truncated = !append_prompt(repaired_utf8(prompt), room + 1, out.ids);
  if (out.truncated) out.ids.resize(room + 1);
  out.ids.push_back(eos_);
  out.ids.resize(static_cast<std::size_t>(max_tokens), pad_);
  return out;
}

bool ClipTokenizer::append_prompt(const std::string& prompt, std::size_t limit,
                                  std::vector<int32_t>& ids) const {
  return raw_tokens_.for_each_piece(prompt, [&](const AddedTokenFinder::Piece& outer) {
    if (outer.id >= 0) {
      ids.push_back(outer.id);
      return ids.size() <= limit;
    }
    return normalized_tokens_.for_each_piece(normalized(outer.text),
                                             [&](const AddedTokenFinder::Piece& inner) {
                                               if (inner.id < 0) return append_words(inner.text, limit, ids);
                                               ids.push_back(inner.id);
                                               return ids.size() <= limit;
                                             });
  });
}

bool ClipTokenizer::append_words(std::string_view text, std::size_t limit, std::vector<int32_t>& ids) const {
  while (!text.empty()) {
    // The word pattern takes a special token whole, e.g. one in upper case that was no added token before
    // lower case; a second pattern then takes it apart. What follows it begins a new word.
    const std::size_t special = special_length(text);
    if (special > 0) {
      model_.encode(text.substr(0, 2), ids);
      model_.encode(text.substr(2, special - 4), ids);
      model_.encode(text.substr(special - 2, 2), ids);
      text.remove_prefix(special);
    } else {
      Kind kind;
      const std::size_t length = word_length(text, kind);
      if (kind != Kind::kSpace) model_.encode(text.substr(0, length), ids);
      text.remove_prefix(length);
    }
    if (ids.size() > limit) return false;
  }
  return true;
}

}  // namespace darkroom
