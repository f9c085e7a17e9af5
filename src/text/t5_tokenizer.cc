#include "text/t5_tokenizer.h"

#include <algorithm>
#include <nlohmann/json.hpp>

#include "base/error.h"
#include "base/file_map.h"
#include "base/json.h"
#include "base/printable.h"
#include "base/utf8.h"
#include "text/base64.h"
#include "text/built_in.h"
#include "text/token_settings.h"
#include "text/unicode.h"

namespace darkroom {

using nlohmann::json;

namespace {

constexpr std::size_t kMaxFileBytes = 16 << 20;  // the real file has 2.4 MB
constexpr int64_t kMaxTokens = 1'000'000;
constexpr std::size_t kMaxPieces = 1 << 20, kSentinels = 100;
constexpr int32_t kUnknown = 2;                          // fixed in the reference, whatever the file says
constexpr std::string_view kWordStart = "\xE2\x96\x81";  // U+2581

UnigramModel read_model(const json& document, const std::string& where) {
  const json& model = required_field(document, "model", where);
  const json& vocabulary = required_field(model, "vocab", where);
  const JsonFields fields(model, where);
  const std::string type = fields.text("type", "Unigram");
  require(type == "Unigram", ErrorCode::kModel, "{}: the model is of type '{}', T5's is 'Unigram'", where,
          printable(type, 40));
  fields.integer("unk_id", kUnknown, kUnknown, kUnknown);
  return UnigramModel(vocabulary, kUnknown, where);
}

// The character map of the first Precompiled step of the normaliser, if there is one.
Charsmap read_charsmap(const json& document, const std::string& where) {
  const auto normalizer = document.find("normalizer");
  if (normalizer == document.end() || normalizer->is_null()) return {};
  const bool sequence = JsonFields(*normalizer, where).text("type", "") == "Sequence";
  const json single = sequence ? json() : json::array({*normalizer});
  const json& steps = sequence ? required_field(*normalizer, "normalizers", where) : single;
  require(steps.is_array(), ErrorCode::kModel, "{}: 'normalizers' must be a list, found {}", where,
          steps.type_name());
  for (const json& step : steps) {
    const JsonFields fields(step, where);
    if (fields.text("type", "") != "Precompiled" || !fields.has("precompiled_charsmap")) continue;
    return Charsmap(decode_base64(fields.text("precompiled_charsmap", ""), where), where);
  }
  return {};
}

// T5's sentinels; the class has them whether or not the files list them.
std::vector<std::string> sentinels(const json& config, const std::string& where) {
  const int64_t count = JsonFields(config, where).integer("extra_ids", 100, 0, 1000);
  std::vector<std::string> out;
  for (int64_t i = 0; i < count; ++i) out.push_back(fmt::format("<extra_id_{}>", i));
  return out;
}

void check_pieces(const T5Pieces& pieces, const std::string& where) {
  const std::size_t count = pieces.tokens.size();
  require(
      count >= 1 && count <= kMaxPieces && pieces.scores.size() == count && pieces.token_type.size() == count,
      ErrorCode::kModel, "{}: {} tokens, {} scores and {} types, expected as many of each, 1 to {}", where,
      count, pieces.scores.size(), pieces.token_type.size(), kMaxPieces);
  require(pieces.add_space_prefix, ErrorCode::kModel,
          "{}: add_space_prefix is false, and T5 puts a space in front of each text", where);
  for (std::size_t i = 0; i < count; ++i) {
    const int32_t type = pieces.token_type[i];
    require(type >= T5Pieces::kNormal && type <= T5Pieces::kUnused, ErrorCode::kModel,
            "{}: token {} has the type {}, T5's have 1 to 5", where, i, type);
    if (type != T5Pieces::kUnused && !is_valid_utf8(pieces.tokens[i])) {
      fail(ErrorCode::kModel, "{}: token {}, '{}', is not valid UTF-8", where, i,
           printable(pieces.tokens[i], 40));
    }
    require(type != T5Pieces::kUnknown || static_cast<int64_t>(i) == pieces.unknown, ErrorCode::kModel,
            "{}: token {} is of the unknown type, and the unknown token's id is {}", where, i,
            pieces.unknown);
  }
  for (const auto& [name, id] : {std::pair("end", pieces.eos), std::pair("unknown", pieces.unknown),
                                 std::pair("padding", pieces.padding)}) {
    const bool is_piece = id >= 0 && static_cast<std::size_t>(id) < count &&
                          pieces.token_type[static_cast<std::size_t>(id)] != T5Pieces::kUnused;
    require(is_piece, ErrorCode::kModel, "{}: the {} token has the id {}, which is none of the {} tokens",
            where, name, id, count);
  }
}

// The sentinels in the order of their ids: the last one comes first. None where the vocabulary has its own,
// or no room for them behind its last piece, whose id plus one is `end`.
std::vector<std::string> missing_sentinels(const T5Pieces& pieces, std::size_t end) {
  std::vector<std::string> out;
  if (pieces.tokens.size() - end < kSentinels) return out;
  for (std::size_t i = 0; i < end; ++i) {
    const bool used = pieces.token_type[i] != T5Pieces::kUnused;
    if (used && pieces.tokens[i].starts_with("<extra_id_")) return out;
  }
  for (std::size_t i = kSentinels; i-- > 0;) out.push_back(fmt::format("<extra_id_{}>", i));
  return out;
}

}  // namespace

T5Tokenizer T5Tokenizer::load(const std::filesystem::path& folder) {
  T5TokenizerFiles files;
  files.tokenizer_json = read_text_file(folder / "tokenizer.json", kMaxFileBytes);
  files.tokenizer_config_json = read_optional_file(folder / "tokenizer_config.json", kMaxFileBytes);
  files.special_tokens_map_json = read_optional_file(folder / "special_tokens_map.json", kMaxFileBytes);
  return from_files(files, folder);
}

T5Tokenizer T5Tokenizer::from_files(const T5TokenizerFiles& files, const std::filesystem::path& where) {
  const std::string path = (where / "tokenizer.json").string();
  const json document = parse_json(files.tokenizer_json, path);
  T5Tokenizer out;
  out.model_ = read_model(document, path);
  out.charsmap_ = read_charsmap(document, path);

  const auto config = parse_optional(files.tokenizer_config_json, where / "tokenizer_config.json");
  const auto map = parse_optional(files.special_tokens_map_json, where / "special_tokens_map.json");
  const std::string settings_path = config ? (where / "tokenizer_config.json").string() : path;
  const TokenSettings settings = read_token_settings(
      {.tokenizer_config = config ? &*config : nullptr,
       .special_tokens_map = map ? &*map : nullptr,
       .tokenizer_json = &document},
      {.bos = "", .eos = "</s>", .unk = "<unk>", .pad = "<pad>"},
      sentinels(config ? *config : json::object(), (where / "tokenizer_config.json").string()),
      out.model_.size(), [&](std::string_view piece) { return out.model_.find(piece); }, where);
  std::vector<AddedToken> normalized = settings.normalized;
  out.raw_tokens_ = AddedTokenFinder(settings.raw, settings_path);
  for (AddedToken& token : normalized) {
    require(is_valid_utf8(token.content), ErrorCode::kModel, "{}: the added token '{}' is not valid UTF-8",
            settings_path, printable(token.content, 40));
    token.content = out.charsmap_.normalize(token.content);
  }
  out.normalized_tokens_ = AddedTokenFinder(std::move(normalized), settings_path);

  // Both must be pieces: an id beyond the vocabulary has no row in the text encoder's embedding.
  const auto piece = [&](const std::string& content, const char* name) {
    const int32_t id = out.model_.find(content);
    require(id >= 0, ErrorCode::kModel, "{}: the {} token '{}' is not in the vocabulary of {} pieces", path,
            name, printable(content, 40), out.model_.size());
    return id;
  };
  out.eos_ = piece(settings.named.eos, "end");
  out.pad_ = piece(settings.named.pad, "padding");
  out.vocabulary_size_ = settings.vocabulary_size;
  return out;
}

T5Tokenizer T5Tokenizer::from_pieces(const T5Pieces& pieces, const std::string& where) {
  check_pieces(pieces, where);
  std::vector<UnigramModel::Piece> model;
  std::vector<AddedToken> added;
  model.reserve(pieces.tokens.size());
  std::size_t end = 0;
  for (std::size_t id = 0; id < pieces.tokens.size(); ++id) {
    const int32_t type = pieces.token_type[id];
    const auto is = [&](int32_t special) { return static_cast<int64_t>(id) == special; };
    const bool used = type != T5Pieces::kUnused;
    // Converters give to user-defined pieces a score below all others; transformers gives 0.
    const double score = type == T5Pieces::kUserDefined ? 0.0 : double{pieces.scores[id]};
    model.push_back({.text = pieces.tokens[id], .score = score, .used = used});
    if (!used) continue;
    end = id + 1;
    if (type != T5Pieces::kNormal || is(pieces.eos) || is(pieces.unknown) || is(pieces.padding)) {
      added.push_back({.content = pieces.tokens[id], .id = static_cast<int32_t>(id)});
    }
  }
  const std::vector<std::string> sentinels = missing_sentinels(pieces, end);
  for (const std::string& sentinel : sentinels) {
    model[end] = {.text = sentinel};
    added.push_back({.content = sentinel, .id = static_cast<int32_t>(end++)});
  }
  T5Tokenizer out;
  out.model_ = UnigramModel(model, pieces.unknown, where);
  if (!pieces.precompiled_charsmap.empty()) out.charsmap_ = Charsmap(pieces.precompiled_charsmap, where);
  out.raw_tokens_ = AddedTokenFinder(std::move(added), where);
  out.eos_ = pieces.eos;
  out.pad_ = pieces.padding;
  out.vocabulary_size_ = static_cast<int32_t>(end);
  return out;
}

T5Tokenizer T5Tokenizer::built_in() {
  BuiltInPieces data = built_in_t5_pieces();
  T5Pieces pieces;
  pieces.tokens = std::move(data.texts);
  pieces.scores = std::move(data.scores);
  pieces.precompiled_charsmap = std::move(data.charsmap);
  pieces.token_type.resize(pieces.tokens.size(), T5Pieces::kNormal);
  pieces.token_type[static_cast<std::size_t>(pieces.unknown)] = T5Pieces::kUnknown;
  for (const int32_t id : {pieces.eos, pieces.padding}) {
    pieces.token_type[static_cast<std::size_t>(id)] = T5Pieces::kControl;
  }
  const std::size_t count = pieces.tokens.size() + kSentinels;
  pieces.tokens.resize(count);
  pieces.scores.resize(count);
  pieces.token_type.resize(count, T5Pieces::kUnused);
  return from_pieces(pieces, "T5 tokenizer");
}

TokenIds T5Tokenizer::encode(const std::string& prompt, int64_t max_tokens) const {
  require(max_tokens >= 1 && max_tokens <= kMaxTokens, ErrorCode::kUsage,
          "T5 tokenizer: {} tokens asked for, expected 1 to {}", max_tokens, kMaxTokens);
  const auto room = static_cast<std::size_t>(max_tokens - 1);
  TokenIds out;
  out.truncated = !append_prompt(repaired_utf8(prompt), room, out.ids);
  if (out.truncated) out.ids.resize(room);
  out.ids.push_back(eos_);
  out.ids.resize(static_cast<std::size_t>(max_tokens), pad_);
  return out;
}

bool T5Tokenizer::append_prompt(const std::string& prompt, std::size_t limit,
                                std::vector<int32_t>& ids) const {
  return raw_tokens_.for_each_piece(prompt, [&](const AddedTokenFinder::Piece& outer) {
    if (outer.id >= 0) {
      ids.push_back(outer.id);
      return ids.size() <= limit;
    }
    return normalized_tokens_.for_each_piece(charsmap_.normalize(outer.text),
                                             [&](const AddedTokenFinder::Piece& inner) {
                                               if (inner.id < 0) return append_words(inner.text, limit, ids);
                                               ids.push_back(inner.id);
                                               return ids.size() <= limit;
                                             });
  });
}

bool T5Tokenizer::append_words(std::string_view text, std::size_t limit, std::vector<int32_t>& ids) const {
  std::size_t begin = 0;
  for (std::size_t at = 0; at < text.size();) {
    const std::size_t start = at;
    if (!is_space(next_code_point(text, at))) continue;
    if (start > begin && !append_word(text.substr(begin, start - begin), limit, ids)) return false;
    begin = at;
  }
  return begin == text.size() || append_word(text.substr(begin), limit, ids);
}

bool T5Tokenizer::append_word(std::string_view word, std::size_t limit, std::vector<int32_t>& ids) const {
  std::string marked(word.starts_with(kWordStart) ? "" : kWordStart);
  marked += word;
  for (std::size_t begin = 0; begin < marked.size();) {  // a U+2581 in the text begins a word, too
    const std::size_t end = std::min(marked.find(kWordStart, begin + 1), marked.size());
    model_.encode(std::string_view(marked).substr(begin, end - begin), ids);
    if (ids.size() > limit) return false;
    begin = end;
  }
  return true;
}

}  // namespace darkroom
