#include "text/tokenizer_files.h"

#include <algorithm>
#include <nlohmann/json.hpp>

#include "base/error.h"
#include "base/json.h"
#include "text/base64.h"
#include "text/built_in.h"
#include "text/byte_pair.h"

namespace darkroom {
namespace {

using nlohmann::json;

constexpr const char *kStart = "<|startoftext|>", *kEnd = "<|endoftext|>";

std::string file_text(const json& content) { return content.dump(2) + "\n"; }

json added_token(const std::string& content, bool normalized = false) {
  return {{"content", content},
          {"lstrip", false},
          {"normalized", normalized},
          {"rstrip", false},
          {"single_word", false}};
}

json special_token(const std::string& content, bool normalized = false) {
  json out = added_token(content, normalized);
  out["special"] = true;
  return out;
}

std::vector<std::string> clip_pieces() {
  std::vector<std::string> out = byte_pieces();
  for (std::size_t byte = 0; byte < 256; ++byte) out.push_back(out[byte] + "</w>");
  for (const auto& [left, right] : built_in_clip_merges()) out.push_back(out.at(left) + out.at(right));
  out.insert(out.end(), {kStart, kEnd});
  return out;
}

json vocabulary_of(const std::vector<std::string>& pieces) {
  json out = json::object();
  for (std::size_t id = 0; id < pieces.size(); ++id) out[pieces[id]] = id;
  return out;
}

json clip_config(std::size_t vocabulary_size) {
  return {{"add_prefix_space", false},
          {"added_tokens_decoder",
           {{std::to_string(vocabulary_size - 2), special_token(kStart, true)},
            {std::to_string(vocabulary_size - 1), special_token(kEnd)}}},
          {"bos_token", kStart},
          {"clean_up_tokenization_spaces", true},
          {"do_lower_case", true},
          {"eos_token", kEnd},
          {"errors", "replace"},
          {"model_max_length", 77},
          {"pad_token", kEnd},
          {"tokenizer_class", "CLIPTokenizer"},
          {"unk_token", kEnd}};
}

// [piece, score] by id. A word has no space in it, so an unused piece gets one.
json unigram_vocabulary(const T5Pieces& pieces) {
  float lowest = 0;
  for (std::size_t id = 0; id < pieces.size(); ++id) {
    if (pieces.token_type[id] == T5Pieces::kNormal) lowest = std::min(lowest, pieces.scores[id]);
  }
  json out = json::array();
  for (std::size_t id = 0; id < pieces.size(); ++id) {
    const int32_t type = pieces.token_type[id];
    if (type == T5Pieces::kUnused) {
      out.push_back({fmt::format("unused {}", id), double{lowest}});
    } else {
      out.push_back({pieces.tokens[id], type == T5Pieces::kUserDefined ? 0.0 : double{pieces.scores[id]}});
    }
  }
  return out;
}

// As the reference's own file has it. transformers 5 takes the character map alone.
json t5_normalizer(const std::string& charsmap) {
  json steps = json::array();
  if (!charsmap.empty())
    steps.push_back({{"type", "Precompiled"}, {"precompiled_charsmap", encode_base64(charsmap)}});
  steps.push_back({{"type", "Strip"}, {"strip_left", false}, {"strip_right", true}});
  steps.push_back({{"type", "Replace"}, {"pattern", {{"Regex", " {2,}"}}}, {"content", "\u2581"}});
  return {{"type", "Sequence"}, {"normalizers", steps}};
}

json metaspace(const char* prepend_scheme) {
  return {{"type", "Metaspace"},
          {"replacement", "\u2581"},
          {"add_prefix_space", true},
          {"prepend_scheme", prepend_scheme}};
}

json end_template(const std::string& eos, int32_t id) {
  const json text = {{"Sequence", {{"id", "A"}, {"type_id", 0}}}},
             second = {{"Sequence", {{"id", "B"}, {"type_id", 0}}}},
             end = {{"SpecialToken", {{"id", eos}, {"type_id", 0}}}};
  return {
      {"type", "TemplateProcessing"},
      {"single", json::array({text, end})},
      {"pair", json::array({text, end, second, end})},
      {"special_tokens", {{eos, {{"id", eos}, {"ids", json::array({id})}, {"tokens", json::array({eos})}}}}}};
}

}  // namespace

std::map<std::string, std::string> built_in_clip_files() {
  const std::vector<std::string> pieces = clip_pieces();
  std::string merges = "#version: 0.2\n";
  for (const auto& [left, right] : built_in_clip_merges())
    merges += pieces[left] + ' ' + pieces[right] + '\n';
  json map = {{"bos_token", added_token(kStart, true)}};
  for (const char* name : {"eos_token", "pad_token", "unk_token"}) map[name] = added_token(kEnd);
  return {{"vocab.json", vocabulary_of(pieces).dump() + "\n"},
          {"merges.txt", merges},
          {"tokenizer_config.json", file_text(clip_config(pieces.size()))},
          {"special_tokens_map.json", file_text(map)}};
}

std::map<std::string, std::string> t5_files(const T5Pieces& given, const std::string& where) {
  const T5Pieces pieces = with_sentinels(given, where);
  require(pieces.unknown == 2, ErrorCode::kModel,
          "{}: the unknown token has the id {}, and a tokenizer_2 folder has it at 2", where, pieces.unknown);
  const auto token = [&](int32_t id) { return pieces.tokens[static_cast<std::size_t>(id)]; };
  const std::string eos = token(pieces.eos), unknown = token(pieces.unknown), padding = token(pieces.padding);
  json added = json::array(), decoder = json::object(), others = json::array();
  std::size_t sentinels = 0;
  for (std::size_t id = 0; id < pieces.size(); ++id) {
    const std::string& content = pieces.tokens[id];
    const bool named = content == eos || content == unknown || content == padding;
    const int32_t type = pieces.token_type[id];
    if (type == T5Pieces::kUnused || (type == T5Pieces::kNormal && !named)) continue;
    decoder[std::to_string(id)] = special_token(content);
    added.push_back(special_token(content));
    added.back()["id"] = id;
    if (named) continue;
    others.push_back(content);
    if (content.starts_with("<extra_id_")) ++sentinels;
  }
  const json document = {{"version", "1.0"},
                         {"truncation", nullptr},
                         {"padding", nullptr},
                         {"added_tokens", added},
                         {"normalizer", t5_normalizer(pieces.precompiled_charsmap)},
                         {"pre_tokenizer", metaspace("first")},
                         {"post_processor", end_template(eos, pieces.eos)},
                         {"decoder", metaspace("always")},
                         {"model",
                          {{"type", "Unigram"},
                           {"unk_id", 2},
                           {"vocab", unigram_vocabulary(pieces)},
                           {"byte_fallback", false}}}};
  const json config = {{"added_tokens_decoder", decoder},
                       {"additional_special_tokens", others},
                       {"clean_up_tokenization_spaces", true},
                       {"eos_token", eos},
                       {"extra_ids", sentinels},
                       {"legacy", false},
                       {"model_max_length", 512},
                       {"pad_token", padding},
                       {"tokenizer_class", "T5Tokenizer"},
                       {"unk_token", unknown}};
  const json map = {{"additional_special_tokens", others},
                    {"eos_token", added_token(eos)},
                    {"pad_token", added_token(padding)},
                    {"unk_token", added_token(unknown)}};
  return {{"tokenizer.json", document.dump() + "\n"},
          {"tokenizer_config.json", file_text(config)},
          {"special_tokens_map.json", file_text(map)}};
}

}  // namespace darkroom
