#include "text/t5_tokenizer.h"

#include <algorithm>
#include <nlohmann/json.hpp>

#include "base/error.h"
#include "base/file_map.h"
#include "base/json.h"
#include "base/printable.h"
#include "base/utf8.h"
#include "text/base64.h"
#include "text/token_settings.h"
#include "text/unicode.h"

namespace darkroom {

using nlohmann::json;

namespace {

constexpr std::size_t kMaxFileBytes = 16 << 20;  // the real file has 2.4 MB
constexpr int64_t kMaxTokens = 1'000'000;
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

// The bytes of the character map of the first Precompiled step of the normaliser, if there is one.
std::optional<std::string> read_charsmap(const json& document, const std::string& where) {
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
    return decode_base64(fields.text("precompiled_charsmap", ""), where);
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

TokenSettings read_settings(const T5TokenizerFiles& files, const json& document, const UnigramModel& model,
                            const std::filesystem::path& where) {
  const auto config = parse_optional(files.tokenizer_config_json, where / "tokenizer_config.json");
  const auto map = parse_optional(files.special_tokens_map_json, where / "special_tokens_map.json");
  return read_token_settings(
      {.tokenizer_config = config ? &*config : nullptr,
       .special_tokens_map = map ? &*map : nullptr,
       .tokenizer_json = &document},
      {.bos = "", .eos = "</s>", .unk = "<unk>", .pad = "<pad>"},
      sentinels(config ? *config : json::object(), (where / "tokenizer_config.json").string()), model.size(),
      [&](std::string_view piece) { return model.find(piece); }, where);
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
  if (const auto map = read_charsmap(document, path)) out.charsmap_ = Charsmap(*map, path);

  const TokenSettings settings = read_settings(files, document, out.model_, where);
  const std::string settings_path =
      files.tokenizer_config_json ? (where / "tokenizer_config.json").string() : path;
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

T5Pieces T5Tokenizer::pieces_of(const T5TokenizerFiles& files, const std::filesystem::path& where) {
  const std::string path = (where / "tokenizer.json").string();
  const json document = parse_json(files.tokenizer_json, path);
  const T5Tokenizer checked = from_files(files, where);
  T5Pieces out;
  for (const json& piece : document["model"]["vocab"]) {
    const auto& token = piece[0].get_ref<const std::string&>();
    // No word has a space in it, so such a piece takes an id and nothing more.
    const bool used = token.find(' ') == token.npos;
    out.add(token, piece[1].get<float>(), used ? T5Pieces::kNormal : T5Pieces::kUnused);
  }
  const TokenSettings settings = read_settings(files, document, checked.model_, where);
  while (out.size() < static_cast<std::size_t>(settings.vocabulary_size))
    out.add(fmt::format("[PAD{}]", out.size()), T5Pieces::kUnusedScore, T5Pieces::kUnused);
  out.eos = checked.eos_;
  out.padding = checked.pad_;
  out.unknown = kUnknown;
  for (const auto* added : {&settings.raw, &settings.normalized}) {
    for (const AddedToken& token : *added) {
      const auto id = static_cast<std::size_t>(token.id);
      out.tokens[id] = token.content;
      out.scores[id] = T5Pieces::kUserDefinedScore;
      out.token_type[id] = T5Pieces::kUserDefined;
    }
  }
  for (const int32_t special : {out.eos, out.padding, out.unknown}) {
    const auto id = static_cast<std::size_t>(special);
    out.scores[id] = document["model"]["vocab"][id][1].get<float>();
    out.token_type[id] = special == kUnknown ? T5Pieces::kUnknown : T5Pieces::kControl;
  }
  out.precompiled_charsmap = read_charsmap(document, path).value_or("");
  check_pieces(out, path);
  return out;
}

T5Tokenizer T5Tokenizer::from_pieces(const T5Pieces& given, const std::string& where) {
  const T5Pieces pieces = with_sentinels(given, where);
  std::vector<UnigramModel::Piece> model;
  std::vector<AddedToken> added;
  model.reserve(pieces.size());
  for (std::size_t id = 0; id < pieces.size(); ++id) {
    const int32_t type = pieces.token_type[id];
    const auto is = [&](int32_t special) { return static_cast<int64_t>(id) == special; };
    const bool used = type != T5Pieces::kUnused;
    // Converters give to user-defined pieces a score below all others; transformers gives 0.
    const double score = type == T5Pieces::kUserDefined ? 0.0 : double{pieces.scores[id]};
    model.push_back({.text = pieces.tokens[id], .score = score, .used = used});
    if (!used) continue;
    if (type != T5Pieces::kNormal || is(pieces.eos) || is(pieces.unknown) || is(pieces.padding)) {
      added.push_back({.content = pieces.tokens[id], .id = static_cast<int32_t>(id)});
    }
  }
  T5Tokenizer out;
  out.model_ = UnigramModel(model, pieces.unknown, where);
  if (!pieces.precompiled_charsmap.empty()) out.charsmap_ = Charsmap(pieces.precompiled_charsmap, where);
  out.raw_tokens_ = AddedTokenFinder(std::move(added), where);
  out.eos_ = pieces.eos;
  out.pad_ = pieces.padding;
  out.vocabulary_size_ = static_cast<int32_t>(pieces.size());
  return out;
}

T5Tokenizer T5Tokenizer::built_in() { return from_pieces(built_in_t5(), "T5 tokenizer"); }

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
