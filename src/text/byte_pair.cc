#include "text/byte_pair.h"

#include <algorithm>
#include <nlohmann/json.hpp>
#include <queue>
#include <utility>

#include "base/error.h"
#include "base/foreign_file.h"
#include "base/json.h"
#include "base/printable.h"
#include "base/utf8.h"
#include "text/token_settings.h"

namespace darkroom {

using nlohmann::json;

namespace {

constexpr const char* kWordEnd = "</w>";

bool is_printable_latin1(char32_t byte) {
  return (byte >= 0x21 && byte <= 0x7E) || (byte >= 0xA1 && byte <= 0xAC) || byte >= 0xAE;
}

// GPT-2's printable code point for each byte: itself where it is printable Latin-1, else the next from
// U+0100.
std::array<std::string, 256> byte_alphabet() {
  std::array<std::string, 256> names;
  char32_t next = 0x100;
  for (char32_t byte = 0; byte < 256; ++byte) {
    append_utf8(names[byte], is_printable_latin1(byte) ? byte : next++);
  }
  return names;
}

std::unordered_map<std::string, int32_t> parse_vocabulary(const json& object, const std::string& where) {
  require(object.is_object() && !object.empty(), ErrorCode::kModel,
          "{}: the vocabulary must be an object of piece -> id with at least one piece", where);
  std::unordered_map<std::string, int32_t> vocabulary;
  vocabulary.reserve(object.size());
  std::vector<bool> taken(object.size());
  for (const auto& [piece, value] : object.items()) {
    const bool fits = value.is_number_unsigned() && value.get<uint64_t>() < object.size();
    require(fits, ErrorCode::kModel, "{}: the id of '{}' is {}, expected a whole number from 0 to {}", where,
            printable(piece, 40), value.is_number() ? value.dump() : value.type_name(), object.size() - 1);
    const auto id = value.get<std::size_t>();
    require(!taken[id], ErrorCode::kModel, "{}: two pieces have the id {}, one of them is '{}'", where, id,
            printable(piece, 40));
    taken[id] = true;
    vocabulary.emplace(piece, static_cast<int32_t>(id));
  }
  return vocabulary;
}

// Calls on_line for each line, without its \n or \r\n; text after the last newline is a line of its own.
template <typename OnLine>
void for_each_line(std::string_view text, const OnLine& on_line) {
  while (!text.empty()) {
    const std::size_t end = text.find('\n');
    std::string_view line = text.substr(0, end);
    text.remove_prefix(end == std::string_view::npos ? text.size() : end + 1);
    if (end != std::string_view::npos && line.ends_with('\r')) line.remove_suffix(1);
    on_line(line);
  }
}

}  // namespace

BytePairModel BytePairModel::parse(std::string_view vocab_json, const std::string& vocab_path,
                                   std::string_view merges_txt, const std::string& merges_path) {
  BytePairModel model;
  model.read_vocabulary(parse_json(vocab_json, vocab_path), vocab_path);
  refuse_foreign(merges_txt, merges_path);
  require(is_valid_utf8(merges_txt), ErrorCode::kModel, "{}: not valid UTF-8", merges_path);
  model.merges_.reserve(static_cast<std::size_t>(std::ranges::count(merges_txt, '\n')));
  int32_t rank = 0;
  for_each_line(merges_txt, [&](std::string_view line) {
    if (!line.starts_with("#version")) model.add_merge_line(line, rank++, merges_path);
  });
  return model;
}

BytePairModel BytePairModel::from_json(const json& model, const std::string& path) {
  const JsonFields fields(model, path);
  for (const auto& [name, clips] : {std::pair("type", "BPE"), std::pair("end_of_word_suffix", kWordEnd),
                                    std::pair("continuing_subword_prefix", "")}) {
    const std::string found = fields.text(name, clips);
    require(found == clips, ErrorCode::kModel, "{}: the model's '{}' is '{}', CLIP's is '{}'", path, name,
            printable(found, 40), clips);
  }
  BytePairModel out;
  out.read_vocabulary(required_field(model, "vocab", path), path);
  const json& merges = required_field(model, "merges", path);
  require(merges.is_array(), ErrorCode::kModel, "{}: 'merges' must be a list, found {}", path,
          merges.type_name());
  out.merges_.reserve(merges.size());
  int32_t rank = 0;
  for (const json& merge : merges) {
    if (merge.is_string()) {
      out.add_merge_line(merge.get_ref<const std::string&>(), rank, path);
    } else {
      const bool pair = merge.is_array() && merge.size() == 2 && merge[0].is_string() && merge[1].is_string();
      require(pair, ErrorCode::kModel, "{}: merge {} must be two pieces, found {}", path, int64_t{rank} + 1,
              merge.is_array() ? "another list" : merge.type_name());
      out.add_merge(merge[0].get<std::string>(), merge[1].get<std::string>(), rank, path);
    }
    ++rank;
  }
  return out;
}

std::vector<std::string> byte_pieces() {
  const auto alphabet = byte_alphabet();
  std::vector<std::string> out;
  for (const bool printable_bytes : {true, false}) {
    for (char32_t byte = 0; byte < 256; ++byte) {
      if (is_printable_latin1(byte) == printable_bytes) out.push_back(alphabet[byte]);
    }
  }
  return out;
}

BytePairModel BytePairModel::from_merges(const std::vector<std::pair<uint16_t, uint16_t>>& merges) {
  BytePairModel out;
  int32_t id = 0;
  for (const bool printable_bytes : {true, false}) {
    for (char32_t byte = 0; byte < 256; ++byte) {
      if (is_printable_latin1(byte) != printable_bytes) continue;
      out.inner_[byte] = id;
      out.last_[byte] = 256 + id++;
    }
  }
  id = 512;
  out.merges_.reserve(merges.size());
  for (const auto& [left, right] : merges) {
    require(left < id && right < id, ErrorCode::kModel, "merge {} is of the pieces {} and {}, it makes {}",
            id - 512, left, right, id);
    out.merges_[uint64_t{left} << 32 | right] = {id - 512, id};
    ++id;
  }
  out.size_ = id;
  return out;
}

void BytePairModel::read_vocabulary(const json& object, const std::string& where) {
  vocabulary_ = parse_vocabulary(object, where);
  size_ = static_cast<int32_t>(vocabulary_.size());
  const auto alphabet = byte_alphabet();
  for (std::size_t byte = 0; byte < 256; ++byte) {
    inner_[byte] = find(alphabet[byte]);
    last_[byte] = find(alphabet[byte] + kWordEnd);
  }
}

int32_t BytePairModel::find(const std::string& piece) const {
  const auto it = vocabulary_.find(piece);
  return it == vocabulary_.end() ? -1 : it->second;
}

void BytePairModel::add_merge_line(std::string_view line, int32_t rank, const std::string& where) {
  const std::size_t space = line.find(' ');
  require(space != std::string_view::npos && line.find(' ', space + 1) == std::string_view::npos,
          ErrorCode::kModel, "{}: merge {} is '{}', expected two pieces with one space between", where,
          int64_t{rank} + 1, printable(line, 60));
  add_merge(std::string(line.substr(0, space)), std::string(line.substr(space + 1)), rank, where);
}

void BytePairModel::add_merge(const std::string& left, const std::string& right, int32_t rank,
                              const std::string& where) {
  const int32_t left_id = find(left), right_id = find(right), both = find(left + right);
  require(left_id >= 0 && right_id >= 0 && both >= 0, ErrorCode::kModel,
          "{}: merge {} is '{}', but '{}' is not in the vocabulary", where, int64_t{rank} + 1,
          printable(left + ' ' + right, 60),
          printable(left_id < 0    ? left
                    : right_id < 0 ? right
                                   : left + right,
                    60));
  merges_[static_cast<uint64_t>(left_id) << 32 | static_cast<uint64_t>(right_id)] = {rank, both};
}

const BytePairModel::Merge* BytePairModel::find_merge(int32_t left, int32_t right) const {
  const auto it = merges_.find(static_cast<uint64_t>(left) << 32 | static_cast<uint64_t>(right));
  return it == merges_.end() ? nullptr : &it->second;
}

void BytePairModel::encode(std::string_view word, std::vector<int32_t>& ids) const {
  struct Symbol {
    int32_t id;  // -1: swallowed by the symbol to its left
    int32_t previous, next;
  };
  struct Candidate {
    int32_t rank, at, id;                           // merge the symbol at `at` with its next one into `id`
    bool operator<(const Candidate& other) const {  // the queue's top is the largest
      return rank != other.rank ? rank > other.rank : at > other.at;
    }
  };
  const auto count = static_cast<int32_t>(word.size());
  std::vector<Symbol> symbols;
  symbols.reserve(word.size());
  for (int32_t i = 0; i < count; ++i) {
    const auto byte = static_cast<unsigned char>(word[static_cast<std::size_t>(i)]);
    const int32_t id = i + 1 == count ? last_[byte] : inner_[byte];
    symbols.push_back({id >= 0 ? id : unknown_, i - 1, i + 1});
  }
  const auto symbol = [&](int32_t at) -> Symbol& { return symbols[static_cast<std::size_t>(at)]; };
  std::priority_queue<Candidate> queue;
  const auto consider = [&](int32_t left, int32_t right) {
    if (left < 0 || right >= count) return;
    if (const Merge* merge = find_merge(symbol(left).id, symbol(right).id)) {
      queue.push({merge->rank, left, merge->id});
    }
  };
  for (int32_t i = 0; i + 1 < count; ++i) consider(i, i + 1);
  while (!queue.empty()) {
    const Candidate best = queue.top();
    queue.pop();
    Symbol& left = symbol(best.at);
    if (left.id < 0 || left.next >= count) continue;
    Symbol& right = symbol(left.next);
    // Either symbol may have changed since; the reference compares the result only, not the rank.
    const Merge* merge = find_merge(left.id, right.id);
    if (!merge || merge->id != best.id) continue;
    left.id = best.id;
    left.next = right.next;
    right.id = -1;
    if (left.next < count) symbol(left.next).previous = best.at;
    consider(left.previous, best.at);
    consider(best.at, left.next);
  }
  for (const Symbol& each : symbols) {
    if (each.id >= 0) ids.push_back(each.id);
  }
}

}  // namespace darkroom
