#include "text/token_settings.h"

#include <algorithm>
#include <charconv>
#include <map>
#include <nlohmann/json.hpp>

#include "base/error.h"
#include "base/file_map.h"
#include "base/foreign_file.h"
#include "base/json.h"
#include "base/printable.h"

namespace darkroom {

using nlohmann::json;

namespace {

constexpr int64_t kMaxId = 1 << 24;  // far above any vocabulary

// Tokens of a list are normalised unless they call themselves special; those with a role of
// their own are special.
const AddedToken kListed{.content = "", .normalized = true}, kSpecial{.content = "", .normalized = false};

// In the order in which the reference adds those that the vocabulary lacks.
constexpr const char* kNames[] = {"bos_token", "eos_token", "unk_token", "sep_token",
                                  "pad_token", "cls_token", "mask_token"};

// A string, or an object with flags; of `defaults` only `normalized` counts, for an object that does not say.
AddedToken parse_token(const json& value, const AddedToken& defaults, const std::string& where) {
  if (value.is_string()) return {.content = value.get<std::string>()};
  const JsonFields fields(value, where);
  AddedToken token;
  token.content = fields.text("content", "");
  token.single_word = fields.boolean("single_word", false);
  token.lstrip = fields.boolean("lstrip", false);
  token.rstrip = fields.boolean("rstrip", false);
  token.normalized = fields.boolean("normalized", defaults.normalized && !fields.boolean("special", false));
  return token;
}

// A whole decimal number of at most kMaxId, -1 for anything else.
int32_t parse_id(const std::string& text) {
  int64_t id = -1;
  const auto [end, status] = std::from_chars(text.data(), text.data() + text.size(), id);
  const bool whole = status == std::errc() && end == text.data() + text.size();
  return whole && id >= 0 && id <= kMaxId ? static_cast<int32_t>(id) : -1;
}

using TokensById = std::map<int32_t, AddedToken>;

TokensById parse_decoder(const json& decoder, const std::string& where) {
  require(decoder.is_object(), ErrorCode::kModel, "{}: 'added_tokens_decoder' must be an object, found {}",
          where, decoder.type_name());
  TokensById tokens;
  for (const auto& [key, value] : decoder.items()) {
    const int32_t id = parse_id(key);
    require(id >= 0, ErrorCode::kModel,
            "{}: 'added_tokens_decoder' has the id '{}', expected a whole number from 0 to {}", where,
            printable(key, 40), kMaxId);
    require(value.is_object(), ErrorCode::kModel, "{}: added token {} must be an object, found {}", where, id,
            value.type_name());
    require(tokens.emplace(id, parse_token(value, kListed, where)).second, ErrorCode::kModel,
            "{}: 'added_tokens_decoder' has the id {} twice", where, id);
  }
  return tokens;
}

TokensById parse_list(const json& list, const std::string& where) {
  require(list.is_array(), ErrorCode::kModel, "{}: 'added_tokens' must be a list, found {}", where,
          list.type_name());
  TokensById tokens;
  for (const json& value : list) {
    const auto id = static_cast<int32_t>(JsonFields(value, where).required_integer("id", 0, kMaxId));
    require(tokens.emplace(id, parse_token(value, kListed, where)).second, ErrorCode::kModel,
            "{}: 'added_tokens' has the id {} twice", where, id);
  }
  return tokens;
}

// Collects the tokens in the reference's order and gives each its id.
class Collector {
 public:
  Collector(int32_t vocabulary_size, const std::function<int32_t(std::string_view)>& find)
      : next_id_(vocabulary_size), find_(find) {}

  bool has(const std::string& content) const { return by_content_.contains(content); }

  // `declared`: the id that the file `where` gives to it, -1 for none.
  void add(AddedToken token, int32_t declared, const std::string& where) {
    require(!token.content.empty(), ErrorCode::kModel, "{}: an added token has no content", where);
    const int32_t piece = find_(token.content);
    token.id = piece >= 0 ? piece : next_id_++;
    require(declared < 0 || declared == token.id, ErrorCode::kModel,
            "{}: the added token '{}' has the id {}, the vocabulary gives it {}", where,
            printable(token.content, 40), declared, token.id);
    require(by_content_.emplace(token.content, tokens_.size()).second, ErrorCode::kModel,
            "{}: the added token '{}' occurs twice", where, printable(token.content, 40));
    tokens_.push_back(std::move(token));
  }

  std::vector<AddedToken> take() { return std::move(tokens_); }

 private:
  int32_t next_id_;
  const std::function<int32_t(std::string_view)>& find_;
  std::vector<AddedToken> tokens_;
  std::map<std::string, std::size_t> by_content_;
};

const json* field(const json& object, const char* name) {
  const auto it = object.find(name);
  return it == object.end() || it->is_null() ? nullptr : &*it;
}

// tokenizer_config.json decides, and where it is silent the state that tokenizer.json keeps
// from the last call.
void require_right_side(const json& config, const std::string& config_path, const json& document,
                        const std::string& document_path) {
  const JsonFields fields(config, config_path);
  for (const std::string name : {"padding", "truncation"}) {
    const std::string side = fields.text(name + "_side", "right");
    require(side == "right", ErrorCode::kModel, "{}: '{}_side' is '{}', only 'right' is supported",
            config_path, name, printable(side, 40));
    const json* state = field(document, name.c_str());
    if (!state || fields.has(name + "_side")) continue;
    const std::string direction = JsonFields(*state, document_path).text("direction", "Right");
    require(direction == "Right", ErrorCode::kModel,
            "{}: the direction of '{}' is '{}', only 'Right' is supported", document_path, name,
            printable(direction, 40));
  }
}

// Tokens that have no name of their own, e.g. T5's sentinels.
void add_unnamed(const json& object, Collector& collector, const std::string& where) {
  for (const char* name : {"extra_special_tokens", "additional_special_tokens"}) {
    const json* list = field(object, name);
    if (!list || list->empty()) continue;
    require(list->is_array(), ErrorCode::kModel, "{}: '{}' must be a list, found {}", where, name,
            list->type_name());
    for (const json& value : *list) {
      AddedToken token = parse_token(value, kSpecial, where);
      if (!collector.has(token.content)) collector.add(std::move(token), -1, where);
    }
    return;
  }
}

}  // namespace

TokenSettings read_token_settings(const TokenSettingsFiles& files, const NamedTokens& defaults,
                                  const std::vector<std::string>& extras, int32_t vocabulary_size,
                                  const std::function<int32_t(std::string_view)>& find,
                                  const std::filesystem::path& folder) {
  const std::string config_path = (folder / "tokenizer_config.json").string();
  const std::string map_path = (folder / "special_tokens_map.json").string();
  const std::string list_path = (folder / "tokenizer.json").string();
  const json nothing = json::object();
  const json& config = files.tokenizer_config ? *files.tokenizer_config : nothing;
  const json& map = files.special_tokens_map ? *files.special_tokens_map : nothing;
  const json& document = files.tokenizer_json ? *files.tokenizer_json : nothing;
  require_right_side(config, config_path, document, list_path);
  require(map.is_object(), ErrorCode::kModel, "{}: expected a JSON object, found {}", map_path,
          map.type_name());
  const json* decoder = field(config, "added_tokens_decoder");
  TokensById listed;
  if (decoder) {
    listed = parse_decoder(*decoder, config_path);
  } else if (const json* list = field(document, "added_tokens")) {
    listed = parse_list(*list, list_path);
  }

  Collector collector(vocabulary_size, find);
  for (const auto& [id, token] : listed) collector.add(token, id, decoder ? config_path : list_path);
  std::map<std::string, std::string> contents = {{"bos_token", defaults.bos},
                                                 {"eos_token", defaults.eos},
                                                 {"unk_token", defaults.unk},
                                                 {"pad_token", defaults.pad}};
  for (const char* name : kNames) {
    const json* in_map = decoder ? nullptr : field(map, name);
    const json* given = in_map ? in_map : field(config, name);
    const std::string& path = in_map ? map_path : config_path;
    AddedToken token = given ? parse_token(*given, kSpecial, path) : AddedToken{.content = contents[name]};
    if (token.content.empty() && !given) continue;
    contents[name] = token.content;
    if (!collector.has(token.content)) collector.add(std::move(token), -1, path);
  }
  add_unnamed(config, collector, config_path);
  if (!decoder) add_unnamed(map, collector, map_path);
  for (const std::string& content : extras) {
    if (!collector.has(content)) collector.add({.content = content}, -1, config_path);
  }
  TokenSettings out;
  out.named = {contents["bos_token"], contents["eos_token"], contents["unk_token"], contents["pad_token"]};
  out.vocabulary_size = vocabulary_size;
  for (AddedToken& token : collector.take()) {
    out.vocabulary_size = std::max(out.vocabulary_size, token.id + 1);
    (token.normalized ? out.normalized : out.raw).push_back(std::move(token));
  }
  return out;
}

const json& required_field(const json& object, const char* name, const std::string& where) {
  require(object.is_object(), ErrorCode::kModel, "{}: expected a JSON object, found {}", where,
          object.type_name());
  const json* value = field(object, name);
  require(value != nullptr, ErrorCode::kModel, "{}: the field '{}' is missing", where, name);
  return *value;
}

std::optional<std::string> read_optional_file(const std::filesystem::path& path, std::size_t max_bytes) {
  if (!is_there(path)) return std::nullopt;
  return read_text_file(path, max_bytes);
}

std::optional<json> parse_optional(const std::optional<std::string>& text,
                                   const std::filesystem::path& path) {
  if (!text) return std::nullopt;
  return parse_json(*text, path.string());
}

}  // namespace darkroom
